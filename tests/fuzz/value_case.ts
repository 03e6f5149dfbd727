/**
 * Passes one hostile value to the library, in one of the places where users pass
 * values, and checks row X2 of docs/faults.md: every call settles with a suitable
 * error, the connection continues, nothing is left, and streams are released.
 *
 * @module
 */

import {
  type CallContext,
  type CallHandle,
  type CallOptions,
  Client,
  clientMiddleware,
  type ClientOptions,
  type Connection,
  type Dial,
  memoryPair,
  method,
  observers,
  ordered,
  type Protocol,
  ReconnectingClient,
  type ReconnectingClientOptions,
  RpcError,
  Server,
  type ServerOptions,
} from "../../mod.ts";
import { jsonRpc } from "../../jsonrpc.ts";
import { netrpc } from "../../netrpc.ts";
import { settle, TestClock } from "../support/clock.ts";
import { assertNothingLeft } from "../support/pair.ts";
import { Random } from "../support/random.ts";
import { STREAMS } from "./value_streams.ts";
import { hostile, Made } from "./values.ts";

const WIRES = {
  native: undefined,
  lines: jsonRpc(),
  header: jsonRpc({ framing: "contentLength" }),
  gob: netrpc(),
  json: netrpc({ encoding: "json" }),
} satisfies Record<string, Protocol | undefined>;
type WireName = keyof typeof WIRES;

// deno-lint-ignore no-explicit-any
type AnyClient = Client<any>;
type Method = (params: unknown, options: CallOptions) => Promise<unknown>;

/** What a place has to do with. */
interface Ground {
  readonly random: Random;
  readonly made: Made;
  readonly value: unknown;
  readonly wire: WireName;
  readonly clock: TestClock;
}

/** How a value is passed. */
interface Plan {
  readonly methods?: object;
  readonly server?: ServerOptions;
  readonly client?: ClientOptions;
  /** Makes calls. Each must settle. */
  calls?(client: AnyClient): unknown[];
  /** Whether what they reject with may be the value, or what it throws: it is of the caller's own making. */
  readonly raw?: boolean;
  /** Whether a value that never settles may keep a call from settling. */
  readonly hangs?: boolean;
  /** Options of a client that reconnects, which is then made in place of a plain one. */
  readonly reconnecting?: ReconnectingClientOptions;
  /** In place of one that connects to the server. */
  readonly dial?: Dial;
  /** Whether the connection may end. */
  readonly wrecks?: boolean;
  /** Whether to make the two ends may throw. */
  readonly refused?: boolean;
  /** Whether a stream that is the value is the library's from now on; `awaited`, if it waits for a promise of it. */
  readonly takes?: "direct" | "awaited";
}

type Place = (ground: Ground) => Plan;

const OPTIONS: CallOptions = { timeout: 5000 };

/** Params that every wire carries. */
const ARG = { A: 1 };

/** Calls `S.m`, whose handler does something with the value. */
function serves(
  m: (params: unknown, ctx: CallContext) => unknown,
  more: Plan = {},
): Plan {
  return {
    methods: { m },
    calls: (client) => [client.call("S.m", ARG, OPTIONS)],
    ...more,
  };
}

/** Calls `S.m` with an argument, and options. */
function calls(params: unknown, options?: unknown, more: Plan = {}): Plan {
  return {
    calls: (client) => [
      client.call("S.take", params, options as CallOptions),
    ],
    ...more,
  };
}

const fail = (value: unknown): never => {
  throw value;
};

/** Rejects, and nobody but the library can handle that. */
const rejecting = (value: unknown) => () => Promise.reject(value);

/** A hook that throws or returns a hostile value. */
function hook({ random, value }: Ground): () => never {
  return random.pick<() => unknown>([
    () => fail(value),
    () => value,
    rejecting(new Error("made by the fuzzer")),
    () => ({
      then: (_: unknown, broken: (reason: unknown) => void) => broken(value),
    }),
  ]) as () => never;
}

