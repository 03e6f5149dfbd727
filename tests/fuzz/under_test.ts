/**
 * A client and a server that the fuzzer feeds, and what must hold for both
 * whatever they receive (row B10 of docs/faults.md): no crash, no call settled
 * twice, and at the end every call is settled and nothing is left.
 *
 * @module
 */

import {
  type CallContext,
  type Client,
  type Clock,
  type Connection,
  type Duplex,
  RpcError,
  type Server,
  type ServerOptions,
} from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { linkedLines } from "../../src/testing/faulty.ts";
import { CallLog } from "../support/call_log.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { SignalCount } from "../support/signal_count.ts";
import { StreamWatch } from "../support/stream_watch.ts";
import type { FuzzCase } from "./fuzz_case.ts";

/** Checks the bytes that the side sends. Throws if they are not legal. */
export type Hear = (bytes: Uint8Array) => void;

/** A client or server that the fuzzer feeds. */
export abstract class UnderTest {
  protected readonly clock: TestClock = new TestClock(1);
  protected readonly signals: SignalCount = new SignalCount();
  protected readonly callLog: CallLog = new CallLog();
  protected readonly watch: StreamWatch = new StreamWatch();
  protected abstract readonly connection: Connection;
  readonly #pair = linkedLines({ back: { capacity: 64 } });
  readonly #hear: Hear;
  #misheard: unknown;

  /** @param hear Receives all bytes that the side sends, and throws if they are not legal. */
  constructor(hear: Hear) {
    this.#hear = hear;
  }

  protected get duplex(): Duplex {
    return this.#pair.far;
  }

  /** Runs after the first chunk and at the end. */
  protected abstract act(): void;
  protected abstract finish(): Promise<void>;

  async run({ chunks, end }: FuzzCase): Promise<void> {
    this.#pair.back.onWritten = (bytes) => this.#listen(bytes);
    // In silence the peer neither writes nor reads any more.
    const reading = end === "silence"
      ? undefined
      : this.#pair.near.readable.pipeTo(new WritableStream()).catch(() => {});
    const writer = this.#pair.near.writable.getWriter();
    for (const chunk of chunks) {
      writer.write(chunk).catch(() => {});
      if (chunk === chunks[chunks.length >> 1]) await settle(1);
    }
    await settle(1);
    this.act();
    await settle(1);
    if (end === "fin") writer.close().catch(() => {});
    else if (end === "reset") this.#pair.reset();
    await settle(1);
    await this.clock.advance(12_000);
    const finished = this.finish();
    await settle(1);
    await this.clock.advance(12_000);
    await Promise.all([finished, this.connection.closed, reading]);
    await settle(1);
    await this.#judge();
  }

  /** An exception of a listener must not reach the side under test. */
  #listen(bytes: Uint8Array): void {
    try {
      this.#hear(bytes);
    } catch (error) {
      this.#misheard ??= error;
    }
  }

  async #judge(): Promise<void> {
    if (this.#misheard !== undefined) throw this.#misheard;
    const reason = await this.connection.closed;
    if (reason?.code === "internal") throw reason;
    const open = this.callLog.open();
    if (open.length > 0) throw new Error(`${open.length} calls are open`);
    this.watch.check(true);
    assertNothingLeft(this.connection);
    const { timers } = this.clock;
    const { listeners } = this.signals;
    const { running } = this.connection.stats();
    if (timers + listeners + running > 0) {
      throw new Error(`left: ${timers}, ${listeners}, ${running}`);
    }
  }
}

/** Services with any method. */
export type AnyServices = Record<string, (params?: unknown) => unknown>;
type AnyClient = Client<AnyServices>;

/** A client with calls in flight. */
export class ClientUnderTest extends UnderTest {
  readonly #client: AnyClient;
  readonly connection: Connection;

  constructor(
    hear: Hear,
    make: (duplex: Duplex, clock: Clock) => AnyClient,
  ) {
    super(hear);
    this.#client = make(this.duplex, this.clock);
    this.connection = this.#client.connection;
    const { signal } = this.signals.make();
    for (let i = 0; i < 24; i++) {
      const options = { signal, timeout: i % 2 ? 100 * i : undefined };
      const params = i % 4 === 1 ? this.watch.source(i) : [i];
      const handle = this.#client.go("S.m", params, options);
      this.callLog.enter("c", handle);
      handle.reply.then((result) => this.#read(result, i)).catch(() => {});
    }
  }

  /** Some readers read to the end, some cancel. */
  async #read(result: unknown, most: number): Promise<void> {
    if (!(result instanceof ReadableStream)) return;
    await this.watch.read(result, Infinity, most % 3 === 0 ? 1 : undefined);
  }

  protected act(): void {
    for (const { n, handle } of this.callLog.entries) {
      if (n % 3 === 0) handle?.abort();
    }
    this.callLog.enter("c", this.#client.go("S.m", ["later"]));
  }

  protected finish(): Promise<void> {
    return this.#client.close();
  }
}

/** Options: a clock, and limits that are reached soon. */
type Limited = Pick<
  ServerOptions,
  "clock" | "windowCalls" | "windowBytes" | "maxRunning"
>;

/** A server with the methods of the scenario, some of which are slow. */
export class ServerUnderTest extends UnderTest {
  readonly #server: Server<object>;
  readonly connection: Connection;
  readonly #held: (() => void)[] = [];
  /** Whether the server closes. Calls that were made before may still start then: nothing would release them. */
  #closing = false;

  constructor(
    hear: Hear,
    make: (services: object, options: Limited) => Server<object>,
  ) {
    super(hear);
    const { clock } = this;
    const slow = () =>
      new Promise<void>((resolve) =>
        this.#closing ? resolve() : this.#held.push(() => resolve())
      );
    const services: object = {
      S: {
        e: (params: unknown) => params,
        h: slow,
        f: () => {
          throw new RpcError("sorry", "no", { data: 1 });
        },
        t: (_: unknown, ctx: CallContext) => {
          ctx.signal.addEventListener("abort", () => {});
          throw new Error("hidden");
        },
        c: () => 1n,
        d: () => this.watch.source(50),
        b: () => this.watch.source(3, "throw"),
        w: () => this.watch.source(1, "wait"),
        p: (params: unknown) => this.#read(params, Infinity),
        q: (params: unknown) => this.#read(params, 1),
      },
      Test: { call: slow },
    };
    const limits = { windowCalls: 24, windowBytes: 2048, maxRunning: 6 };
    this.#server = make(services, { clock, ...limits });
    this.connection = this.#server.accept(this.duplex);
  }

  async #read(params: unknown, most: number): Promise<unknown> {
    if (!(params instanceof ReadableStream)) return params;
    return await this.watch.read(params, Infinity, most);
  }

  protected act(): void {
    this.#held.splice(0, 3).forEach((resolve) => resolve());
  }

  protected async finish(): Promise<void> {
    const closed = this.#server.close();
    this.#closing = true;
    this.watch.release();
    while (this.#held.length > 0) {
      this.#held.splice(0).forEach((resolve) => resolve());
      await settle(1);
    }
    await closed;
  }
}
