/**
 * What a peer can send to fill a server's memory, and the bound of each case.
 *
 * The ids are those of the rows of `docs/faults.md`. (X17 is about work, not
 * memory: its tests count it.)
 *
 * @module
 */

import type { ServerOptions } from "../../mod.ts";

/** The limits of the server under attack. Others have their defaults. */
export const LIMITS = {
  maxTotalBuffered: 64 * 1024 * 1024,
  keepaliveTime: Infinity,
  handshakeTimeout: 600_000,
} satisfies ServerOptions;

const MiB = 1024 * 1024;

/** Bytes that a server may hold for itself: compiled code, types it has seen. */
const BASE = 16 * MiB;

/** Bytes that an open connection may hold for itself: 64 KiB in each direction of its transport, and its tables. */
const CONNECTION = 160 * 1024;

/** A case. */
export interface Case {
  readonly id: string;
  readonly title: string;
  /** The protocol; the native one if undefined. */
  readonly wire?: "gob";
  /** Connections of the attack. */
  readonly connections: number;
  /** Options of the server beside {@linkcode LIMITS}. */
  readonly options?: ServerOptions;
  /** Whether `authorize` never decides. */
  readonly undecided?: boolean;
  /** Whether the bytes held at the end count, instead of the most held at any time. */
  readonly idle?: boolean;
  /** How many bytes the server may hold for it, without garbage. */
  readonly bound: number;
}

/** The bound of what counts towards `maxTotalBuffered`: twice that limit, because some sizes are estimates. */
function buffered(connections: number): number {
  return 2 * LIMITS.maxTotalBuffered + connections * CONNECTION + BASE;
}

/** All cases. */
export const CASES: readonly Case[] = [
  {
    id: "X13",
    title: "gob: 20 calls of 2 kB, each of 2,000 structs of 2,000 zeros",
    wire: "gob",
    connections: 1,
    bound: CONNECTION + BASE,
  },
  {
    id: "X14",
    title: "metadata of 10,000 entries on calls that wait",
    connections: 8,
    options: { maxRunning: 1, maxTotalBuffered: 256 * MiB },
    // 16 MiB of each, which is the window.
    bound: 8 * (2 * 16 * MiB + CONNECTION) + BASE,
  },
  {
    id: "X14 early",
    title: "the same before `authorize` has decided",
    connections: 500,
    undecided: true,
    // 64 KiB of each, which is what may arrive before `authorize` has decided.
    bound: 500 * (2 * 64 * 1024 + CONNECTION) + BASE,
  },
  {
    id: "X15",
    title: "gob: idle connections after a message of 4 MB each",
    wire: "gob",
    connections: 20,
    idle: true,
    bound: 20 * CONNECTION + BASE,
  },
  {
    id: "X16",
    title: "300 answers of 4 MB made in one turn, and nobody reads",
    connections: 1,
    options: { maxSendBuffer: 64 * MiB },
    bound: 64 * MiB + CONNECTION + BASE,
  },
  {
    id: "X18 streams",
    title: "1,024 streams each that nobody reads",
    connections: 16,
    bound: buffered(16),
  },
  {
    id: "X18 params",
    title: "JSON of empty objects, for handlers that run on",
    connections: 16,
    bound: buffered(16),
  },
  {
    id: "X18 calls",
    title: "4,096 calls each of 24 bytes that wait",
    connections: 200,
    options: { maxRunning: 1 },
    bound: buffered(200),
  },
];

/** The case with this id. */
export function caseOf(id: string): Case {
  const found = CASES.find((each) => each.id === id);
  if (found === undefined) throw new Error(`Cannot find case ${id}`);
  return found;
}
