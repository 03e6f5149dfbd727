/**
 * The calls of the soak test, and their counts.
 *
 * A call counts as run exactly if its caller knows that its handler started. So
 * the counts of client and server must agree whenever no call is open.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type Client, type Connection, RpcError } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { SoakServices, Tally } from "./server.ts";

/** Of so many calls one is of each rare kind. */
const RARE = 64;

/** Bytes that params are cut from. */
const PATTERN = Uint8Array.from({ length: 1 << 17 }, (_, i) => i * 31 % 251);

/** Makes calls, and checks every reply. */
export class SoakCalls {
  /** Calls made, and those of them whose callers wait. */
  made = 0;
  open = 0;
  /** Bytes sent as params of bytes; as many come back. */
  bytes = 0;
  readonly tally: Tally = { runs: 0, sum: 0, fired: 0 };
  /** A sentence for each fault. */
  readonly faults: string[] = [];
  readonly #random: Random;
  readonly #meanSize: number;
  /** Calls that are aborted when the next ones are made. */
  #giveUp: AbortController[] = [];

  /** @param meanSize Of bytes, where a call has them. */
  constructor(random: Random, meanSize: number) {
    this.#random = random;
    this.#meanSize = meanSize;
  }

  /** Bytes that calls with bytes must have, so that so many calls have so many in all. */
  static meanSize(calls: number, bytes: number): number {
    return Math.min(PATTERN.length / 2, Math.ceil(bytes / (calls / RARE)));
  }

  /** Makes `count` calls; a few of them make the server call back through `peer`. */
  make(client: Client<SoakServices>, peer: Connection, count: number): void {
    const before = this.#giveUp;
    this.#giveUp = [];
    for (let i = 0; i < count; i++) this.#make(client, peer, this.made++);
    for (const controller of before) controller.abort();
  }

  /** Aborts the calls that do not end by themselves. */
  calm(): void {
    for (const controller of this.#giveUp.splice(0)) controller.abort();
  }

  #make(client: Client<SoakServices>, peer: Connection, n: number): void {
    switch (this.#random.below(RARE)) {
      case 0:
        return this.#bytes(client, n);
      case 1:
        return this.#answered(n, this.#fails(client.call("Soak.fail", n)), n);
      case 2:
        return this.#answered(n, client.call("Soak.later", n), n);
      case 3: {
        const call = client.call("Soak.object", { n, list: [n, 1, 2] });
        const list = call.then((value) => JSON.stringify(value));
        return this.#answered(n, list, `{"n":${n},"list":[2,1,${n}]}`);
      }
      case 4:
        return this.#answered(n, peer.call("Soak.back", n), n);
      case 5:
        return this.#given(n, client, "Soak.hold");
      case 6:
        return this.#given(n, client, "Soak.later");
      case 7: {
        const call = client.call("Soak.text", `${n}`, { timeout: 600_000 });
        return this.#answered(n, call, `${n}`);
      }
      default:
        return this.#answered(n, client.call("Soak.text", `${n}`), `${n}`);
    }
  }

  #bytes(client: Client<SoakServices>, n: number): void {
    const length = this.#random.between(8, 2 * this.#meanSize - 8);
    const params = PATTERN.slice(0, length);
    new DataView(params.buffer).setFloat64(0, n);
    this.bytes += length;
    const call = client.call("Soak.bytes", params);
    const same = call.then((reply) => Buffer.compare(reply, params));
    this.#answered(n, same, 0);
  }

  /** The error that a handler throws on purpose. */
  async #fails(call: Promise<unknown>): Promise<unknown> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof RpcError && error.code === "sorry") {
        return error.data;
      }
      throw error;
    }
  }

  /** Makes a call that gets its reply. */
  #answered(n: number, answer: Promise<unknown>, expected: unknown): void {
    this.open++;
    answer.then((value) => {
      if (value !== expected) this.#fault(n, `was answered ${value}`);
      this.tally.runs++;
      this.tally.sum += n;
    }, (error) => this.#fault(n, `failed: ${error}`)).then(() => this.open--);
  }

  /** Makes a call that is aborted at some time. */
  #given(
    n: number,
    client: Client<SoakServices>,
    method: "Soak.hold" | "Soak.later",
  ): void {
    this.open++;
    const controller = new AbortController();
    const { settled } = client.go(method, n, { signal: controller.signal });
    if (this.#random.oneIn(4)) controller.abort();
    else this.#giveUp.push(controller);
    settled.then((outcome) => {
      if (outcome === "unknown") {
        this.#fault(n, "is unknown, on a connection that lives");
      }
      if (outcome === "executed") {
        this.tally.runs++;
        this.tally.sum += n;
        if (method === "Soak.hold") this.tally.fired++;
      }
      this.open--;
    });
  }

  #fault(n: number, what: string): void {
    if (this.faults.length < 20) this.faults.push(`call ${n} ${what}`);
  }
}
