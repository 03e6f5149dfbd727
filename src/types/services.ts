/**
 * Types of services: what a client may call, and what it gets.
 *
 * - A client's types say what really arrives ({@linkcode Wire}).
 * - A value that cannot be sent does not compile where the service is defined
 *   ({@linkcode Checked}), and the compiler's message names the member.
 * - Mapped types look into a user's types only as far as they are used, so a
 *   type may contain itself.
 *
 * @module
 */

import type { CallContext } from "./handler.ts";
import type { ValidatedMethod } from "./schema.ts";
import type { CallOptions } from "./call.ts";
import type { WireMap } from "./connection.ts";
import type { Referring } from "./references.ts";

/** Appears in compiler messages where a value cannot be sent; `Why` says the reason. No value has this type. */
export interface NotSerializable<Why extends string> {
  /** The reason. */
  readonly "~notSerializable": Why;
}

/** Appears in compiler messages where a member of the services cannot be called; `Why` says the reason. No value has this type. */
export interface NotServable<Why extends string> {
  /** The reason. */
  readonly "~notServable": Why;
}

// What arrives.

/**
 * The type of what arrives when a `T` is sent. Strings, bytes and `undefined`
 * arrive as they are. Other values change as in JSON: a `Date` becomes a
 * `string`, members that are `undefined` vanish, and values that JSON cannot
 * carry become {@linkcode NotSerializable}. A `ReadableStream` or an async
 * iterable arrives as a `ReadableStream` of what its items become.
 *
 * @example
 * ```ts
 * import type { Wire } from "@sluice/rpc";
 *
 * const sent = { at: new Date(0), note: undefined };
 * const arrives: Wire<typeof sent> = JSON.parse(JSON.stringify(sent));
 * const at: string = arrives.at;
 * ```
 */
export type Wire<T, M extends WireMap = "json"> = unknown extends T ? T
  : T extends WithBody<infer V, infer Item> ? {
      readonly value: WireItem<V, M>;
      readonly body: ReadableStream<WireItem<Item, M>>;
    }
  : T extends StreamOf<infer Item> ? ReadableStream<WireItem<Item, M>>
  : WireItem<T, M>;

/** A value that is sent as a stream of items. Only params or a result as a whole can be one, not a member of them. */
export type StreamOf<T> = ReadableStream<T> | AsyncIterable<T>;

/** A result that is a value and a stream beside it; made by {@linkcode withBody}. */
export interface WithBody<T, Item> {
  /** The value. */
  readonly value: T;
  /** The stream. */
  readonly body: StreamOf<Item>;
  /** Distinguishes it from an object with these members. No value has it. */
  readonly "~withBody": true;
}

/** {@linkcode Wire} for a value that is no stream, and for an item of a stream. */
export type WireItem<T, M extends WireMap = "json"> = unknown extends T ? T
  : T extends StreamOf<unknown> ? Nested
  : T extends Uint8Array ? Uint8Array<ArrayBuffer>
  : T extends undefined | void ? undefined
  : M extends "exact" ? T
  : M extends "rich" ? Rich<T>
  : Json<T>;

/** The type of `JSON.parse(JSON.stringify(value))`, at any depth. */
export type Json<T> = unknown extends T ? T
  : [T] extends [PlainJson] ? T
  : T extends Primitive ? T
  : T extends Uncarried ? WhyNot<T>
  : IsError<T> extends true ? ErrorValue
  : T extends HasJson<infer J> ? Json<J>
  : T extends readonly unknown[] ? { [K in keyof T]: JsonItem<T[K]> }
  : T extends object ? JsonObject<T>
  : never;

/** {@linkcode Json} for an item of an array: `undefined` becomes `null`. */
export type JsonItem<T> = T extends undefined | void ? null : Json<T>;

/** {@linkcode Json} for an object: members that are `undefined`, or have a symbol as key, vanish. */
export type JsonObject<T> = Flat<
  & { [K in keyof T as Certain<T, K>]: Json<T[K]> }
  & { [K in keyof T as Uncertain<T, K>]?: Json<Exclude<T[K], undefined>> }
>;

/** An intersection of objects as one object type. */
export type Flat<T> = { [K in keyof T]: T[K] };
/** `K` if the member always arrives, else `never`. */
export type Certain<T, K extends keyof T> = K extends symbol ? never
  : unknown extends T[K] ? K
  : undefined extends T[K] ? never
  : K;
