/**
 * The types of the Go program `tests/interop/go/zoo`, and values of them made from
 * a seed, as that program makes them.
 *
 * @module
 */

import {
  any,
  array,
  bool,
  bytes,
  Complex,
  complex,
  float,
  type GobType,
  goMethod,
  int,
  int64,
  lazy,
  map,
  opaque,
  optional,
  Registered,
  slice,
  string,
  struct,
  time,
  uint,
  uint64,
  type ValueOf,
} from "../../netrpc.ts";

export const Point = struct({ X: int, Y: int }, "Point");

export interface Node {
  Value: number;
  Next: Node | null;
  Kids: Node[];
}

export const Node: GobType<Node> = struct({
  Value: int,
  Next: optional(lazy((): GobType<Node> => Node)),
  Kids: slice(lazy((): GobType<Node> => Node)),
}, "Node");

export const Wrapped = struct({ Inner: any }, "Wrapped");

export const Maybe = struct({
  Point: optional(Point),
  Number: optional(int),
  Name: string,
}, "Maybe");

export const All = struct({
  Bool: bool,
  Int: int64,
  Int8: int,
  Int16: int,
  Int32: int,
  Int64: int64,
  Uint: uint64,
  Uint8: uint,
  Uint16: uint,
  Uint32: uint,
  Uint64: uint64,
  Float32: float,
  Float64: float,
  Celsius: float,
  Complex64: complex,
  Complex128: complex,
  String: string,
  Bytes: bytes,
  Ints: slice(int),
  Big: slice(int64),
  Strings: slice(string),
  Floats: slice(float),
  Bools: slice(bool),
  Blobs: slice(bytes),
  Array: array(int, 3),
  Hash: array(uint, 4),
  Grid: slice(slice(int)),
  Map: map(string, int),
  ByNumber: map(int64, string),
  Deep: map(string, map(string, Point)),
  Point: Point,
  Pointer: optional(Point),
  Number: optional(int),
  Points: slice(Point),
  Node: optional(Node),
  Any: any,
  Anys: slice(any),
  Time: time,
  Secret: opaque("Secret"),
  Packed: opaque("Packed", "binary"),
  // It embeds a time.Time, and makes its bytes.
  Stamp: time,
  Boxed: opaque("Boxed", "binary"),
}, "All");

export type All = ValueOf<typeof All>;

export const registered = {
  "zoo.Point": Point,
  "zoo.Wrapped": Wrapped,
  "zoo.Map": map(string, int),
  "zoo.Time": time,
  "zoo.Anys": slice(any),
  "zoo.Maybe": Maybe,
};

const Args = struct({ A: int, B: int }, "Args");
const Quotient = struct({ Quo: int, Rem: int }, "Quotient");
const Nothing = struct({});

export const methods = {
  Arith: {
    Multiply: goMethod(Args, int),
    Divide: goMethod(Args, Quotient),
    Sum: goMethod(slice(float), float),
    Count: goMethod(slice(string), map(string, int)),
    Describe: goMethod(map(string, Point), string),
    Nothing: goMethod(Nothing, Nothing),
    Fail: goMethod(string, string),
  },
  Zoo: {
    Echo: goMethod(All, All),
    Any: goMethod(Wrapped, Wrapped),
    Generate: goMethod(int, All),
    Check: goMethod(struct({ Seed: int, Value: All }, "Seeded"), string),
  },
};

