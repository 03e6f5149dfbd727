/**
 * One end of a WebSocket is slow, and honest: what both ends hold meanwhile, and
 * the bound of each.
 *
 * @module
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Streams of a case. */
export const STREAMS = 16;

/** Calls of a case whose client stands still, as many as its window has room for beside the streams, and bytes of each reply: together just below `maxSendBuffer`. */
export const CALLS = 4000;
export const REPLY = 16 * KiB;

/** Bytes that an end may hold for itself: compiled code, a connection's tables. */
const BASE = 16 * MiB;

/** Bytes in the socket: `MAX_BUFFERED` of `message_transport.ts`, and a message. */
const SOCKET = 384 * KiB;

/** Bytes of incoming streams: `connectionCredit`. */
const UNREAD = 16 * MiB;

/** `highWaterMark` */
const UNSENT = 1 * MiB;

/** `maxSendBuffer`, and a third more: a segment of 64 KiB has room for three such replies with their headers, and not for four. */
const SEND_BUFFER = 64 * MiB * 4 / 3;

/** Which end is measured. */
export type Side = "client" | "server";

/** A case. */
export interface SlowCase {
  readonly id: string;
  readonly title: string;
  /** How many bytes each end may hold for it, without garbage. */
  readonly bounds: Readonly<Record<Side, number>>;
}

/** All cases. */
export const SLOW_CASES = [
  {
    id: "slow page",
    title: "16 streams whose readers pause",
    bounds: { client: UNREAD + SOCKET + BASE, server: UNSENT + SOCKET + BASE },
  },
  {
    id: "slow server",
    title: "16 uploads that their handlers do not read",
    bounds: { client: UNSENT + SOCKET + BASE, server: UNREAD + SOCKET + BASE },
  },
  {
    id: "blocked page",
    title:
      "4,000 replies of 16 KiB and 16 streams for a client that stands still",
    bounds: {
      // All replies may wait in the kernel and the socket when it goes on.
      client: CALLS * REPLY + UNREAD + SOCKET + BASE,
      server: SEND_BUFFER + SOCKET + BASE,
    },
  },
] as const satisfies readonly SlowCase[];

/** The id of a case. */
export type SlowId = typeof SLOW_CASES[number]["id"];