/** Places on every wire. */
const PLACES: Record<string, Place> = {
  params: ({ value, wire, random }) => {
    const named = wire === "lines" || wire === "header";
    const params = named && random.oneIn(2) ? [value] : value;
    const takes = params === value ? "direct" : undefined;
    return calls(params, OPTIONS, { takes });
  },
  notify: ({ value }) => ({
    calls: (client) => [client.notify("S.take", value)],
    takes: "direct",
  }),
  queued: ({ value, random }) => ({
    client: { windowCalls: 1 },
    server: { windowCalls: 1 },
    calls: (client) => {
      const transfer = random.oneIn(2);
      const first = client.call("S.take", ARG, OPTIONS);
      const last = client.call("S.take", value, { ...OPTIONS, transfer });
      const end = random.below(3);
      if (end === 0 && ArrayBuffer.isView(value)) spoil(value);
      return [first, last];
    },
    takes: "direct",
  }),
  aborted: ({ value, random }) => ({
    calls: (client) => {
      const handle: CallHandle = client.go("S.take", value, OPTIONS);
      if (random.oneIn(2)) handle.abort(new RpcError("own", "aborted"));
      return [handle.reply];
    },
    takes: "direct",
  }),
  result: ({ value, random }) =>
    serves(random.oneIn(2) ? () => value : async () => await value, {
      takes: "awaited",
    }),
  lateResult: ({ value }) =>
    serves(async (_, ctx) => {
      await new Promise((resolve) =>
        ctx.signal.addEventListener("abort", resolve)
      );
      return value;
    }, {
      calls: (client) => {
        const handle: CallHandle = client.go("S.m", ARG, OPTIONS);
        queueMicrotask(() =>
          setImmediate(() => handle.abort(new RpcError("own", "")))
        );
        return [handle.reply];
      },
      takes: "awaited",
    }),
  nested: ({ value }) => serves(() => ({ A: [value] })),
  item: ({ value }) =>
    serves(async function* () {
      yield 1;
      yield value;
    }),
  enqueued: ({ value }) =>
    serves(() =>
      new ReadableStream({
        pull(controller) {
          controller.enqueue(value);
          controller.close();
        },
      })
    ),
  thrown: ({ value, random }) =>
    serves(random.oneIn(2) ? () => fail(value) : () => Promise.reject(value)),
  data: ({ value }) =>
    serves(() => fail(new RpcError("own", "text", { data: value }))),
  given: ({ value }) =>
    serves((_, ctx) => ctx.transfer(value as Uint8Array), { takes: "awaited" }),
  setReplyMetadata: ({ value, random }) =>
    serves((_, ctx) =>
      ctx.setReplyMetadata((random.oneIn(2) ? value : { m: value }) as never)
    ),
  options: ({ value }) => calls(ARG, value, { raw: true }),
  option: ({ value, random }) => {
    const name = random.pick(
      ["signal", "timeout", "deadline", "ctx", "metadata", "transfer"],
    );
    return calls(ARG, { ...OPTIONS, [name]: value }, { raw: true });
  },
  metadata: ({ value, random }) => {
    const metadata = random.oneIn(2) ? value : { m: value };
    return calls(ARG, { ...OPTIONS, metadata }, { raw: true });
  },
  ctx: ({ value, random }) => {
    const { signal } = new AbortController();
    const ctx = random.oneIn(2)
      ? { signal: value, remaining: Infinity }
      : { signal, remaining: value };
    return calls(ARG, { ...OPTIONS, ctx }, { raw: true });
  },
  reason: ({ value, random }) => ({
    calls: (client) => {
      const controller = new AbortController();
      const { signal } = controller;
      const call = client.call("S.hang", [], { ...OPTIONS, signal });
      if (random.oneIn(2)) controller.abort(value);
      else setImmediate(() => controller.abort(value));
      return [call];
    },
    raw: true,
  }),
  handleReason: ({ value }) => ({
    calls: (client) => {
      const handle: CallHandle = client.go("S.hang", ARG, OPTIONS);
      handle.abort(value);
      return [handle.reply, handle.sent];
    },
    raw: true,
  }),
  clientReason: ({ value }) => ({
    calls: (client) => {
      const call = client.call("S.hang", ARG, OPTIONS);
      return [client.abort(value), call];
    },
    wrecks: true,
  }),
  cancelReason: ({ value }) => ({
    calls: (client) => [
      client.call("S.many", ARG, OPTIONS).then((stream: unknown) =>
        (stream as ReadableStream).cancel(value)
      ),
    ],
    raw: true,
  }),
  streamReason: ({ value, wire }) => ({
    calls: (client) => {
      const controller = new AbortController();
      const { signal } = controller;
      const call = client.call("S.many", ARG, { ...OPTIONS, signal });
      // A wire without streams has none to read.
      if (wire !== "native") return [call];
      return [call.then(async (stream: unknown) => {
        const reader = (stream as ReadableStream).getReader();
        await reader.read();
        controller.abort(value);
        await reader.read();
      })];
    },
    raw: true,
  }),
  method: ({ value }) => ({
    calls: (client) => [client.call(value as string, ARG, OPTIONS)],
    raw: true,
  }),
  member: ({ value, random }) => ({
    methods: (random.oneIn(3) ? value : { m: value }) as object,
    refused: true,
    calls: (client) => [client.call("S.m", ARG, OPTIONS)],
  }),
  middleware: (ground) =>
    serves((_, ctx) => ctx.id, {
      server: {
        use: [async (call, next) => {
          if (call.method === "S.ok") return next();
          if (ground.random.oneIn(2)) await next(ground.value as never);
          return ground.random.oneIn(2) ? fail(ground.value) : ground.value;
        }],
      },
    }),
  dropped: ({ value, random, wire }) =>
    serves(() => value, {
      server: {
        use: [async (call, next) => {
          const result = await next();
          if (call.method === "S.ok") return result;
          return random.oneIn(2) ? fail(new Error("late")) : "instead";
        }],
      },
      takes: wire === "native" ? "awaited" : undefined,
    }),
  outgoing: (ground) =>
    calls(ARG, OPTIONS, {
      client: {
        use: clientMiddleware(async (call, next) => {
          if (call.method === "S.ok") return next();
          if (ground.random.oneIn(2)) {
            await next({ params: ground.value }).catch(() => {});
          }
          return ground.random.oneIn(2) ? fail(ground.value) : ground.value;
        }),
      },
      raw: true,
    }),
  outgoingChange: ({ value }) =>
    calls(ARG, OPTIONS, {
      client: {
        use: clientMiddleware((call, next) =>
          next(call.method === "S.ok" ? undefined : value as never)
        ),
      },
      raw: true,
    }),
  hooks: (ground) => {
    const observe = () => observers({ start: hook(ground), end: hook(ground) });
    return serves(() => fail(new Error("for onError")), {
      client: { observe: observe() },
      server: { observe: observe(), onError: hook(ground) },
    });
  },
  defaults: ({ value }) =>
    calls(ARG, { metadata: value }, { client: { timeout: 5000 }, raw: true }),
  schema: ({ value, random }) => {
    const result = random.pick<unknown>([
      value,
      { value },
      { issues: value },
      { issues: [{ message: value, path: value }] },
      Promise.resolve({ issues: [value] }),
    ]);
    const validate = random.oneIn(4) ? () => fail(value) : () => result;
    const schema = { "~standard": { version: 1, vendor: "fuzz", validate } };
    return {
      methods: { m: method(schema as never, (params) => params) },
      calls: (client) => [client.call("S.m", ARG, OPTIONS)],
    };
  },
  order: ({ value, random }) => {
    const key = random.oneIn(2) ? () => fail(value) : () => value;
    return {
      methods: { m: ordered(() => 1, { key: key as never }) },
      calls: (client) => [
        client.call("S.m", ARG, OPTIONS),
        client.call("S.m", ARG, OPTIONS),
      ],
    };
  },
  mapped: ({ value }) => ({
    calls: (client) => {
      const results = client.map("S.take", [ARG, value], { window: 2 });
      return [drain(results)];
    },
    hangs: true,
    raw: true,
    takes: "direct",
  }),
  proxy: ({ value }) => ({
    calls: (client) => {
      const service = client.service("S") as Record<string, Method>;
      return [service.take(value, OPTIONS)];
    },
    takes: "direct",
  }),
};

