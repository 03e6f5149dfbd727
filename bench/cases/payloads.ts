/**
 * Values to payload bytes and back, by kind.
 *
 * @module
 */

import {
  decodePayload,
  PayloadEncoder,
} from "../../src/wire/values/payload.ts";
import { viewOf } from "../../src/base/bytes.ts";
import type { Case } from "../cases.ts";

const JSON_ALONE = { sender: undefined, receiver: undefined };

const VALUES: Record<string, unknown> = {
  "undefined": undefined,
  "string, 13 ASCII characters": "client 123456",
  "string, 4 KiB of ASCII": "sluice ".repeat(585),
  "string, 13 others": "Grüße, Sluice",
  "JSON, a number": 12.5,
  "JSON, a small object": { id: 123456, name: "client", tags: ["a", "b"] },
  "JSON, 100 small objects": Array.from(
    { length: 100 },
    (_, id) => ({ id, name: "client " + id, on: id % 2 === 0 }),
  ),
  "bytes, 16 B": new Uint8Array(16),
  "bytes, 4 KiB": new Uint8Array(4096),
};

const OPERATIONS = 100;

function encode(name: string, value: unknown): Case {
  return {
    name: `write ${name}`,
    group: "payload",
    operations: OPERATIONS,
    setup: () => {
      const encoder = new PayloadEncoder(JSON_ALONE);
      const bytes = new Uint8Array(64 * 1024);
      const target = { bytes, view: viewOf(bytes) };
      return () => {
        for (let i = 0; i < OPERATIONS; i++) {
          encoder.prepare(value, false);
          encoder.write(target, 0);
        }
      };
    },
  };
}

function decode(name: string, value: unknown): Case {
  return {
    name: `read ${name}`,
    group: "payload",
    operations: OPERATIONS,
    setup: () => {
      const encoder = new PayloadEncoder(JSON_ALONE);
      const bytes = new Uint8Array(64 * 1024);
      encoder.prepare(value, false);
      encoder.write({ bytes, view: viewOf(bytes) }, 0);
      const { kind, size } = encoder;
      const payload = { kind, bytes, at: 0, end: size };
      const read = () => decodePayload(payload, undefined, false);
      const same = JSON.stringify(read()) === JSON.stringify(value);
      if (!same) throw new Error(`${name} did not come back`);
      return () => {
        for (let i = 0; i < OPERATIONS; i++) read();
      };
    },
  };
}

/** The cases of this file. */
export const PAYLOADS: readonly Case[] = Object.entries(VALUES).flatMap(
  ([name, value]) => [encode(name, value), decode(name, value)],
);
