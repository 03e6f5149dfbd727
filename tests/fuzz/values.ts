/**
 * Values that no honest code passes, made from a seed: values that throw when they
 * are read, lie, call back twice, or whose memory is detached.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import vm from "node:vm";
import { RpcError } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import { STREAMS } from "./value_streams.ts";

/** What is kept of the values of one case. */
export class Made {
  /** Whether one of them may never settle. */
  never = false;
  /** Says of each stream that was made, once all is over, what is wrong with it. */
  readonly streams: (() => Promise<string | undefined>)[] = [];
  /** Their kinds, for a report. */
  readonly kinds: string[] = [];
}

/** Makes a value of one kind. */
export type Make = (random: Random, made: Made) => unknown;

const mine = () => new Error("made by the fuzzer");
const fail = (): never => {
  throw mine();
};

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** Throws from one trap, and is a plain object otherwise. */
function trapped(trap: string, target: object): object {
  return new Proxy(target, { [trap]: fail });
}

const TRAPS = ["get", "has", "getPrototypeOf", "ownKeys"].concat(
  "getOwnPropertyDescriptor",
);

const targets = (): object[] => [
  {},
  [],
  () => {},
  new Uint8Array(3),
  Promise.resolve(1),
  new Map([[1, 2]]),
  new Error("target"),
  new RpcError("own", "target", { data: 1 }),
  new ReadableStream({ start: (controller) => controller.close() }),
  new AbortController().signal,
];

function detached(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** A view of a buffer that shrinks to nothing, or below it. */
function shrunk(tracking: boolean): Uint8Array {
  const Resizable = ArrayBuffer as unknown as new (
    size: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize?: (size: number) => void };
  const buffer = new Resizable(64, { maxByteLength: 128 });
  const bytes = tracking
    ? new Uint8Array(buffer, 8)
    : new Uint8Array(buffer, 8, 32);
  buffer.resize?.(4);
  return bytes;
}

class Liar extends Uint8Array {
  override get length(): number {
    return 2 ** 40;
  }
  override get byteLength(): number {
    return fail();
  }
  override subarray(): never {
    return fail();
  }
  override slice(): never {
    return fail();
  }
  static get [Symbol.species](): never {
    return fail();
  }
}

class Mine extends Buffer {}

class Late<T> extends Promise<T> {}

function foreign(code: string): unknown {
  return vm.runInNewContext(code);
}

/** A `then` that is something else each time it is read. */
function fickle(...values: unknown[]): object {
  let at = 0;
  return {
    get then(): unknown {
      const value = values[Math.min(at++, values.length - 1)];
      return value === fail ? fail() : value;
    },
  };
}

type Settle = (value: unknown) => void;

function tampered(name: string, value: unknown): Promise<number> {
  const promise = Promise.resolve(1);
  const get = () => value === fail ? fail() : value;
  return Object.defineProperty(promise, name, { get });
}

function cycle(): object {
  const me: Record<string, unknown> = { list: [] };
  (me.list as unknown[]).push({ me });
  return me;
}

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { value };
  return value;
}

/** A rejected promise whose rejection is its maker's. */
function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason);
  promise.catch(() => {});
  return promise;
}

