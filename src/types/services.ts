/**
 * Types from end to end: what a service's definition means to its client.
 *
 * Invariants owned here:
 * - A client's types say what really arrives ({@linkcode Wire}).
 * - What the wire cannot carry does not compile where the service is defined
 *   ({@linkcode Checked}), and the compiler's message names the member.
 * - Nothing here recurses eagerly into a user's types: mapped types are only
 *   looked into as far as they are used, so a type may contain itself.
 *
 * @module
 */

import type { CallContext } from "./handler.ts";
import type { ValidatedMethod } from "./schema.ts";
import type { CallOptions } from "./call.ts";
import type { WireMap } from "./connection.ts";

/** What the compiler shows where a value does not survive the wire; nothing has this type. */
export interface NotSerializable<Why extends string> {
  /** Why not. */
  readonly "~notSerializable": Why;
}

/** What the compiler shows where something in a tree of services cannot be called; nothing has this type. */
export interface NotServable<Why extends string> {
  /** Why not. */
  readonly "~notServable": Why;
}

// What arrives.

/**
 * What arrives when a `T` is sent. Strings, bytes and `undefined` arrive as
 * they are; of all else JSON makes what it makes of it: a `Date` becomes a
 * `string`, `undefined` members vanish, and what it cannot carry is
 * {@linkcode NotSerializable}. A `ReadableStream` or an async iterable arrives
 * as a `ReadableStream` of what its items become.
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
  : T extends StreamOf<infer Item> ? ReadableStream<WireItem<Item, M>>
  : WireItem<T, M>;

/** What travels as a stream: the whole of params or of a result, never a part of them. */
export type StreamOf<T> = ReadableStream<T> | AsyncIterable<T>;

/** What arrives of a value that is no stream, or of an item of one. */
export type WireItem<T, M extends WireMap = "json"> = unknown extends T ? T
  : T extends StreamOf<unknown> ? Nested
  : T extends Uint8Array ? Uint8Array<ArrayBuffer>
  : T extends undefined | void ? undefined
  : M extends "exact" ? T
  : Json<T>;

/** What JSON makes of a value, at any depth. */
export type Json<T> = unknown extends T ? T
  : [T] extends [PlainJson] ? T
  : T extends Primitive ? T
  : T extends Uncarried ? WhyNot<T>
  : IsError<T> extends true ? ErrorValue
  : T extends HasJson<infer J> ? Json<J>
  : T extends readonly unknown[] ? { [K in keyof T]: JsonItem<T[K]> }
  : T extends object ? JsonObject<T>
  : never;

/** What JSON makes of an array's item: `undefined` becomes `null`. */
export type JsonItem<T> = T extends undefined | void ? null : Json<T>;

/** What JSON makes of an object: members that are `undefined` vanish, as do those with a symbol for a key. */
export type JsonObject<T> = Flat<
  & { [K in keyof T as Certain<T, K>]: Json<T[K]> }
  & { [K in keyof T as Uncertain<T, K>]?: Json<Exclude<T[K], undefined>> }
>;

/** An intersection as one object. */
export type Flat<T> = { [K in keyof T]: T[K] };
/** The key of a member that is there for certain, or `never`. */
export type Certain<T, K extends keyof T> = K extends symbol ? never
  : unknown extends T[K] ? K
  : undefined extends T[K] ? never
  : K;
/** The key of a member that may vanish, or `never`. */
export type Uncertain<T, K extends keyof T> = K extends symbol ? never
  : unknown extends T[K] ? never
  : undefined extends T[K] ? K
  : never;

/** What JSON carries as it is. */
export type Primitive = string | number | boolean | null;
/**
 * What JSON carries as it is, at any depth. The compiler decides whether a type
 * fits here without looking into it again and again, so recursive types such as
 * `type J = string | J[] | { [key: string]: J }` are settled by this alone.
 */
export type PlainJson =
  | Primitive
  | readonly PlainJson[]
  | { readonly [key: string]: PlainJson };
/** The same, where members may also be `undefined`: JSON leaves those out. */
export type LooseJson =
  | Primitive
  | readonly LooseJson[]
  | { readonly [key: string]: LooseJson | undefined };
/** What says by itself what JSON makes of it, as `Date` and `URL` do. */
export interface HasJson<J> {
  /** Called by `JSON.stringify`. */
  toJSON(...args: never): J;
}
/** Whether `T` is an `Error`: its `stack` tells it from data that merely has a `name` and a `message`. */
export type IsError<T> = T extends Error ? "stack" extends keyof T ? true
  : false
  : false;
/** What the compiler shows for an `Error` within a value. */
export type ErrorValue = NotSerializable<
  "JSON makes {} of an Error; throw it, or send its message"
