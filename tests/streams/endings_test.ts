// Every way a stream can end, in pairs, in both orders, at once and one after
// the other, at each of its first items: each side is notified once,
// nothing is held, and no slot is lost.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { Client, memoryPair, RpcError, Server } from "../../mod.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft, pair } from "../support/pair.ts";

/** What became of one side. */
interface Side {
  told: number;
  reason?: unknown;
}

/** One stream between two ends, and hands on all that can end it. */
class Scene {
  readonly clock = new TestClock(0);
  readonly client: Client<object>;
  readonly server: Server<object>;
  readonly #ends;
  readonly #abort = new AbortController();
  /** The handler's answer, where the params are the stream. */
  readonly answer = Promise.withResolvers<unknown>();
  readonly source: Side = { told: 0 };
  readonly reader: Side = { told: 0 };
  #controller!: ReadableStreamDefaultController<number>;
  #reading!: ReadableStreamDefaultReader<unknown>;
  /** Whether the source ended by itself. */
  #over = false;
  reply!: Promise<unknown>;

  readonly what: "params" | "result";

  constructor(what: "params" | "result") {
    this.what = what;
    const [near, far] = memoryPair();
    const { clock } = this;
    this.server = new Server<object>({
      S: {
        params: (stream: ReadableStream<unknown>) => {
          this.#read(stream);
          return this.answer.promise;
        },
        result: () => this.#make(),
      },
    }, { clock });
    const connection = this.server.accept(far);
    this.client = new Client<object>(near, { clock });
    this.#ends = [this.client.connection, connection];
  }

  #make(): ReadableStream<number> {
    return new ReadableStream<number>({
      start: (controller) => void (this.#controller = controller),
      cancel: (reason) => {
        this.source.told++;
        this.source.reason = reason;
      },
    });
  }

  /** Notes when the reader gets an end. */
  async #read(stream: ReadableStream<unknown>): Promise<void> {
    this.#reading = stream.getReader();
    try {
      while (!(await this.#reading.read()).done);
    } catch (reason) {
      this.reader.reason = reason;
    }
    this.reader.told++;
  }

  async begin(items: number): Promise<void> {
    const { connection } = this.client;
    const options = { signal: this.#abort.signal, timeout: 1000 };
    if (this.what === "params") {
      this.reply = connection.call("S.params", this.#make(), options);
      this.reply.catch(() => {});
    } else {
      this.reply = connection.call("S.result", undefined, options);
      this.#read(await this.reply as ReadableStream<unknown>);
    }
    await settle();
    for (let i = 0; i < items; i++) this.#controller.enqueue(i);
  }

  end(how: Ending): unknown {
    switch (how) {
      case "the producer ends":
      case "the producer fails":
        if (this.#over || this.source.told > 0) return;
        this.#over = true;
        if (how === "the producer ends") this.#controller.close();
        else this.#controller.error(new RpcError("own", "failure"));
        return;
      case "the reader cancels":
        return void this.#reading.cancel("enough").catch(() => {});
      case "the caller aborts":
        return this.#abort.abort("aborted");
      case "the deadline passes":
        return this.clock.advance(1001);
      case "the handler answers":
        return this.answer.resolve("answer");
      case "the handler throws":
        return this.answer.reject(new RpcError("thrown", "by the handler"));
      case "the caller's end is lost":
        return void this.client.abort();
      case "the handler's end is lost":
        return void this.#ends[1].abort();
      case "the caller's end closes":
        return void this.client.close({ timeout: 10 });
      case "the handler's end closes":
        return void this.server.close({ timeout: 10 });
    }
  }

  /** Nothing is open any more though the connection may live on; then that ends, too. */
  async check(about: string): Promise<void> {
    this.answer.resolve("answer");
    await settle(6);
    await this.clock.advance(20);
    const say = (what: string) => `${what}: ${about}`;
    for (const end of this.#ends) {
      const {
        streams,
        streamHeld,
        inFlight,
        receiving: held,
        running,
        listeners,
      } = end
        .stats();
      const left = { streams, streamHeld, inFlight, held, running, listeners };
      assertEquals(Object.values(left), [0, 0, 0, 0, 0, 0], say("left"));
    }
    assertEquals(this.reader.told, 1, say("the reader's tellings"));
    const cancelled = this.source.told;
    assert(cancelled <= 1, say("the source was cancelled twice"));
    if (!this.#over) {
      assertEquals(cancelled, 1, say("the source's tellings"));
    }
    await Promise.all([this.client.abort(), this.#ends[1].abort()]);
    for (const end of this.#ends) assertNothingLeft(end);
  }
}

const ENDINGS = [
  "the producer ends",
  "the producer fails",
  "the reader cancels",
  "the caller aborts",
  "the deadline passes",
  "the handler answers",
  "the handler throws",
  "the caller's end is lost",
  "the handler's end is lost",
  "the caller's end closes",
  "the handler's end closes",
] as const;

type Ending = typeof ENDINGS[number];

/** A close waits for the stream, so alone it ends none. */
const isClose = (ending: Ending) => ending.endsWith("closes");
const ofHandler = (ending: Ending) => ending.startsWith("the handler ");

for (const what of ["params", "result"] as const) {
  const endings = ENDINGS.filter((e) => what === "params" || !ofHandler(e));
  for (const first of endings) {
    test(`[S2] [S4] ${what}: ${first}, then anything else, at any item`, async () => {
      for (const second of endings) {
        for (const apart of [false, true]) {
          for (const items of [0, 1, 3]) {
            const scene = new Scene(what);
            await scene.begin(items);
            scene.end(first);
            if (apart) await settle();
            scene.end(second);
            // A close that gives up leaves the other end its half, as ever.
            if (isClose(first) && isClose(second)) {
              await scene.clock.advance(20);
              scene.end("the handler's end closes");
            }
            await scene.check(`${first}, ${second}, ${apart}, ${items}`);
          }
        }
      }
    });
  }
}

test("[S4] a cancelled source receives the reason", async () => {
  const whys: [Ending, (reason: unknown) => boolean][] = [
    ["the caller aborts", (reason) => reason === "aborted"],
    ["the handler answers", (r) => (r as RpcError).code === "cancelled"],
    ["the handler throws", (r) => (r as RpcError).code === "thrown"],
    ["the caller's end is lost", (r) => (r as RpcError).code === "unavailable"],
    [
      "the handler's end is lost",
      (r) => (r as RpcError).code === "unavailable",
    ],
    [
      "the deadline passes",
      (r) => (r as RpcError).code === "deadline_exceeded",
    ],
  ];
  for (const [ending, isWhy] of whys) {
    const scene = new Scene("params");
    await scene.begin(1);
    await scene.end(ending);
    await scene.check(ending);
    assert(isWhy(scene.source.reason), `${ending}: ${scene.source.reason}`);
  }
});

test("a source that has ended by itself is not cancelled", async () => {
  for (const throws of [false, true]) {
    let [asked, told] = [0, 0];
    const source: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          // What the credit does not cover waits, while the source ends.
          const value = new Uint8Array(asked === 0 ? 16_000 : 1000);
          if (asked++ < 2) return Promise.resolve({ done: false, value });
          if (throws) return Promise.reject(new Error("thrown"));
          return Promise.resolve({ done: true, value: undefined });
        },
        return: () => {
          told++;
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    };
    const { client, close } = pair({ S: { bytes: () => source } }, {
      client: { streamCredit: 16_384 },
    });
    const stream = await client.call("S.bytes");
    await settle();
    assertEquals(asked, 3);
    await stream.cancel();
    await settle();
    assertEquals([client.stats().streams, told], [0, 0]);
    await close();
  }
});