/** `K` if the member may vanish because it can be `undefined`, else `never`. */
export type Uncertain<T, K extends keyof T> = K extends symbol ? never
  : unknown extends T[K] ? never
  : undefined extends T[K] ? K
  : never;

/** A value without members that JSON carries unchanged. */
export type Primitive = string | number | boolean | null;
/**
 * A value that JSON carries unchanged, at any depth. The compiler decides whether a type
 * fits here without looking into it again and again, so recursive types such as
 * `type J = string | J[] | { [key: string]: J }` are settled by this alone.
 */
export type PlainJson =
  | Primitive
  | readonly PlainJson[]
  | { readonly [key: string]: PlainJson };
/** {@linkcode PlainJson} whose members may also be `undefined`: JSON leaves those out. */
export type LooseJson =
  | Primitive
  | readonly LooseJson[]
  | { readonly [key: string]: LooseJson | undefined };
/** An object that says what JSON makes of it, as `Date` and `URL` do. */
export interface HasJson<J> {
  /** Called by `JSON.stringify`. */
  toJSON(...args: never): J;
}
/** `true` if `T` is an `Error`. Its `stack` distinguishes it from data with a `name` and a `message`. */
export type IsError<T> = T extends Error ? "stack" extends keyof T ? true
  : false
  : false;
/** Appears in compiler messages for an `Error` within a value. */
export type ErrorValue = NotSerializable<
  "JSON makes {} of an Error; throw it, or send its message"
>;
/** The values that JSON cannot carry. */
export type Uncarried =
  | bigint
  | symbol
  | AnyFunction
  | ArrayBufferView
  | ArrayBufferLike
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | StreamOf<unknown>;
/** Appears in compiler messages for a value that JSON cannot carry. */
export type WhyNot<T> = T extends bigint ? NotSerializable<"JSON has no bigint">
  : T extends symbol ? NotSerializable<"JSON has no symbol">
  : T extends AnyFunction ? NotSerializable<"JSON has no function">
  : T extends ReadonlyMap<unknown, unknown> ? NotSerializable<"JSON has no Map">
  : T extends ReadonlySet<unknown> ? NotSerializable<"JSON has no Set">
  : T extends StreamOf<unknown> ? Nested
  : NotSerializable<
    "only a Uint8Array is carried as bytes, and only as the whole value"
  >;

// What arrives with the serializer `rich()`.

/**
 * The type of what arrives when a `T` is sent with the serializer
 * {@linkcode rich}. All of a value arrives as it was sent, but for two things:
 * an instance of a class that extends one of the platform's arrives as one of
 * the platform's, and bytes arrive in memory of their own.
 */
export type Rich<T> = unknown extends T ? T
  : [T] extends [PlainRich] ? T
  : T extends Primitive | bigint ? T
  : T extends undefined | void ? undefined
  : T extends RichRefused ? WhyNotRich<T>
  : T extends ArrayBufferView | ArrayBufferLike ? RichBytes<T>
  : T extends Date ? Date
  : T extends RegExp ? RegExp
  : T extends URL ? URL
  : IsError<T> extends true ? Error
  : T extends ReadonlyMap<infer K, infer V> ? Map<Rich<K>, Rich<V>>
  : T extends ReadonlySet<infer V> ? Set<Rich<V>>
  : T extends readonly unknown[] ? { [K in keyof T]: Rich<T[K]> }
  : { [K in keyof T as K extends symbol ? never : K]: Rich<T[K]> };

/** A value of these alone is carried unchanged, at any depth, so that recursive types of them are settled at once: see {@linkcode PlainJson}. */
export type PlainRich =
  | Primitive
  | bigint
  | undefined
  | Date
  | RegExp
  | URL
  | Map<PlainRich, PlainRich>
  | Set<PlainRich>
  | readonly PlainRich[]
  | { readonly [key: string]: PlainRich };

/** The values that the serializer {@linkcode rich} refuses. */
export type RichRefused =
  | symbol
  | AnyFunction
  | PromiseLike<unknown>
  | StreamOf<unknown>;

