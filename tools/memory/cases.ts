/**
 * What a peer can send to take a server's memory, and what it may take.
 *
 * The ids are those of the rows of `docs/faults.md`. (X17 is about work, not
 * memory: its tests count it.)
 *
 * @module
 */

import type { ServerOptions } from "../../mod.ts";

/** The limits that the server under attack is given; what is not here is the default. */
export const LIMITS = {
  maxTotalBuffered: 64 * 1024 * 1024,
  keepaliveTime: Infinity,
  handshakeTimeout: 600_000,
} satisfies ServerOptions;

const MiB = 1024 * 1024;

/** What a server may hold by itself: code that has been compiled, types that have been seen. */
const BASE = 16 * MiB;

/** What an open connection may hold by itself: 64 KiB that its transport buffers each way, and its tables. */
const CONNECTION = 160 * 1024;

/** One of them. */
export interface Case {
  readonly id: string;
  readonly title: string;
  /** The wire; the native one unless it is named. */
  readonly wire?: "gob";
  /** Connections of the attack. */
  readonly connections: number;
  /** Beyond {@linkcode LIMITS}. */
  readonly options?: ServerOptions;
  /** Whether the server lets nobody in, nor turns anybody away. */
  readonly undecided?: boolean;
  /** Whether what counts is what is held in the end; else it is the most that was held at any time. */
  readonly idle?: boolean;
  /** How many bytes the server may hold for it, garbage left out. */
  readonly bound: number;
}

/** Of whatever counts towards `maxTotalBuffered`: twice that, as some of it is counted about. */
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
    // 16 MiB, the window, of each.
    bound: 8 * (2 * 16 * MiB + CONNECTION) + BASE,
  },
  {
    id: "X14 early",
    title: "the same before the verdict of `authorize`",
    connections: 500,
    undecided: true,
    // 64 KiB, as much as may come before the verdict, of each.
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
