/**
 * Feeds one case to its target, and checks what FAULTS B10 asks for: no crash,
 * no call settled twice, and once it is over every call is settled and nothing
 * is left. What the target says itself must be legal whatever it was told.
 *
 * @module
 */

import {
  type CallContext,
  Client,
  type Connection,
  ConnectionError,
  type Duplex,
  RpcError,
  Server,
} from "../../mod.ts";
import { FrameDecoder } from "../../src/frame.ts";
import { settle, TestClock } from "../support/clock.ts";
import { faultPair } from "../support/fault_duplex.ts";
import { CallLedger } from "../support/ledger.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { KIND } from "../support/raw_peer.ts";
import { SignalCount } from "../support/signal_count.ts";
import type { FuzzCase } from "./fuzz_case.ts";

/** Runs a case; throws if something is wrong. */
export async function runFuzzCase(each: FuzzCase): Promise<void> {
  if (each.target === "decoder") decode(each.chunks);
  else if (each.target === "client") await new ClientUnderTest().run(each);
  else await new ServerUnderTest().run(each);
}

/** What a decoder made of chunks: its frames, and how it ended. */
function story(chunks: readonly Uint8Array[], maxBody: number): string {
  const told: string[] = [];
  const decoder = new FrameDecoder({
    frame: (kind, flags, id, bytes, start, end) => {
      told.push(`${kind} ${flags} ${id} ${bytes.subarray(start, end)}`);
    },
  }, maxBody);
  try {
    for (const chunk of chunks) decoder.push(chunk);
    decoder.end();
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    told.push(`${error.code} ${error.message}`);
  }
  return told.join("\n");
}

/** However bytes are cut, they are the same frames, and the same error. */
function decode(chunks: readonly Uint8Array[]): void {
  const whole = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  const expected = story([whole], 4096);
  const got = story(chunks, 4096);
  if (got !== expected) {
    throw new Error(`in chunks:\n${got}\nas a whole:\n${expected}`);
  }
}

/** An end that is fed by hand. */
abstract class UnderTest {
  protected readonly clock: TestClock = new TestClock(1);
  protected readonly signals: SignalCount = new SignalCount();
  protected readonly ledger: CallLedger = new CallLedger();
  protected abstract readonly connection: Connection;
  readonly #pair = faultPair({ back: { capacity: 64 } });
  /** Answers by id, and what was asked. */
  readonly #answers = new Map<number, number>();
  readonly #decoder = new FrameDecoder({
    frame: (kind, _flags, id) => {
      if (kind !== KIND.REPLY && kind !== KIND.ERROR) return;
      this.#answers.set(id, (this.#answers.get(id) ?? 0) + 1);
    },
  }, 2 ** 30);

  protected get duplex(): Duplex {
    return this.#pair.far;
  }

  /** What goes on while bytes come in, after the first chunk and at the end. */
  protected abstract act(): void;
  protected abstract finish(): Promise<void>;

  async run({ chunks, end }: FuzzCase): Promise<void> {
    this.#pair.back.onEntered = (bytes) => void this.#decoder.push(bytes);
    // Silence is one that neither speaks nor reads any more.
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

  async #judge(): Promise<void> {
    const reason = await this.connection.closed;
    if (reason?.code === "internal") throw reason;
    for (const [id, count] of this.#answers) {
      if (count > 1) throw new Error(`${count} answers to call ${id}`);
    }
    const open = this.ledger.open();
    if (open.length > 0) throw new Error(`${open.length} calls are open`);
    assertNothingLeft(this.connection);
    const { timers } = this.clock;
    const { listeners } = this.signals;
    const { running } = this.connection.stats();
    if (timers + listeners + running > 0) {
      throw new Error(`left: ${timers}, ${listeners}, ${running}`);
    }
  }
}

/** A client with calls under way. */
class ClientUnderTest extends UnderTest {
  readonly #client: Client<Record<string, (params?: unknown) => unknown>>;
  readonly connection: Connection;

  constructor() {
    super();
    const { clock } = this;
    this.#client = new Client(this.duplex, { clock });
    this.connection = this.#client.connection;
    const { signal } = this.signals.make();
    for (let i = 0; i < 24; i++) {
      const options = { signal, timeout: i % 2 ? 100 * i : undefined };
      this.ledger.enter("c", this.#client.go("m", i, options));
    }
  }

  protected act(): void {
    for (const { n, handle } of this.ledger.entries) {
      if (n % 3 === 0) handle?.abort();
    }
    this.ledger.enter("c", this.#client.go("m", "later"));
  }

  protected finish(): Promise<void> {
    return this.#client.close();
  }
}

/** A server with the session's methods, some of which take their time. */
class ServerUnderTest extends UnderTest {
  readonly #server: Server<object>;
  readonly connection: Connection;
  readonly #held: (() => void)[] = [];

  constructor() {
    super();
    const { clock } = this;
    const slow = () =>
      new Promise<void>((resolve) => this.#held.push(() => resolve()));
    const services: object = {
      S: {
        e: (params: unknown) => params,
        h: slow,
        f: () => {
          throw new RpcError("sorry", "no", { data: 1 });
        },
        t: (_: unknown, ctx: CallContext) => {
          ctx.signal.addEventListener("abort", () => {});
          throw new Error("not told");
        },
        c: () => 1n,
      },
      Test: { call: slow },
    };
    const limits = { windowCalls: 24, windowBytes: 2048, maxRunning: 6 };
    this.#server = new Server<object>(services, { clock, ...limits });
    this.connection = this.#server.accept(this.duplex);
  }

  protected act(): void {
    this.#held.splice(0, 3).forEach((resolve) => resolve());
  }

  protected async finish(): Promise<void> {
    const closed = this.#server.close();
    while (this.#held.length > 0) {
      this.#held.splice(0).forEach((resolve) => resolve());
      await settle(1);
    }
    await closed;
  }
}
