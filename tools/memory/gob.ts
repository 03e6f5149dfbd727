/**
 * The cases over Go's protocol: types, and a client that sends them.
 *
 * @module
 */

import {
  array,
  bytes,
  goMethod,
  int,
  netrpc,
  slice,
  struct,
} from "../../netrpc.ts";

const Row = struct({ Cells: array(int, 2000) }, "Row");

/** The protocol of both sides. */
export const gob = netrpc({
  methods: {
    Sink: { rows: goMethod(slice(Row), int), bytes: goMethod(bytes, int) },
  },
});

/** 2,000 structs whose only field is left out: 2 kB that decode to 2,000 zeros each. */
export const ROWS: object[] = Array.from({ length: 2000 }, () => ({}));