>;
/** What JSON does not carry. */
export type Uncarried =
  | bigint
  | symbol
  | AnyFunction
  | ArrayBufferView
  | ArrayBufferLike
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | StreamOf<unknown>;
/** Says so. */
export type WhyNot<T> = T extends bigint ? NotSerializable<"JSON has no bigint">
  : T extends symbol ? NotSerializable<"JSON has no symbol">
  : T extends AnyFunction ? NotSerializable<"JSON has no function">
  : T extends ReadonlyMap<unknown, unknown> ? NotSerializable<"JSON has no Map">
  : T extends ReadonlySet<unknown> ? NotSerializable<"JSON has no Set">
  : T extends StreamOf<unknown> ? Nested
  : NotSerializable<
    "only a Uint8Array is carried as bytes, and only as the whole value"
  >;

/** A stream in a place that has no streams. */
export type Nested = NotSerializable<
  "a stream is carried only as the whole of the params or the result"
>;

// What a service declares.

/** The services of a client that was given no type: any method, by any name, which takes and returns `unknown`. */
export interface UntypedServices {
  /** Any method. */
  readonly [method: string]: UntypedMethod;
}

/** One of their methods. */
export interface UntypedMethod {
  /** Takes anything, and returns anything. */
  (params?: unknown): unknown;
  /** Tells it from a method with types; nothing has this. */
  readonly "~untyped": true;
}

/** What `service()` of an untyped client returns: any method of it, at any depth. */
export interface UntypedProxy {
  /** Calls it. */
  (params?: unknown, options?: CallOptions): Promise<unknown>;
  /** A method of it. */
  readonly [name: string]: UntypedProxy;
}

/** A function, whatever it takes. */
export type AnyFunction = (...args: never) => unknown;
/** What {@linkcode method} makes, whatever its schema. */
export interface AnyValidated {
  /** Checks the params. */
  readonly schema: { readonly "~standard": object };
  /** Runs with what the schema returned. */
  readonly handler: AnyFunction;
}
/** What can be called. */
export type AnyMethod = AnyFunction | AnyValidated;

/** The dotted names of every method in a tree of services. */
export type MethodName<S> = {
  [K in keyof S & string]: S[K] extends AnyMethod ? K
    : S[K] extends object ? `${K}.${MethodName<S[K]>}`
    : never;
}[keyof S & string];

/** What stands at a dotted name; keys may have dots of their own. */
export type MethodAt<S, N extends string> = N extends keyof S ? S[N] : {
  [K in keyof S & string]: N extends `${K}.${infer Rest}` ? MethodAt<S[K], Rest>
    : never;
}[keyof S & string];

/** What a caller passes to a method: where its handler gets a stream, any async iterable will do. */
export type ParamsOf<F> = Passed<DeclaredParams<F>>;

/** What a caller passes for what a handler declares. */
export type Passed<P> = unknown extends P ? P
  : P extends ReadableStream<infer Item> ? StreamOf<Item>
  : P;

/** What a handler declares as its params. */
export type DeclaredParams<F> = F extends
  ValidatedMethod<infer Input, infer _Output, infer _Result> ? Input
  : F extends (...args: infer Args) => unknown ? Args[0]
  : never;

/** What a handler returns. */
export type ReturnOf<F> = F extends
  ValidatedMethod<infer _Input, infer _Output, infer Result> ? Result
  : F extends (...args: never) => infer Result ? Result
  : never;

/** What a method's caller gets. */
export type ResultOf<F, M extends WireMap = "json"> = Wire<
  Awaited<ReturnOf<F>>,
  M
>;

/** The arguments of a call behind the method's name. */
export type CallArguments<P> = undefined extends P
  ? [params?: P, options?: CallOptions]
  : [params: P, options?: CallOptions];

/** A service's methods as functions; the service itself, if it is one function. */
export type ServiceProxy<S, M extends WireMap = "json"> = S extends
  UntypedMethod ? UntypedProxy
  : S extends AnyMethod
    ? (...args: CallArguments<ParamsOf<S>>) => Promise<ResultOf<S, M>>
  : {
    readonly [K in keyof S as Exclude<K, Reserved>]: ServiceProxy<S[K], M>;
  };

/** Keys that a proxy answers with `undefined`, so that to await or print it calls nothing. */
export type Reserved = "then" | "toJSON" | "toString" | "valueOf" | symbol;

// What is checked where a service is defined.

/**
 * A tree of services as it must be for every method to survive the wire. A
 * tree that does not fit has a member whose type is not what arrives; the
 * compiler's message leads to it.
 */