/** Appears in compiler messages for a value that the serializer {@linkcode rich} refuses. */
export type WhyNotRich<T> = T extends symbol
  ? NotSerializable<"a symbol cannot be sent">
  : T extends AnyFunction ? NotSerializable<"a function cannot be sent">
  : T extends PromiseLike<unknown>
    ? NotSerializable<"a promise cannot be sent; await it first">
  : Nested;

/** The type of bytes that arrive. */
export type RichBytes<T> = T extends Uint8Array ? Uint8Array<ArrayBuffer>
  : T extends Int8Array ? Int8Array<ArrayBuffer>
  : T extends Uint8ClampedArray ? Uint8ClampedArray<ArrayBuffer>
  : T extends Uint16Array ? Uint16Array<ArrayBuffer>
  : T extends Int16Array ? Int16Array<ArrayBuffer>
  : T extends Uint32Array ? Uint32Array<ArrayBuffer>
  : T extends Int32Array ? Int32Array<ArrayBuffer>
  : T extends Float32Array ? Float32Array<ArrayBuffer>
  : T extends Float64Array ? Float64Array<ArrayBuffer>
  : T extends BigUint64Array ? BigUint64Array<ArrayBuffer>
  : T extends BigInt64Array ? BigInt64Array<ArrayBuffer>
  : T extends DataView ? DataView<ArrayBuffer>
  : T extends ArrayBuffer ? ArrayBuffer
  : T extends ArrayBufferLike
    ? NotSerializable<"send a view of shared memory, such as a Uint8Array">
  : T;

/** Appears in compiler messages for a stream where none can be sent. */
export type Nested = NotSerializable<
  "a stream is carried only as the whole of the params or the result"
>;

// What a service declares.

/** The services of a client without type argument: it may call any method by name, with params and result `unknown`. */
export interface UntypedServices {
  /** Any method. */
  readonly [method: string]: UntypedMethod;
}

/** A method of {@linkcode UntypedServices}. */
export interface UntypedMethod {
  /** Takes and returns anything. */
  (params?: unknown): unknown;
  /** Distinguishes it from a typed method. No value has this member. */
  readonly "~untyped": true;
}

/** The proxy that `service()` of an untyped client returns: every member is a method, at any depth. */
export interface UntypedProxy {
  /** Calls the method. */
  (params?: unknown, options?: CallOptions): Promise<unknown>;
  /** A method of that name. */
  readonly [name: string]: UntypedProxy;
}

/** Any function. */
export type AnyFunction = (...args: never) => unknown;
/** Any {@linkcode ValidatedMethod}. */
export interface AnyValidated {
  /** The schema of the params. */
  readonly schema: { readonly "~standard": object };
  /** The handler. */
  readonly handler: AnyFunction;
}
/** A member of the services that can be called. */
export type AnyMethod = AnyFunction | AnyValidated;

/**
 * The dotted names of all methods of the services, as a union.
 *
 * @example
 * ```ts
 * import type { MethodName } from "@sluice/rpc";
 *
 * const services = { Math: { add: ([a, b]: [number, number]) => a + b } };
 * const name: MethodName<typeof services> = "Math.add";
 * ```
 */
export type MethodName<S> = {
  [K in keyof S & string]: S[K] extends AnyMethod ? K
    : S[K] extends object ? `${K}.${MethodName<S[K]>}`
    : never;
}[keyof S & string];

/** The type of the method with a dotted name. Keys may contain dots themselves. */
export type MethodAt<S, N extends string> = N extends keyof S ? S[N] : {
  [K in keyof S & string]: N extends `${K}.${infer Rest}` ? MethodAt<S[K], Rest>
    : never;
}[keyof S & string];

/** The params that a caller passes to a method. Where the handler receives a stream, the caller may pass any async iterable. */
export type ParamsOf<F> = Passed<DeclaredParams<F>>;

/** The params that a caller passes for those that a handler declares. */
export type Passed<P> = unknown extends P ? P
  : P extends ReadableStream<infer Item> ? StreamOf<Item>
  : P;

/** The params that a handler declares. */
export type DeclaredParams<F> = F extends
  ValidatedMethod<infer Input, infer _Output, infer _Result> ? Input
  : F extends (...args: infer Args) => unknown ? Args[0]
  : never;