/** Places on the native wire alone. */
const NATIVE: Record<string, Place> = {
  paramsItem: ({ value }) =>
    calls(
      (async function* () {
        yield value;
      })(),
      OPTIONS,
    ),
  encoder: ({ value, random }) => {
    const encode = () => random.oneIn(4) ? fail(value) : value as Uint8Array;
    const plain = { name: "fuzz", encode: text, decode: parse };
    // On one side alone: the other is honest.
    const bad = { ...plain, encode };
    const server = random.oneIn(2);
    return serves(() => ({ A: 1 }), {
      server: { serializer: server ? bad : plain },
      client: { serializer: server ? plain : bad },
      calls: (client) => [client.call("S.m", { A: 1 }, OPTIONS)],
    });
  },
  decoder: ({ value, random }) => {
    const decode = () => random.oneIn(4) ? fail(value) : value;
    const plain = { name: "fuzz", encode: text, decode: parse };
    const bad = { ...plain, decode };
    const server = random.oneIn(2);
    return serves((params) => (void params, { A: 1 }), {
      server: { serializer: server ? bad : plain },
      client: { serializer: server ? plain : bad },
      calls: (client) => [client.call("S.m", { A: 1 }, OPTIONS)],
      hangs: true,
      raw: true,
    });
  },
  credentials: ({ value }) => ({
    client: { credentials: value as Uint8Array },
    refused: true,
    wrecks: true,
  }),
  authorize: ({ value, random }) => ({
    server: { authorize: random.oneIn(2) ? () => fail(value) : () => value },
    wrecks: true,
  }),
};

