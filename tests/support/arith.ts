/** The services of `tests/interop/go/zoo` that only calculate. */

import { RpcError } from "../../mod.ts";

interface Args {
  A: number;
  B: number;
}

/** Over JSON a map is an object, over gob a `Map`. */
type Points = Map<string, { X: number; Y: number }> | {
  [name: string]: { X: number; Y: number };
};

/** Makes them; `asMap` gives a map the form that the wire wants. */
export function arith(asMap: (counts: Map<string, number>) => unknown) {
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
  };
}