/** The type that a handler returns. */
export type ReturnOf<F> = F extends
  ValidatedMethod<infer _Input, infer _Output, infer Result> ? Result
  : F extends (...args: never) => infer Result ? Result
  : never;

/**
 * The result that a method's caller gets.
 *
 * @example
 * ```ts
 * import type { ResultOf } from "@sluice/rpc";
 *
 * const now = () => ({ at: new Date() });
 * const result: ResultOf<typeof now> = { at: "2024-01-01T00:00:00.000Z" };
 * ```
 */
export type ResultOf<F, M extends WireMap = "json"> = Wire<
  Awaited<ReturnOf<F>>,
  M
>;

/** The arguments of a call after the method's name. Params that may be `undefined` can be left out, and may contain references ({@linkcode ref}). */
export type CallArguments<P> = undefined extends P
  ? [params?: P | Referring<P>, options?: CallOptions]
  : [params: P | Referring<P>, options?: CallOptions];

/** The methods of a service as async functions; one function if the service is a method itself. */
export type ServiceProxy<S, M extends WireMap = "json"> = S extends
  UntypedMethod ? UntypedProxy
  : S extends AnyMethod
    ? (...args: CallArguments<ParamsOf<S>>) => Promise<ResultOf<S, M>>
  : {
    readonly [K in keyof S as Exclude<K, Reserved>]: ServiceProxy<S[K], M>;
  };

/** The members of a proxy that are always `undefined`, so that awaiting or printing the proxy makes no call. */
export type Reserved = "then" | "toJSON" | "toString" | "valueOf" | symbol;

// What is checked where a service is defined.

/**
 * The type that services must have so that all params and results can be sent.
 * For services that do not fit, the compiler's message names the member, and
 * the reason as {@linkcode NotSerializable} or {@linkcode NotServable}.
 */
export type Checked<S, M extends WireMap = "json"> = Pick<S, keyof S> extends S
  ? {
    readonly [K in keyof S]: S[K] extends AnyMethod ? CheckedMethod<S[K], M>
      : S[K] extends AnyClass
        ? NotServable<"a class; make an instance and expose() its methods">
      : S[K] extends object ? Checked<S[K], M>
      : NotServable<"not a function">;
  }
  // Only a class with private members can be distinguished from an object by its type.
  : NotServable<
    'a class instance; name its methods with expose(instance, ["Hello"])'
  >;

/** Any class. */
export type AnyClass = abstract new (...args: never) => unknown;

/** The type that a method must have: its params are declared as they arrive, and its result can be sent. */
export type CheckedMethod<F, M extends WireMap = "json"> = F extends
  ValidatedMethod<infer Input, infer Output, infer Result>
  ? ValidatedMethod<Accepted<Input, M>, Output, CheckedReturn<Result, M>>
  : DemandsMore<F> extends false ? (
      params: Accepted<DeclaredParams<F>, M>,
      ctx: CallContext<never>,
    ) => CheckedReturn<ReturnOf<F>, M>
  : NotServable<
    "a method takes one parameter, and the call's context behind it; use an object for several values"
  >;

/** `true` if a function needs other arguments than params and a {@linkcode CallContext}. */
export type DemandsMore<F> = F extends (...args: infer Args) => unknown
  ? Args extends readonly [unknown?, (infer Second)?, ...infer Rest]
    ? [CallContext<never>] extends [Second] ? [] extends Rest ? false : true
    : true
  : false
  : false;

/** The return type that a handler must have. */
export type CheckedReturn<R, M extends WireMap> = unknown extends R ? R
  : R extends Promise<infer T> ? Promise<Sendable<T, M>>
  : R extends PromiseLike<infer T> ? PromiseLike<Sendable<T, M>>
  : Sendable<R, M>;

/** The type that a result must have. */
export type Sendable<T, M extends WireMap> = unknown extends T ? T
  : T extends WithBody<infer V, infer Item>
    ? WithBody<SendableItem<V, M>, SendableItem<Item, M>>
  : T extends ReadableStream<infer Item> ? ReadableStream<SendableItem<Item, M>>
  : T extends AsyncIterable<infer Item> ? AsyncIterable<SendableItem<Item, M>>
  : SendableItem<T, M>;

