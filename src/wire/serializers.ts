/**
 * Which serializer each direction of a connection uses.
 *
 * Both HELLOs list names in order of preference. A side sends with the first of
 * its own names that the peer has, too. It knows both lists, and so what the
 * peer's payload kind 4 means. Most sides have one name; what a side with
 * several needs besides stands in `serializer_list.ts`.
 *
 * @module
 */

import { ConnectionError, quote } from "../base/errors.ts";
import { utf8 } from "../base/utf8.ts";
import type { Serializer } from "../types/connection.ts";
import type { PayloadEncoder } from "./payload.ts";
import type { Snapshot } from "./snapshot.ts";
import type { PayloadRole } from "./to_json.ts";

/** The longest list of names, in bytes of UTF-8. */
const MAX_NAMES = 255;

/** The name of JSON in a list. */
export const JSON_NAME = "json";

/** Several serializers, as the library uses them. */
export interface SerializerChoice {
  /** Their names in order of preference, with a space between. */
  readonly names: string;
  /** Chooses, now that the peer's names are known; undefined if there is no common one. */
  readonly agree: (peer: readonly string[]) => SerializerAgreement | undefined;
  /**
   * A value in the form of each of them.
   *
   * @throws {RpcError} `invalid_argument` if none of them can serialize it.
   */
  readonly forms: (value: unknown, role?: PayloadRole) => Snapshot;
  /** Makes what encodes the payloads of a connection. */
  readonly encoder: (agreement: SerializerAgreement) => PayloadEncoder;
  /** Not one serializer. */
  readonly name?: undefined;
}

/** One serializer, several of which one will be chosen, or JSON if undefined. */
export type AnySerializer =
  | Serializer & { readonly [K in keyof SerializerChoice]?: unknown }
  | SerializerChoice
  | undefined;

/** What each side sends with; undefined for JSON. Both are the choice itself as long as that is open. */
export interface SerializerAgreement {
  sender: Serializer | undefined;
  receiver: Serializer | undefined;
}

/** The choice, if there are several. */
export function choiceOf(
  serializer: AnySerializer,
): SerializerChoice | undefined {
  return serializer?.agree === undefined
    ? undefined
    : serializer as SerializerChoice;
}

/**
 * The names for HELLO; undefined for JSON alone.
 *
 * @throws {RangeError} If a name is not one, or all are too long.
 */
export function namesOf(serializer: AnySerializer): string | undefined {
  if (serializer === undefined) return undefined;
  const choice = choiceOf(serializer);
  const text = choice?.names ?? `${serializer.name}`;
  const { length } = utf8(text);
  const legal = choice || /^[^ \p{Cc}]+$/u.test(text) && text !== JSON_NAME;
  if (legal && length > 0 && length <= MAX_NAMES) return text;
  throw new RangeError(
    `Cannot use the serializer: its name is not legal, received ${quote(text)}`,
  );
}

/**
 * Decides what each side sends with.
 *
 * @throws {ConnectionError} `serializer_mismatch` if there is no common name.
 */
export function agree(
  own: AnySerializer,
  peer: string = JSON_NAME,
): SerializerAgreement {
  const ours = namesOf(own) ?? JSON_NAME;
  const theirs = peer.split(" ");
  const choice = choiceOf(own);
  const single = own as Serializer | undefined;
  const agreed = choice
    ? choice.agree(theirs)
    : theirs.includes(ours) && { sender: single, receiver: single };
  if (agreed) return agreed;
  throw new ConnectionError(
    "serializer_mismatch",
    `the peer's serializer is ${quote(peer)}, this side's ${quote(ours)}`,
  );
}