/** Places of a client that reconnects. */
const RECONNECTING: Record<string, Place> = {
  dial: ({ value, random }) => ({
    ...calls(ARG, OPTIONS),
    dial: random.pick<() => unknown>([
      () => value,
      () => fail(value),
      () => Promise.reject(value),
      () => ({ readable: value, writable: value }),
    ]) as Dial,
    reconnecting: {},
    wrecks: true,
  }),
  credentialsSource: ({ value, random }) => ({
    ...calls(ARG, OPTIONS),
    reconnecting: {
      credentials: () => random.oneIn(3) ? fail(value) : value as string,
    },
    wrecks: true,
  }),
  onStateChange: (ground) => ({
    ...calls(ARG, OPTIONS),
    reconnecting: { onStateChange: hook(ground) },
  }),
  away: ({ value }) => ({
    calls: (client) => {
      const call = client.call("S.take", value, OPTIONS);
      const controller = new AbortController();
      const { signal } = controller;
      const other = client.call("S.take", ARG, { ...OPTIONS, signal });
      controller.abort(value);
      return [call, other];
    },
    dial: () => new Promise(() => {}),
    reconnecting: {},
    raw: true,
    wrecks: true,
    takes: "direct",
  }),
};

const ALL: Record<string, Place> = { ...PLACES, ...NATIVE, ...RECONNECTING };

const text = (value: unknown) =>
  new TextEncoder().encode(JSON.stringify(value));
const parse = (bytes: Uint8Array) =>
  JSON.parse(new TextDecoder().decode(bytes));

/** Gives memory away that the library may still have to write. */
function spoil(bytes: ArrayBufferView): void {
  try {
    const buffer = bytes.buffer as ArrayBuffer;
    structuredClone(buffer, { transfer: [buffer] });
  } catch {
    // It is gone already, or cannot be.
  }
}

/** Reads some of it. */
async function drain(items: AsyncIterable<unknown>): Promise<void> {
  let left = 3;
  for await (const _ of items) if (--left === 0) return;
}

async function taken(value: unknown): Promise<unknown> {
  let stream = false;
  try {
    stream = value instanceof ReadableStream && !value.locked;
  } catch {
    return "looked at";
  }
  if (stream) await drain(value as ReadableStream);
  return "taken";
}

/** The services of every case. */
const HONEST = {
  ok: () => "fine",
  take: (params: unknown) => taken(params),
  hang: (_: unknown, ctx: CallContext) =>
    new Promise((_resolve, reject) => {
      const end = () => reject(ctx.signal.reason);
      if (ctx.signal.aborted) end();
      else ctx.signal.addEventListener("abort", end);
    }),
  many: async function* () {
    for (let i = 0;; i++) yield i;
  },
};

/** A case, and what it is, for a report. */
export class ValueCase {
  readonly seed: number;
  readonly name: string;
  readonly #ground: Ground;
  readonly #plan: Plan;
  /** Set if it is a client that reconnects, though it need not be. */
  readonly #again: ReconnectingClientOptions | undefined;

  constructor(seed: number) {
    const random = new Random(seed);
    const made = new Made();
    const wire: WireName = random.oneIn(2)
      ? "native"
      : random.pick(Object.keys(WIRES) as WireName[]);
    const places = wire === "native" ? ALL : PLACES;
    const place = random.pick(Object.keys(places));
    const value = hostile(random, made);
    const clock = new TestClock(1);
    this.#ground = { random, made, value, wire, clock };
    this.seed = seed;
    this.name = `${wire} ${place} ${made.kinds.join(" ")}`;
    this.#plan = places[place](this.#ground);
    this.#again = random.oneIn(4) ? {} : undefined;
  }

  /** @throws If something is wrong. */
  async run(): Promise<void> {
    const { wire, clock, made } = this.#ground;
    const plan = this.#plan;
    const ends = this.#connect();
    if (ends === undefined) return;
    const { client, server, connections, errors } = ends;
    const settled: Settled[] = [];
    for (const call of this.#calls(client)) {
      watch(call, settled);
    }
    await this.#until(() => settled.every(({ how }) => how !== undefined));
    for (const { how, reason } of settled) {
      if (how === undefined) {
        if (plan.hangs && made.never) continue;
        throw new Error("a call did not settle");
      }
      if (how === "rejected" && !plan.raw) {
        judge(reason, plan.server?.onError ? 1 : errors.length);
      }
    }
    if (!plan.wrecks) await this.#goesOn(client);
    if (client.connection !== undefined) connections.push(client.connection);
    const closing = Promise.all([client.close(), server.close()]);
    let closed = false;
    closing.then(() => closed = true);
    await this.#until(() => closed);
    if (!closed) throw new Error("the ends did not close");
    await settle(2);
    for (const connection of connections) {
      assertNothingLeft(connection);
      const { running } = connection.stats();
      if (running > 0 && !made.never) {
        throw new Error(`${running} handlers run on ${wire}`);
      }
    }
    if (clock.timers > 0) throw new Error(`${clock.timers} timers are left`);
    await this.#released();
  }

