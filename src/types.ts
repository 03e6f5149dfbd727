/**
 * Types from end to end: what a service's definition means to its client.
 *
 * Invariant owned here: a client's types say what really arrives. What JSON
 * changes is told ({@linkcode Wire}); what it cannot carry does not compile at
 * the service's definition ({@linkcode Checked}).
 *
 * @module
 */

import type { ValidatedMethod } from "./method.ts";
import type { CallOptions } from "./options.ts";

/** How values change on the way: as JSON does it, or not at all, with a serializer that says so. */
export type WireMap = "json" | "exact";

/** Marks a type that does not survive the wire; its text is the compiler's message. */
export interface NotSerializable<Why extends string> {
  /** Why not. */
  readonly "~notSerializable": Why;
}

/** What JSON carries as it is. */
export type Primitive = string | number | boolean | null;

/**
 * What arrives when a `T` is sent. Top-level strings, bytes and `undefined`
 * arrive as they are; in JSON a `Date` becomes a `string`, `undefined` members
 * vanish, and what JSON cannot carry is {@linkcode NotSerializable}.
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
export type Wire<T, M extends WireMap = "json"> = M extends "exact" ? T
  : unknown extends T ? T
  : T extends Uint8Array ? Uint8Array
  : T extends undefined | void ? undefined
  : JsonOf<T>;

/** What JSON makes of a value inside another. */
export type JsonOf<T> = unknown extends T ? T
  : T extends Primitive ? T
  : T extends bigint ? NotSerializable<"JSON has no bigint">
  : T extends symbol ? NotSerializable<"JSON has no symbol">
  : T extends (...args: never) => unknown
    ? NotSerializable<"JSON has no function">
  : T extends ArrayBufferView | ArrayBufferLike
    ? NotSerializable<"bytes travel as the whole value only, not inside JSON">
  : T extends ReadonlyMap<unknown, unknown> ? NotSerializable<"JSON has no Map">
  : T extends ReadonlySet<unknown> ? NotSerializable<"JSON has no Set">
  : T extends { toJSON(...args: never): infer J } ? JsonOf<J>
  : T extends readonly unknown[] ? { [K in keyof T]: JsonElement<T[K]> }
  : T extends object ? JsonObject<T>
  : never;

/** `undefined` in an array becomes `null`. */
export type JsonElement<T> = T extends undefined ? null : JsonOf<T>;

/** What JSON makes of an object: `undefined` members vanish, symbols are not seen. */
export type JsonObject<T> = Flat<
  & { -readonly [K in RequiredKeys<T>]: JsonOf<T[K]> }
  & { -readonly [K in OptionalKeys<T>]?: JsonOf<Exclude<T[K], undefined>> }
>;

/** An intersection as one object. */
export type Flat<T> = { [K in keyof T]: T[K] };
/** The keys JSON sees. */
export type StringKeys<T> = Extract<keyof T, string | number>;
/** The keys that are there for certain. */
export type RequiredKeys<T> = {
  [K in StringKeys<T>]: unknown extends T[K] ? K
    : undefined extends T[K] ? never
    : K;
}[StringKeys<T>];
/** The keys whose member may vanish. */
export type OptionalKeys<T> = Exclude<StringKeys<T>, RequiredKeys<T>>;

/** A handler, whatever it takes: its own params make it unfit for any narrower type. */
export type AnyFunction = globalThis.Function;
/** A handler with a schema, by shape. */
export type AnyValidated = {
  readonly schema: unknown;
  readonly handler: unknown;
};

/** The dotted names of every method in a tree of services. */
export type MethodName<S> = {
  [K in keyof S & string]: S[K] extends AnyFunction | AnyValidated ? K
    : S[K] extends object ? `${K}.${MethodName<S[K]>}`
    : never;
}[keyof S & string];

/** What stands at a dotted name. */
export type MethodAt<S, M extends string> = M extends keyof S ? S[M]
  : M extends `${infer Head}.${infer Rest}`
    ? Head extends keyof S ? MethodAt<S[Head], Rest> : never
  : never;

/** What a caller passes to a method. */
export type ParamsOf<F> = F extends
  ValidatedMethod<infer Input, infer _Output, infer _Result> ? Input
  : F extends (...args: infer Args) => unknown
    ? Args extends readonly [] ? undefined : Args[0]
  : never;

/** What a method's caller gets. */
export type ResultOf<F, M extends WireMap = "json"> = Wire<
  Awaited<RawResult<F>>,
  M
>;

/** What a handler returns. */
export type RawResult<F> = F extends
  ValidatedMethod<infer _Input, infer _Output, infer Result> ? Result
  : F extends (...args: never) => infer Result ? Result
  : never;

/** The arguments of a call behind the method's name. */
export type CallArguments<P> = undefined extends P
  ? [params?: P, options?: CallOptions]
  : [params: P, options?: CallOptions];

/**
 * A tree of services whose every method survives the wire; where one does not,
 * the type that says why.
 */
export type Checked<S, M extends WireMap = "json"> = {
  readonly [K in keyof S]: S[K] extends AnyFunction | AnyValidated
    ? CheckedMethod<S[K], M>
    : S[K] extends object ? Checked<S[K], M>
    : S[K];
};

/** A method, or why its params cannot be what it declares. */
export type CheckedMethod<F, M extends WireMap> = M extends "exact" ? F
  : unknown extends ParamsOf<F> ? CheckedResult<F>
  : [Wire<ParamsOf<F>>] extends [ParamsOf<F>] ? CheckedResult<F>
  : F extends AnyValidated ? CheckedResult<F>
  : NotSerializable<"its params arrive as another type than it declares">;

/** A method, or why its result does not survive. */
export type CheckedResult<F> = Flaws<Wire<Awaited<RawResult<F>>>> extends never
  ? F
  : NotSerializable<Flaws<Wire<Awaited<RawResult<F>>>>>;

/** The reasons why a type does not survive, from anywhere inside it, to a depth of five. */
export type Flaws<T, Depth extends readonly 0[] = []> = unknown extends T
  ? never
  : Depth["length"] extends 5 ? never
  : T extends NotSerializable<infer Why> ? Why
  : T extends Primitive | Uint8Array | undefined ? never
  : T extends readonly (infer Item)[] ? Flaws<Item, [...Depth, 0]>
  : T extends object ? {
      [K in keyof T]-?: Flaws<Exclude<T[K], undefined>, [...Depth, 0]>;
    }[keyof T]
  : never;

/** The typed proxy of a service: its methods as functions. */
export type ServiceProxy<S, M extends WireMap = "json"> = {
  readonly [K in keyof S]: S[K] extends AnyFunction | AnyValidated
    ? (...args: CallArguments<ParamsOf<S[K]>>) => Promise<ResultOf<S[K], M>>
    : S[K] extends object ? ServiceProxy<S[K], M>
    : never;
};