export type Checked<S, M extends WireMap = "json"> = Pick<S, keyof S> extends S
  ? {
    readonly [K in keyof S]: S[K] extends AnyMethod ? CheckedMethod<S[K], M>
      : S[K] extends AnyClass
        ? NotServable<"a class; make an instance and expose() its methods">
      : S[K] extends object ? Checked<S[K], M>
      : NotServable<"not a function">;
  }
  // Only a class with private members is told from an object by its type.
  : NotServable<
    'a class instance; name its methods with expose(instance, ["Hello"])'
  >;

/** A class. */
export type AnyClass = abstract new (...args: never) => unknown;

/** A method as it must be: its params declared as they arrive, its result one that can be sent. */
export type CheckedMethod<F, M extends WireMap = "json"> = F extends
  ValidatedMethod<infer Input, infer Output, infer Result>
  ? ValidatedMethod<Accepted<Input, M>, Output, CheckedReturn<Result, M>>
  : DemandsMore<F> extends false ? (
      params: Accepted<DeclaredParams<F>, M>,
      ctx: CallContext,
    ) => CheckedReturn<ReturnOf<F>, M>
  : NotServable<
    "a method takes one parameter, and the call's context behind it; use an object for several values"
  >;

/** Whether a function demands more than params and the call's context, or something else in its place. */
export type DemandsMore<F> = F extends (...args: infer Args) => unknown
  ? Args extends readonly [unknown?, (infer Second)?, ...infer Rest]
    ? [CallContext] extends [Second] ? [] extends Rest ? false : true
    : true
  : false
  : false;

/** What a handler returns, as it must be. */
export type CheckedReturn<R, M extends WireMap> = unknown extends R ? R
  : R extends Promise<infer T> ? Promise<Sendable<T, M>>
  : R extends PromiseLike<infer T> ? PromiseLike<Sendable<T, M>>
  : Sendable<R, M>;

/** A result as it must be. */
export type Sendable<T, M extends WireMap> = unknown extends T ? T
  : T extends ReadableStream<infer Item> ? ReadableStream<SendableItem<Item, M>>
  : T extends AsyncIterable<infer Item> ? AsyncIterable<SendableItem<Item, M>>
  : SendableItem<T, M>;

/** A result that is no stream, or an item of one. */
export type SendableItem<T, M extends WireMap> = unknown extends T ? T
  : T extends StreamOf<unknown> ? Nested
  : M extends "exact" ? T
  : T extends Uint8Array ? T
  : SendableJson<T>;

/** `T` itself, but where JSON would fail on it or drop it. */
export type SendableJson<T> = unknown extends T ? T
  : [T] extends [LooseJson] ? T
  : T extends Primitive | undefined | void ? T
  : T extends Uncarried ? WhyNot<T>
  : IsError<T> extends true ? ErrorValue
  : T extends HasJson<infer J> ? J extends SendableJson<J> ? T : SendableJson<J>
  : { [K in keyof T]: K extends symbol ? T[K] : SendableJson<T[K]> };

/** Params as they must be declared. */
export type Accepted<T, M extends WireMap> = unknown extends T ? T
  : T extends ReadableStream<infer Item>
    ? ReadableStream<AcceptedValue<Item, M>>
  : T extends AsyncIterable<infer Item> ? ReadableStream<AcceptedValue<Item, M>>
  : AcceptedValue<T, M>;

/** Params that are no stream, or an item of one. */
export type AcceptedValue<T, M extends WireMap> = unknown extends T ? T
  : T extends StreamOf<unknown> ? Nested
  : T extends Uint8Array ? Uint8Array<ArrayBuffer>
  : M extends "exact" ? T
  : AcceptedJson<T>;

/** `T` itself, but where JSON makes something else of it. */
export type AcceptedJson<T> = unknown extends T ? T
  : [T] extends [LooseJson] ? T
  : T extends Primitive | undefined | void ? T
  : T extends Uncarried ? WhyNot<T>
  : IsError<T> extends true ? ErrorValue
  : T extends HasJson<infer J> ? Json<J>
  : T extends readonly unknown[] ? AcceptedArray<T>
  : { [K in keyof T]: K extends symbol ? T[K] : AcceptedJson<T[K]> };

/** A tuple's optional items may be missing; `undefined` in an array arrives as `null`. */
export type AcceptedArray<T extends readonly unknown[]> = number extends
  T["length"] ? { [K in keyof T]: AcceptedItem<T[K]> }
  : { [K in keyof T]: AcceptedJson<T[K]> };

/** An array's item as it must be declared. */
export type AcceptedItem<T> = T extends undefined | void ? null
  : AcceptedJson<T>;