  #connect() {
    const { wire, clock } = this.#ground;
    const { methods = {}, server: serving, client: calling } = this.#plan;
    const { refused, reconnecting = this.#again } = this.#plan;
    const protocol = WIRES[wire] as Protocol<"json"> | undefined;
    const connections: Connection[] = [];
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    const common = { clock, protocol };
    try {
      const S = { ...HONEST, ...methods };
      const services: object = { S };
      const server = new Server<object>(services, {
        ...common,
        onError,
        ...serving,
      });
      const dial = () => {
        const [near, far] = memoryPair();
        connections.push(server.accept(far));
        return near;
      };
      const options = { ...common, ...calling, ...reconnecting };
      const client: AnyClient = reconnecting === undefined
        ? new Client(dial(), options as ClientOptions)
        : new ReconnectingClient(this.#plan.dial ?? dial, options) as never;
      return { client, server, connections, errors };
    } catch (error) {
      if (refused) return undefined;
      throw new Error("could not connect", { cause: error });
    }
  }

  #calls(client: AnyClient): unknown[] {
    const made = this.#plan.calls?.(client) ?? [];
    const calls = made as { then?: unknown }[];
    return calls.map((call) =>
      // A result that is a stream is read.
      (call as Promise<unknown>).then(taken)
    );
  }

  async #goesOn(client: AnyClient): Promise<void> {
    const settled: Settled[] = [];
    const { wire } = this.#ground;
    // Of no kind that a serializer, or a schema, has a say in.
    watch(client.call("S.ok", wire === "native" ? "" : ARG, OPTIONS), settled);
    await this.#until(() => settled[0].how !== undefined);
    const [{ how, reason }] = settled;
    if (how !== "fulfilled") {
      throw new Error("the connection does not go on", { cause: reason });
    }
  }

  /** Lets everything settle, first without time and then with it. */
  async #until(done: () => boolean): Promise<void> {
    const { clock } = this.#ground;
    for (let i = 0; i < 8 && !done(); i++) await settle(1);
    for (let i = 0; i < 4 && !done(); i++) await clock.advance(6000);
    for (let i = 0; i < 4 && !done(); i++) await settle(4);
  }

  async #released(): Promise<void> {
    const { made } = this.#ground;
    const { takes } = this.#plan;
    const stream = made.streams.at(-1);
    if (takes === undefined || stream === undefined || made.never) return;
    const kinds = [...made.kinds];
    if (takes === "awaited") {
      while (kinds[0] === "promised" || kinds[0] === "thenable") kinds.shift();
    }
    // The outermost is the one that was made last.
    if (!(kinds[0] in STREAMS) || !RELEASED.has(kinds[0])) return;
    const fault = await stream();
    if (fault !== undefined) throw new Error(fault);
  }
}

/** Streams that say whether they were released. */
const RELEASED = new Set(
  ["generator", "endless", "throwing", "readable", "node"],
);

interface Settled {
  how: "fulfilled" | "rejected" | undefined;
  reason: unknown;
}

function watch(call: unknown, into: Settled[]): void {
  const entry: Settled = { how: undefined, reason: undefined };
  into.push(entry);
  (call as Promise<unknown>).then(
    () => entry.how = "fulfilled",
    (reason) => {
      entry.how = "rejected";
      entry.reason = reason;
    },
  );
}

/** What a call of an honest caller may reject with. */
function judge(reason: unknown, reported: number): void {
  let own = false;
  try {
    own = reason instanceof RpcError;
  } catch {
    // It is none.
  }
  if (!own) throw new Error("rejected with no RpcError", { cause: reason });
  const { code, outcome } = reason as RpcError;
  if (code === "internal" && outcome === "executed" && reported === 0) {
    throw new Error("onError was not called", { cause: reason });
  }
}

/** The text of a fault, which may be hostile itself. */
export function reportOf(fault: unknown): string {
  try {
    const { stack, cause } = fault as { stack?: unknown; cause?: unknown };
    return `${stack ?? fault}${cause === undefined ? "" : `\n${cause}`}`;
  } catch {
    return "a value that cannot be printed";
  }
}
