/**
 * Many hostile peers in one process. Each sends a fixed number of bytes a second,
 * and dials again when the server has closed it, at most once a second.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { program } from "../../bench/support/program.ts";
import { FrameDecoder } from "../../src/wire/frame_decoder.ts";
import { KIND, readCode } from "../../tests/support/raw_peer.ts";
import { HELLO, type Kind, KINDS } from "./kinds.ts";

/** The options of the process. */
export interface PeersOrder {
  readonly host: string;
  readonly port: number;
  /** Number of peers, of all kinds in turn. */
  readonly count: number;
  /** Number of further connections that send nothing. */
  readonly silent?: boolean;
  /** Bytes a second that each sends. */
  readonly rate: number;
  readonly seconds: number;
}

/** The results of the peers of one kind. */
export interface KindResult {
  readonly name: string;
  readonly dials: number;
  readonly bytes: number;
  /** How many were closed with each code; `without a GOAWAY` if there was none. */
  readonly ended: Record<string, number>;
}

/** Milliseconds between two sends, and the least between two dials of one peer. */
const TICK = 200;
const REDIAL = 1000;
/** The first dials are spread over this many sends. */
const RAMP = 10;
/** Bytes that a peer keeps of what it reads: a GOAWAY fits. */
const MAX_BODY = 1 << 20;

class Peer {
  readonly #order: PeersOrder;
  readonly #kind: Kind;
  readonly #result: {
    dials: number;
    bytes: number;
    ended: KindResult["ended"];
  };
  #socket: Socket | undefined;
  #dialledAt: number;
  #allowance = 0;
  #pieces = 0;
  #next: Uint8Array | undefined;
  #code: string | undefined;
  #stopped = false;

  constructor(
    order: PeersOrder,
    kind: Kind,
    result: KindResult,
    start: number,
  ) {
    this.#dialledAt = start - REDIAL;
    this.#order = order;
    this.#kind = kind;
    this.#result = result;
  }

  /** Sends what `ms` milliseconds allow, or dials. */
  tick(now: number, ms: number): void {
    if (this.#socket === undefined) {
      if (now - this.#dialledAt >= REDIAL) this.#dial(now);
      return;
    }
    const rate = this.#kind.pace ?? this.#order.rate;
    const most = Math.max(1, rate, this.#next?.length ?? 0);
    this.#allowance = Math.min(most, this.#allowance + rate * ms / 1000);
    const pieces: Uint8Array[] = [];
    while (this.#next !== undefined && this.#allowance >= this.#next.length) {
      this.#allowance -= this.#next.length;
      this.#result.bytes += this.#next.length;
      pieces.push(this.#next);
      this.#next = this.#kind.piece(this.#pieces++);
    }
    // If the server does not read, this process must not buffer what the peer sends.
    const stuck = this.#socket.writableLength > 65_536;
    if (pieces.length > 0 && !stuck) this.#socket.write(Buffer.concat(pieces));
  }

  stop(): void {
    this.#stopped = true;
    this.#socket?.destroy();
  }

  #dial(now: number): void {
    const { host, port } = this.#order;
    const socket = this.#socket = connect({ host, port });
    this.#dialledAt = now;
    this.#result.dials++;
    this.#pieces = 0;
    this.#code = undefined;
    this.#next = this.#kind.dumb ? this.#kind.piece(this.#pieces++) : HELLO;
    // The HELLO is sent at once; the slowest peers would never get beyond it.
    this.#allowance = this.#next?.length ?? 0;
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => this.#closed());
    if (this.#kind.deaf) socket.pause();
    else this.#listen(socket);
  }

  #listen(socket: Socket): void {
    const decoder = new FrameDecoder({
      frame: (kind, flags, id, bytes, start, end) => {
        if (kind !== KIND.GOAWAY) return;
        const body = bytes.subarray(start, end);
        this.#code = readCode({ kind, flags, id, body }).code;
      },
    }, MAX_BODY);
    socket.on("data", (chunk) => decoder.push(chunk));
  }

  #closed(): void {
    this.#socket = undefined;
    if (this.#stopped) return;
    const how = this.#code ?? "without a GOAWAY";
    const { ended } = this.#result;
    ended[how] = (ended[how] ?? 0) + 1;
  }
}

await program(async (order: PeersOrder): Promise<KindResult[]> => {
  const kinds = order.silent ? KINDS.slice(-1) : KINDS;
  const results = kinds.map(({ name }) => ({
    name,
    dials: 0,
    bytes: 0,
    ended: {},
  }));
  const began = performance.now();
  const peers = Array.from({ length: order.count }, (_, i) => {
    const k = i % kinds.length;
    const start = began + TICK * RAMP * i / order.count;
    return new Peer(order, kinds[k], results[k], start);
  });
  let last = began;
  while (last - began < order.seconds * 1000) {
    await new Promise((resolve) => setTimeout(resolve, TICK));
    const now = performance.now();
    for (const peer of peers) peer.tick(now, now - last);
    last = now;
  }
  for (const peer of peers) peer.stop();
  return results;
});