/** A small generator (mulberry32) of numbers from 0 to 1. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws random values. */
class Draw {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = random(seed);
  }

  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  flag(): boolean {
    return this.below(2) === 0;
  }

  list<T>(most: number, item: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, item);
  }

  /** Any 64 bits, often a small value or a bound. */
  wide(): bigint {
    const any = BigInt(this.below(2 ** 32)) << 32n |
      BigInt(this.below(2 ** 32));
    const picks = [0n, 2n ** 64n - 1n, 2n ** 63n, 2n ** 53n, 1n, any];
    return picks[this.below(picks.length)] >> BigInt(this.below(2) * 13);
  }

  signed(): bigint {
    return BigInt.asIntN(64, this.wide());
  }

  real(): number {
    const some = (this.#random() - 0.5) * 10 ** (this.below(600) - 300);
    // Gob leaves out a field that is -0, as it does one that is 0.
    const picks = [0, this.below(1000), Infinity, -Infinity, some, some];
    return picks[this.below(picks.length)] + 0;
  }

  text(): string {
    const letters = [...'abcXYZ 019é世\u{1f600}\n"\0'];
    const text = this.list(40, () => letters[this.below(letters.length)]);
    return text.join("");
  }

  blob(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.list(50, () => this.below(256)));
  }

  point(): ValueOf<typeof Point> {
    return { X: this.below(3), Y: -this.below(100) + 0 };
  }

  date(): Date {
    return new Date(this.below(2 ** 32) * 1000 + this.below(1000));
  }

  node(depth: number): Node | null {
    if (depth === 0 || this.below(4) === 0) return null;
    const kids = this.list(2, () => this.node(depth - 1));
    return {
      Value: this.below(100) - 50,
      Next: this.node(depth - 1),
      Kids: kids.filter((kid) => kid !== null),
    };
  }

  maybe(): ValueOf<typeof Maybe> {
    return {
      Point: this.flag() ? this.point() : null,
      Number: this.flag() ? 1 + this.below(100) : null,
      Name: this.text(),
    };
  }

  anything(depth: number): unknown {
    const inner = () => this.anything(depth - 1);
    const picks: (() => unknown)[] = [
      () => null,
      () => this.below(1000) - 500,
      () => this.signed(),
      () => this.#random(),
      () => this.text(),
      () => this.flag(),
      () => this.blob(),
      () => [this.text(), this.text()],
      () => new Complex(this.#random(), -1.5),
      () => new Registered("zoo.Point", this.point()),
      () => new Registered("zoo.Map", new Map([[this.text(), 1]])),
      () => new Registered("zoo.Time", this.date()),
      () => new Registered("zoo.Maybe", this.maybe()),
      () => new Registered("zoo.Anys", [inner(), inner()]),
      () => new Registered("zoo.Wrapped", { Inner: inner() }),
    ];
    const value = picks[this.below(depth > 0 ? picks.length : 13)]();
    // A decoder makes it a number again, where a number is exact.
    return typeof value === "bigint" && BigInt(Number(value)) === value &&
        Number.isSafeInteger(Number(value))
      ? Number(value)
      : value;
  }
}

/** The value of a seed. */
export function generate(seed: number): All {
  const draw = new Draw(seed);
  const small = () => draw.below(200) - 100;
  return {
    Bool: draw.flag(),
    Int: draw.signed(),
    Int8: draw.below(256) - 128,
    Int16: draw.below(65536) - 32768,
    Int32: draw.below(2 ** 32) - 2 ** 31,
    Int64: draw.signed(),
    Uint: draw.wide(),
    Uint8: draw.below(256),
    Uint16: draw.below(65536),
    Uint32: draw.below(2 ** 32),
    Uint64: draw.wide(),
    Float32: Math.fround(draw.below(1000) / 7),
    Float64: draw.real(),
    Celsius: draw.real(),
    Complex64: new Complex(Math.fround(draw.below(100) / 3), 0.5),
    Complex128: new Complex(draw.real(), draw.real()),
    String: draw.text(),
    Bytes: draw.blob(),
    Ints: draw.list(20, small),
    Big: draw.list(20, () => draw.signed()),
    Strings: draw.list(20, () => draw.text()),
    Floats: draw.list(20, () => draw.real()),
    Bools: draw.list(20, () => draw.flag()),
    Blobs: draw.list(20, () => draw.blob()),
    Array: [small(), 0, small()],
    Hash: [1, 0, draw.below(256), 255],
    Grid: draw.list(5, () => draw.list(5, small)),
    Map: new Map(draw.list(20, () => [draw.text(), small()])),
    ByNumber: new Map(draw.list(20, () => [draw.signed(), draw.text()])),
    Deep: new Map(
      draw.list(3, () => [draw.text(), new Map([["p", draw.point()]])]),
    ),
    Point: draw.point(),
    Pointer: draw.flag() ? draw.point() : null,
    Number: draw.flag() ? 1 + draw.below(100) : null,
    Points: draw.list(20, () => draw.point()),
    Node: draw.node(5),
    Any: draw.anything(3),
    Anys: draw.list(10, () => draw.anything(2)),
    Time: draw.date(),
    Secret: draw.blob(),
    Packed: draw.blob(),
    Stamp: draw.date(),
    Boxed: draw.blob(),
  };
}
