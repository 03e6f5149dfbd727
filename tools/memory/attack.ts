/**
 * The hostile peers of a case, in a process of their own. It reports how much
 * they have sent, and keeps their connections until its parent ends it.
 *
 * @module
 */

import { connect as dial, type Socket } from "node:net";
import process from "node:process";
import { parentDone, sendToParent } from "../../bench/demo/parent.ts";
import { Client, connect } from "../../mod.ts";
import {
  CALLER,
  data,
  frame,
  hello,
  KIND,
  request,
} from "../../tests/support/raw_peer.ts";
import { type Case, caseOf } from "./cases.ts";
import { gob, ROWS } from "./gob.ts";

/** Where the server is. */
interface Address {
  readonly host: string;
  readonly port: number;
}

/** A connection that sends bytes, and reads only if it should. */
class Attacker {
  sent = 0;
  readonly #socket: Socket;
  #over = false;

  constructor({ host, port }: Address, reads: boolean) {
    this.#socket = dial(port, host);
    this.#socket.on("error", () => this.#over = true);
    this.#socket.on("close", () => this.#over = true);
    if (reads) this.#socket.resume();
  }

  /** Sends bytes, unless the server has closed it. */
  async send(bytes: Uint8Array): Promise<void> {
    if (this.#over) return;
    this.sent += bytes.length;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#socket.off("close", done);
        resolve();
      };
      this.#socket.once("close", done);
      this.#socket.write(bytes, done);
    });
  }
}

/** A frame with a large body, in one copy. */
function filled(
  kind: number,
  id: number,
  head: Uint8Array,
  body: Uint8Array,
  flags = 0,
): Uint8Array {
  const bytes = new Uint8Array(12 + head.length + body.length);
  bytes.set(frame(kind, id, [], flags));
  new DataView(bytes.buffer).setUint32(0, head.length + body.length);
  bytes.set(head, 12);
  bytes.set(body, 12 + head.length);
  return bytes;
}

/** The body of a request for `Sink.hold`, with this many metadata entries of six bytes. */
function described(id: number, entries: number): Uint8Array {
  const block = new Uint8Array(2 + 6 * entries);
  new DataView(block.buffer).setUint16(0, 6 * entries);
  for (let i = 0; i < entries; i++) {
    block.set([3, i >>> 14, (i >>> 7) & 0x7f, i & 0x7f, 0, 0], 2 + 6 * i);
  }
  const rest = request(id, "Sink.hold", [0]).subarray(12);
  return filled(KIND.REQUEST, id, block, rest, 2);
}

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

/** The number of calls in a window. */
const CALLS = Uint8Array.from(
  numbers(4096).flatMap((id) => [...request(id, "Sink.hold", [0])]),
);

/** What each connection sends, by case. */
const SENDS: Record<string, (attacker: Attacker) => Promise<void>> = {
  "X14": async (attacker) => {
    for (const id of numbers(270)) await attacker.send(described(id, 10_000));
  },
  "X14 early": (attacker) => attacker.send(described(1, 10_000)),
  "X18 streams": async (attacker) => {
    const item = new Uint8Array(32_001);
    item[0] = 2;
    for (const id of numbers(1024)) {
      await attacker.send(request(id, "Sink.stream", [5]));
      for (const _ of numbers(2)) await attacker.send(data(id, item, CALLER));
    }
  },
  "X18 params": async (attacker) => {
    const text = JSON.stringify(Array(330_000).fill({}));
    const json = new TextEncoder().encode(text);
    const head = request(1, "Sink.hold", [1]).subarray(12);
    for (const id of numbers(15)) {
      await attacker.send(filled(KIND.REQUEST, id, head, json));
    }
  },
  "X18 calls": (attacker) => attacker.send(CALLS),
};

/** 300 calls of one connection that reads nothing, which get their replies when another connection asks for it. */
async function hoard(address: Address): Promise<number> {
  const attacker = new Attacker(address, false);
  await attacker.send(hello());
  for (const id of numbers(300)) {
    await attacker.send(request(id, "Sink.large", [0]));
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  const other = new Attacker(address, true);
  await other.send(hello());
  await other.send(request(1, "Sink.release", [0]));
  return attacker.sent + other.sent;
}

/** What is sent over Go's protocol. */
async function goCalls(address: Address, { id, connections }: Case) {
  let sent = 0;
  for (const _ of numbers(connections)) {
    const client = new Client<object>(await connect(address), {
      protocol: gob as never,
    });
    const { connection } = client;
    if (id === "X15") {
      await connection.call("Sink.bytes", new Uint8Array(4_000_000));
    } else {
      for (const _ of numbers(20)) {
        connection.call("Sink.rows", ROWS).catch(() => {});
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    sent += client.stats().bytesWritten;
  }
  return sent;
}

async function attack(each: Case, address: Address): Promise<number> {
  if (each.wire === "gob") return await goCalls(address, each);
  if (each.id === "X16") return await hoard(address);
  const attackers = numbers(each.connections).map(() =>
    new Attacker(address, true)
  );
  await Promise.all(attackers.map(async (attacker) => {
    await attacker.send(hello({ streams: true }));
    await SENDS[each.id](attacker);
  }));
  return attackers.reduce((sum, attacker) => sum + attacker.sent, 0);
}

if (import.meta.main) {
  parentDone().then(() => process.exit());
  const [id, host, port] = process.argv.slice(2);
  const sent = await attack(caseOf(id), { host, port: Number(port) });
  sendToParent({ sent });
}