/** {@linkcode Sendable} for a result that is no stream, and for an item of a stream. */
export type SendableItem<T, M extends WireMap> = unknown extends T ? T
  : T extends StreamOf<unknown> ? Nested
  : M extends "exact" ? T
  : M extends "rich" ? SendableRich<T>
  : T extends Uint8Array ? T
  : SendableJson<T>;

/** `T`, except where JSON would fail on it or drop it. */
export type SendableJson<T> = unknown extends T ? T
  : [T] extends [LooseJson] ? T
  : T extends Primitive | undefined | void ? T
  : T extends Uncarried ? WhyNot<T>
  : IsError<T> extends true ? ErrorValue
  : T extends HasJson<infer J> ? J extends SendableJson<J> ? T : SendableJson<J>
  : { [K in keyof T]: K extends symbol ? T[K] : SendableJson<T[K]> };

/** The type that a handler must declare for its params. */
export type Accepted<T, M extends WireMap> = unknown extends T ? T
  : T extends ReadableStream<infer Item>
    ? ReadableStream<AcceptedValue<Item, M>>
  : T extends AsyncIterable<infer Item> ? ReadableStream<AcceptedValue<Item, M>>
  : AcceptedValue<T, M>;

/** {@linkcode Accepted} for params that are no stream, and for an item of a stream. */
export type AcceptedValue<T, M extends WireMap> = unknown extends T ? T
  : T extends StreamOf<unknown> ? Nested
  : T extends Uint8Array ? Uint8Array<ArrayBuffer>
  : M extends "exact" ? T
  : M extends "rich" ? AcceptedRich<T>
  : AcceptedJson<T>;

/** `T`, except where JSON changes it: then the type that arrives. */
export type AcceptedJson<T> = unknown extends T ? T
  : [T] extends [LooseJson] ? T
  : T extends Primitive | undefined | void ? T
  : T extends Uncarried ? WhyNot<T>
  : IsError<T> extends true ? ErrorValue
  : T extends HasJson<infer J> ? Json<J>
  : T extends readonly unknown[] ? AcceptedArray<T>
  : { [K in keyof T]: K extends symbol ? T[K] : AcceptedJson<T[K]> };

/** {@linkcode AcceptedJson} for arrays: `undefined` in an array arrives as `null`, and optional items of a tuple may be missing. */
export type AcceptedArray<T extends readonly unknown[]> = number extends
  T["length"] ? { [K in keyof T]: AcceptedItem<T[K]> }
  : { [K in keyof T]: AcceptedJson<T[K]> };

/** The type that a handler must declare for an item of an array. */
export type AcceptedItem<T> = T extends undefined | void ? null
  : AcceptedJson<T>;

/** `T`, except where the serializer {@linkcode rich} would refuse it. */
export type SendableRich<T> = unknown extends T ? T
  : [T] extends [PlainRich] ? T
  : T extends Primitive | bigint | undefined | void ? T
  : T extends RichRefused ? WhyNotRich<T>
  : T extends ArrayBufferView | Date | RegExp | URL ? T
  : T extends ArrayBufferLike ? RichBytes<T>
  : IsError<T> extends true ? T
  : T extends ReadonlyMap<infer K, infer V>
    ? ReadonlyMap<SendableRich<K>, SendableRich<V>>
  : T extends ReadonlySet<infer V> ? ReadonlySet<SendableRich<V>>
  : { [K in keyof T]: K extends symbol ? T[K] : SendableRich<T[K]> };

/** `T`, except where the serializer {@linkcode rich} changes it: then the type that arrives. */
export type AcceptedRich<T> = unknown extends T ? T
  : [T] extends [PlainRich] ? T
  : T extends Primitive | bigint | undefined | void ? T
  : T extends RichRefused ? WhyNotRich<T>
  : T extends ArrayBufferView | ArrayBufferLike ? RichBytes<T>
  : T extends Date ? Date
  : T extends RegExp ? RegExp
  : T extends URL ? URL
  : IsError<T> extends true ? Error
  : T extends ReadonlyMap<infer K, infer V>
    ? Map<AcceptedRich<K>, AcceptedRich<V>>
  : T extends ReadonlySet<infer V> ? Set<AcceptedRich<V>>
  : { [K in keyof T]: K extends symbol ? T[K] : AcceptedRich<T[K]> };
