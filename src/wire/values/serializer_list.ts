/**
 * Several serializers in order of preference, of which the peer's HELLO chooses
 * one.
 *
 * Bound: a side that has several makes no call before the peer's HELLO has been
 * read. A value that waits for it is encoded once with each serializer when its
 * call is made, and counts with all of these bytes.
 *
 * @module
 */

import { isBytes } from "../../base/bytes.ts";
import { isInstanceOf } from "../../base/user_code.ts";
import type {
  Serializer,
  SerializerList,
  SerializerOption,
  WireMap,
} from "../../types/connection.ts";
import { inForm, PayloadEncoder, type PreparedPayload } from "./payload.ts";
import {
  JSON_NAME,
  namesOf,
  type SerializerAgreement,
  type SerializerChoice,
} from "./serializers.ts";
import { Snapshot } from "./snapshot.ts";
import type { PayloadRole } from "./to_json.ts";

/** A value in several forms, of which one is sent; the first one where nothing chooses. */
class Forms extends Snapshot {
  /** By serializer; what a serializer has thrown stands for its form. */
  readonly forms: ReadonlyMap<unknown, Snapshot | { readonly error: unknown }>;
  /** Of all forms together, as they all wait. */
  override readonly size: number;

  constructor(first: Snapshot, forms: Forms["forms"], size: number) {
    const { kind, text, bytes, references, serializer } = first;
    super(kind, text, bytes, references, serializer);
    this.forms = forms;
    this.size = size;
  }
}

/** Keeps a value in each of its forms until one serializer is chosen. */
class ChoosingEncoder extends PayloadEncoder {
  readonly #choice: Choice;
  readonly #agreement: SerializerAgreement;
  #undecided: Forms | undefined;

  constructor(choice: Choice, agreement: SerializerAgreement) {
    super(agreement);
    this.#choice = choice;
    this.#agreement = agreement;
  }

  override prepare(
    value: unknown,
    transfer: boolean,
    role?: PayloadRole,
  ): void {
    this.#undecided = undefined;
    const plain = value === undefined || typeof value === "string" ||
      isBytes(value) || isInstanceOf(value, Snapshot);
    if (plain || !this.#open) super.prepare(value, transfer, role);
    else this.restorePrepared(this.#choice.forms(value, role));
  }

  override savePrepared(): PreparedPayload {
    return this.#undecided ?? super.savePrepared();
  }

  override restorePrepared(prepared: PreparedPayload, owned?: boolean): void {
    this.#undecided = undefined;
    if (!isInstanceOf(prepared, Forms)) {
      return super.restorePrepared(prepared, owned);
    }
    if (this.#open) {
      super.prepare(undefined, false);
      this.size = prepared.size;
      this.#undecided = prepared;
      return;
    }
    const form = prepared.forms.get(this.#agreement.sender);
    if (!isInstanceOf(form, Snapshot)) throw form?.error;
    // Not owned: it may be sent again.
    super.restorePrepared(form, false);
  }

  /** Whether the peer's HELLO has not been read. */
  get #open(): boolean {
    return this.#agreement.sender as unknown === this.#choice;
  }
}

/** What {@linkcode serializers} makes. */
class Choice implements SerializerChoice {
  readonly names: string;
  readonly #names: readonly string[];
  /** Undefined stands for JSON. */
  readonly #list: readonly (Serializer | undefined)[];

  constructor(list: readonly (Serializer | typeof JSON_NAME)[]) {
    this.#list = list.map((each) => each === JSON_NAME ? undefined : each);
    this.#names = this.#list.map((each) => namesOf(each) ?? JSON_NAME);
    this.names = this.#names.join(" ");
    namesOf(this);
  }

  agree(peer: readonly string[]): SerializerAgreement | undefined {
    const names = this.#names;
    const ours = names.findIndex((name) => peer.includes(name));
    const theirs = peer.find((name) => names.includes(name));
    if (theirs === undefined) return undefined;
    return {
      sender: this.#list[ours],
      receiver: this.#list[names.indexOf(theirs)],
    };
  }

  forms(value: unknown, role?: PayloadRole): Snapshot {
    const forms = new Map<unknown, Snapshot | { readonly error: unknown }>();
    let first: Snapshot | undefined;
    let size = 0;
    let thrown: unknown;
    for (const each of this.#list) {
      try {
        const form = inForm(value, each, role);
        first ??= form;
        size += form.size;
        forms.set(each, form);
      } catch (error) {
        thrown = error;
        forms.set(each, { error });
      }
    }
    if (first === undefined) throw thrown;
    return new Forms(first, forms, size);
  }

  encoder(agreement: SerializerAgreement): PayloadEncoder {
    return new ChoosingEncoder(this, agreement);
  }
}

/**
 * Several serializers in order of preference, for the option `serializer`;
 * `"json"` stands for JSON. Each side sends with the first of its own list that
 * the peer's list has, too; if there is none, the connection closes with
 * `serializer_mismatch`.
 *
 * So a serializer can be rolled out one side after the other: `"json"` behind it
 * lets the two sides fall back to JSON. Until both have it, values must be such
 * that both serializers carry them.
 *
 * A side with several makes its first call when the peer's HELLO has arrived.
 * The clients and the server of `@sluice/rpc` take the array itself; those of
 * `@sluice/rpc/client` need this function.
 *
 * @throws {RangeError} If the list is empty, the name of a serializer is `json`
 *   or empty, or has a space or a control character, or all names with the spaces
 *   between them have more than 255 bytes of UTF-8.
 *
 * @example A client that is newer than its server
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryPair, Server } from "@sluice/rpc";
 * import { Client, rich, serializers } from "@sluice/rpc/client";
 *
 * const services = { Math: { half: ({ n }: { n: number }) => n / 2 } };
 * const [near, far] = memoryPair();
 * const server = new Server(services); // It has JSON alone.
 * server.accept(far);
 * const client = new Client<typeof services>(near, {
 *   serializer: serializers([rich(), "json"]),
 * });
 * assertEquals(await client.call("Math.half", { n: 4 }), 2);
 * await client.close();
 * await server.close();
 * ```
 */
export function serializers<M extends WireMap = "json">(
  list: readonly (Serializer & { readonly wire?: M } | "json")[],
): SerializerList & { readonly wire?: M } {
  return new Choice(list);
}

/** The same for an option that may be an array, one serializer, or none. */
export function toSerializer<M extends WireMap>(
  option: SerializerOption<M> | undefined,
): Serializer | SerializerList | undefined {
  return Array.isArray(option)
    ? serializers(option)
    : option as Serializer | SerializerList | undefined;
}
