/**
 * Types of references to the results of other calls.
 *
 * - A reference has the members of the result, at any depth, each as a
 *   reference.
 * - A `Ref<X>` fits wherever an `X` fits, as the whole of the params or within
 *   them.
 *
 * @module
 */

/** Marks what stands for a `T`. No value has this member. */
export interface RefTo<T> {
  /** The type of what it stands for. */
  readonly "~result": T;
}

/**
 * Stands for a `T` that is the result of another call, or a part of one; made by
 * {@linkcode ref}. A member that may be missing is one of the reference: the call
 * that needs it fails with `invalid_argument` if it is.
 *
 * @example
 * ```ts
 * import type { Ref } from "@sluice/rpc";
 *
 * function nameOf(user: Ref<{ id: number; name?: string }>): Ref<string> {
 *   return user.name;
 * }
 * void nameOf;
 * ```
 */
export type Ref<T> = unknown extends T ? UntypedRef
  : [T] extends [ReadableStream | AsyncIterable<unknown>] ? NoRef
  : RefTo<T> & RefMembers<T>;

/** A reference to a result of an untyped client: it has every member. */
export interface UntypedRef extends RefTo<never> {
  /** A member of that name. */
  readonly [name: string]: UntypedRef;
}

/** Appears in compiler messages for a reference to a stream. No value has this type. */
export interface NoRef {
  /** The reason. */
  readonly "~notSerializable":
    "the result is a stream, which cannot be referred to";
}

/** The members of a reference; of one that may be `null`, those of what else it may be. */
export type RefMembers<T> = [Extract<T, object>] extends [never] ? unknown
  : RefMembersOf<Extract<T, object>>;

/** The members of a reference to an object. */
export type RefMembersOf<T> = T extends readonly unknown[] ? RefItems<T>
  : T extends RefLeaf ? unknown
  : { readonly [K in Exclude<keyof T, NotReferable>]-?: RefMember<T[K]> };

/** A reference to a member, which fails if the member is missing. */
export type RefMember<T> = unknown extends T ? UntypedRef
  : Ref<Exclude<T, undefined>>;

/** The items of a reference to an array. */
export type RefItems<T extends readonly unknown[]> =
  & { readonly [index: number]: RefMember<T[number]> }
  & { readonly [K in Exclude<keyof T, keyof unknown[]>]: RefMember<T[K]> };

/** Members of a result that no reference reaches. */
export type NotReferable = "then" | "toJSON" | "__proto__" | symbol;

/** Objects whose parts no reference reaches. */
export type RefLeaf =
  | ArrayBufferView
  | ArrayBuffer
  | Date
  | RegExp
  | URL
  | Error
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ((...args: never) => unknown);

/** The params of a call in which references stand for the whole or for parts of them. */
export type Referring<T> = unknown extends T ? T
  : [T] extends [ReadableStream | AsyncIterable<unknown>] ? T
  : RefTo<T> | ReferringParts<T>;

/** The same without the whole. */
export type ReferringParts<T> = T extends
  string | number | bigint | boolean | symbol | null | undefined | RefLeaf ? T
  : T extends readonly unknown[]
    ? number extends T["length"] ? ReferringList<T[number]>
    : { [K in keyof T]: ReferringMember<T[K]> }
  : { [K in keyof T]: ReferringMember<T[K]> };

/** A member of params, or a reference in its place. */
export type ReferringMember<T> = unknown extends T ? T
  : RefTo<T> | ReferringParts<T>;

/** An array in params. An interface, which the compiler looks into only as far as it must: a type may contain arrays of itself. */
export interface ReferringList<T> extends ReadonlyArray<ReferringMember<T>> {}
