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

import { ConnectionError, quote } from "../../base/errors.ts";
import { utf8 } from "../../base/utf8.ts";
import type { Serializer } from "../../types/connection.ts";
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
  /** Makes the `PayloadEncoder` of a connection. */
  readonly encoder: (agreement: SerializerAgreement) => object;
}

/** One serializer, several of which one will be chosen, or JSON if undefined. */
export type AnySerializer =
  | Serializer & { readonly [K in keyof SerializerChoice]?: undefined }
  | SerializerChoice & { readonly [K in keyof Serializer]?: undefined }
  | undefined;

/** What each side sends with; undefined for JSON. Of no use as long as a choice is open. */
export interface SerializerAgreement {
  sender: Serializer | undefined;
  receiver: Serializer | undefined;
}

/**
 * The names for HELLO; undefined for JSON alone.
 *
 * @throws {RangeError} If a name is not one, or all are too long.
 */
export function namesOf(serializer: AnySerializer): string | undefined {
  if (serializer === undefined) return undefined;
  const { names, name } = serializer;
  const text = names ?? `${name}`;
  // Each name of a list was checked before.
  const legal = names || /^[^ \p{Cc}]+$/u.test(text) && text !== JSON_NAME;
  if (legal && utf8(text).length <= MAX_NAMES) return text;
  throw new RangeError(
    `Cannot use the serializer: its name is not legal, received ${quote(text)}`,
  );
}

/**
 * Decides what each side sends with, by the names in both HELLOs.
 *
 * @throws {ConnectionError} `serializer_mismatch` if there is no common name.
 */
export function agree(
  own: AnySerializer,
  ours: string = JSON_NAME,
  theirs: string = JSON_NAME,
): SerializerAgreement {
  const peer = theirs.split(" ");
  const agreed = own?.agree
    ? own.agree(peer)
    : peer.includes(ours) && { sender: own, receiver: own };
  if (agreed) return agreed as SerializerAgreement;
  throw new ConnectionError(
    "serializer_mismatch",
    `the peer's serializer is ${quote(theirs)}, this side's ${quote(ours)}`,
  );
}
