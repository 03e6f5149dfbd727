/** The services of the Go program `zoo` that only calculate, in TypeScript. */

import { RpcError } from "../../mod.ts";

interface Args {
  A: number;
  B: number;
}

/** Over JSON a map is an object, over gob a `Map`. */
type Points = Map<string, { X: number; Y: number }> | {
  [name: string]: { X: number; Y: number };
};

/** A figure whose points leave out members in different ways: no point has the same members as the one before. */
export function figure(n: number): Figure {
  const points = [{ X: n }, { Y: -n, X: 0 }, { Y: 2 * n }, {}];
  const at = (i: number) => points[(n + i) % 4];
  return {
    Line: { To: at(0), From: at(1) },
    Back: { From: at(2), To: at(3) },
    Label: { Size: n, X: "x", Y: `y${n}` },
    Points: [at(1), at(3), at(0)],
    At: at(2),
    ByName: new Map([["a", at(0)], ["b", at(1)]]),
  };
}

interface Dot {
  X?: number;
  Y?: number;
}

/** Go's `zoo.Figure`. */
export interface Figure {
  Line: { From: Dot; To: Dot };
  Back: { From: Dot; To: Dot };
  Label: { Size: number; X: string; Y: string };
  Points: Dot[];
  At: Dot;
  ByName: Map<string, Dot>;
}

/** Makes the services. `asMap` gives a map the form that the protocol needs. */
export function arith(asMap: (map: Map<string, unknown>) => unknown) {
  return {
    Arith: {
      Multiply: ({ A, B }: Args) => A * B,
      Divide: ({ A, B }: Args) => {
        if (B === 0) throw new RpcError("out_of_range", "divide by zero");
        return { Quo: Math.trunc(A / B), Rem: A % B };
      },
      Sum: (numbers: number[]) => numbers.reduce((a, b) => a + b, 0),
      Count: (words: string[]) => {
        const counts = new Map<string, number>();
        for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
        return asMap(counts);
      },
      Describe: (points: Points) => {
        const entries = points instanceof Map
          ? [...points]
          : Object.entries(points);
        const [[, { X, Y }]] = entries;
        return `${entries.length} {${X} ${Y}}`;
      },
      Fail: (text: string) => {
        throw new RpcError("failed", text);
      },
      Nothing: () => undefined,
    },
    Shapes: {
      Figure: (n: number) => {
        const { ByName, ...rest } = figure(n);
        return { ByName: asMap(ByName), ...rest };
      },
    },
  };
}