/** Kinds that are not made of others. */
const KINDS: Record<string, Make> = {
  plain: (r) => r.pick([null, 0, -0, NaN, "", "text", true, undefined]),
  json: () => ({ a: [1, { b: "c" }], d: null }),
  revoked: (r) => revoked(r.pick(targets())),
  trapped: (r) => trapped(r.pick(TRAPS), r.pick(targets())),
  proxy: (r) => new Proxy(r.pick(targets()), {}),
  getter: () => ({
    get a() {
      return fail();
    },
  }),
  toJSON: (r) => ({
    toJSON: r.pick([fail, () => undefined, () => fail, () => 1n, cycle, 5]),
  }),
  toString: () => ({ toString: fail, [Symbol.toPrimitive]: fail }),
  tag: () => ({
    get [Symbol.toStringTag]() {
      return fail();
    },
  }),
  length: (r) =>
    new Proxy([1, 2], {
      get: (target, key) =>
        key === "length"
          ? r.pick([-1, NaN, 3, "7", {}])
          : Reflect.get(target, key),
    }),
  detached: (r) => detached(r.pick([0, 1, 100, 70_000])),
  shrunk: (r) => shrunk(r.oneIn(2)),
  shared: () => new Uint8Array(new SharedArrayBuffer(8)),
  liar: () => new Liar(5),
  ownLength: (r) =>
    Object.defineProperty(new Uint8Array(4), r.pick(["length", "buffer"]), {
      get: fail,
    }),
  buffer: (r) => r.pick([Buffer.from("abc"), Buffer.alloc(20_000)]),
  subclass: () => Reflect.construct(Uint8Array, [3], Mine),
  foreignBytes: () => foreign("new Uint8Array([1, 2, 3])"),
  foreign: (r) =>
    foreign(
      r.pick([
        "({ a: [1] })",
        "new Map([[1, 2]])",
        "new Error('foreign')",
        "Promise.resolve(1)",
        "new Proxy({}, { get() { throw 1 } })",
        "(function* () { yield 1 })()",
        "(async function* () { yield 1 })()",
        "(() => { const p = Promise.reject(1); p.catch(() => {}); return p })()",
      ]),
    ),
  view: (r) =>
    r.pick([
      new DataView(new ArrayBuffer(4)),
      new Uint16Array(3),
      new Float64Array(2),
      new Uint8ClampedArray(2),
      new ArrayBuffer(3),
      new SharedArrayBuffer(3),
    ]),
  holder: (r) =>
    r.pick<() => unknown>([
      () => new Map([[{}, 1]]),
      () => new Set([1]),
      () => new WeakMap(),
      () => new Error("held"),
      () => Object.assign(new Error("held"), { extra: cycle() }),
      () => new Blob(["x"]),
      () => /x/,
      () => new Date(NaN),
      () => new URL("data:,x"),
      () => Symbol("s"),
      () => fail,
      () => async () => {},
      () => class {},
      () => 1n,
      () => Object(1n),
      () => Object(Symbol("s")),
      () => new AbortController(),
      () =>
        (function* () {
          yield 1;
        })(),
    ])(),
  cycle,
  deep: (r) => deep(r.pick([10, 300, 20_000])),
  error: (r) => {
    const error = new RpcError("own", "text", { data: cycle() });
    const name = r.pick(["code", "message", "data", "name", "stack", "cause"]);
    return r.oneIn(2)
      ? error
      : Object.defineProperty(error, name, { get: fail });
  },
  fickle: (r, made) => {
    made.never = true;
    return fickle(
      ...r.pick([[fail], [() => {}, fail], [() => {}, 5], [5, fail]]),
    );
  },
  twice: () => ({
    then(kept: Settle, broken: Settle) {
      kept(1);
      kept(2);
      broken(mine());
      throw mine();
    },
  }),
  thenThrows: () => ({ then: fail }),
  thenNever: (_, made) => {
    made.never = true;
    return { then() {} };
  },
  late: () => Late.resolve(1),
  tampered: (r, made) => {
    made.never = true;
    return tampered(
      r.pick(["then", "constructor"]),
      r.pick([fail, 5, () => {}, Late, null]),
    );
  },
};

/** Kinds that hold others. */
const BOXES: Record<string, Make> = {
  inObject: (r, made) => ({ a: { b: hostile(r, made) } }),
  inArray: (r, made) => [1, [hostile(r, made)]],
  promised: async (r, made) => await hostile(r, made),
  rejects: (r, made) => rejected(hostile(r, made)),
  thenable: (r, made) => {
    const value = hostile(r, made);
    return { then: (kept: Settle) => kept(value) };
  },
  data: (r, made) => new RpcError("own", "text", { data: hostile(r, made) }),
};

/** Makes one up. */
export function hostile(random: Random, made: Made, depth = 0): unknown {
  const kinds = random.below(10);
  const table = kinds < 3 ? STREAMS : kinds < 5 && depth < 2 ? BOXES : KINDS;
  const kind = random.pick(Object.keys(table));
  made.kinds.push(kind);
  const value = table[kind](random, made);
  // The fuzzer's own promises are not the library's to handle.
  if (kind === "promised") (value as Promise<unknown>).catch(() => {});
  return value;
}
