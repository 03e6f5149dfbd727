/**
 * Faulty transports: a pair of duplexes, or any duplex wrapped, whose two
 * directions are {@linkcode FaultLine}s.
 *
 * As with a socket, `writable.abort()` destroys both directions, and the peer
 * sees the error after the bytes that were delivered. A stalled direction does
 * not even pass on the error, as if the peer had vanished.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import { checkDuplex } from "../transport/duplex.ts";
import { nativeDuplex } from "../transport/native_duplex.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import {
  FaultLine,
  type FaultyDirection,
  type FaultyDirectionOptions,
  type LineOptions,
} from "./fault_line.ts";

/** How the two directions of a faulty transport behave. */
export interface FaultyOptions {
  /** The direction that `near` writes, or the user of a wrapped duplex. Default: no faults. */
  readonly out?: FaultyDirectionOptions | undefined;
  /** The direction that `near` reads, or the user of a wrapped duplex. Default: no faults. */
  readonly back?: FaultyDirectionOptions | undefined;
}

/** Two connected duplexes with faults between them. */
export interface FaultyPair {
  /** One side, such as for a client. */
  readonly near: Duplex;
  /** The other side, such as for a server. */
  readonly far: Duplex;
  /** What `near` writes and `far` reads. */
  readonly out: FaultyDirection;
  /** What `far` writes and `near` reads. */
  readonly back: FaultyDirection;
  /** Loses both directions at once, for both sides. Does nothing once they have ended. */
  readonly reset: () => void;
}

/** A duplex with faults between its user and the duplex that it wraps. */
export interface FaultyDuplex {
  /** For the user, in place of the wrapped one. */
  readonly duplex: Duplex & DuplexInfo;
  /** What the user writes. */
  readonly out: FaultyDirection;
  /** What the user reads. */
  readonly back: FaultyDirection;
  /** Loses both directions at once, for both sides. Does nothing once they have ended. */
  readonly reset: () => void;
}

/**
 * Creates two connected duplexes, as `memoryPair` does, with faults between
 * them. The faults happen at exact bytes, so a test can put one at every byte of
 * an exchange.
 *
 * A `cut` ends one direction as a peer does that closes its socket; a `reset`
 * fails both with a `ConnectionError` `unavailable`. Without `chunks` it uses no
 * timers and no randomness.
 *
 * @throws {RangeError} If a number of the options is out of range.
 * @throws {TypeError} If the kind of a fault is unknown.
 *
 * @example Whatever the byte, a call that is lost has run at most once, and its outcome says whether it may have
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { Client, Server } from "@sluice/rpc";
 * import { faultyPair } from "@sluice/rpc/testing";
 *
 * let runs = 0;
 * const services = { Account: { deposit: () => ++runs } };
 * const outcomes = new Set<string>();
 * for (let at = 0; ; at++) {
 *   runs = 0;
 *   const { near, far } = faultyPair({ back: { faults: [{ kind: "cut", at }] } });
 *   const server = new Server(services, { onError: () => {} });
 *   server.accept(far);
 *   const client = new Client<typeof services>(near);
 *   const call = client.go("Account.deposit");
 *   const outcome = await call.settled;
 *   outcomes.add(outcome);
 *   if (outcome === "executed") assertEquals(runs, 1);
 *   else assert(outcome === "unknown" || runs === 0);
 *   await client.abort();
 *   await server.close();
 *   if (outcome === "executed") break; // The reply came before the cut.
 * }
 * assertEquals([...outcomes], ["unknown", "executed"]);
 * ```
 */
export function faultyPair(options: FaultyOptions = {}): FaultyPair {
  return linkedLines(options);
}

/**
 * Puts faults between a duplex and its user: pass the `duplex` of the result to a
 * client or a server in place of the one that it wraps. `out` is what the user
 * writes, and `back` what the user reads.
 *
 * It takes over both streams of `inner`. What `inner` knows (its addresses, a
 * certificate, `ref` and `unref`) holds for the result, too. Adapt a `Deno.Conn`
 * with `toDuplex` first.
 *
 * @throws {RangeError} If a number of the options is out of range.
 * @throws {TypeError} If the kind of a fault is unknown, if `inner` is no duplex, or if one of its streams is locked.
 *
 * @example A TCP connection that stalls
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, connect, listen, Server } from "@sluice/rpc";
 * import { faulty } from "@sluice/rpc/testing";
 *
 * const services = { Clock: { now: () => 12 } };
 * const server = new Server(services);
 * const listener = await listen("tcp://127.0.0.1:0");
 * server.serve(listener);
 *
 * const { duplex, back, reset } = faulty(await connect(listener.url));
 * const client = new Client<typeof services>(duplex);
 * assertEquals(await client.call("Clock.now"), 12);
 * back.stall();
 * const call = client.go("Clock.now", undefined, { timeout: 20 });
 * assertEquals((await call.reply.catch((error) => error)).code, "deadline_exceeded");
 * reset();
 * await Promise.all([client.close(), server.close()]);
 * ```
 */
export function faulty(
  inner: Duplex,
  options: FaultyOptions = {},
): FaultyDuplex {
  return wrap(inner, options);
}

/** A wrapped duplex with all that its lines can do. */
export interface WrappedDuplex extends FaultyDuplex {
  readonly out: FaultLine;
  readonly back: FaultLine;
}

/** Puts lines between a duplex and its user. */
export function wrap(inner: Duplex, options: FaultyOptions): WrappedDuplex {
  const { near, far, out, back, reset } = linkedLines(
    options,
    infoOf(checkDuplex(inner)),
  );
  // Ends and failures travel through the pipes.
  far.readable.pipeTo(inner.writable).catch(ignore);
  inner.readable.pipeTo(far.writable).catch(ignore);
  return { duplex: near, out, back, reset };
}

/** A faulty pair with all that its lines can do, for the library's own tests. */
export interface LinkedLines extends FaultyPair {
  readonly out: FaultLine;
  readonly back: FaultLine;
}

/** Makes two connected duplexes, of which the near one knows what `info` has. */
export function linkedLines(
  options: { out?: LineOptions | undefined; back?: LineOptions | undefined } =
    {},
  info: DuplexInfo = {},
): LinkedLines {
  const reset = () => {
    const reason = new ConnectionError("unavailable", "reset on the way");
    for (const line of [out, back]) {
      // This comes first; otherwise the waiting write would succeed although its bytes are dropped.
      line.fail(reason);
      line.drop(reason);
    }
  };
  /** The side that writes `own` and reads `other` has aborted. */
  const destroy = (own: FaultLine, other: FaultLine, reason: unknown) => {
    const gone = new ConnectionError("unavailable", "reset by the peer");
    // If the line is stalled, the writes of the peer must not fail either.
    if (!own.stalled) other.fail(gone);
    other.drop(reason);
    own.fail(reason);
    own.lose(gone);
  };
  const out: FaultLine = new FaultLine(options.out ?? {}, {
    reset,
    aborted: (reason) => destroy(out, back, reason),
  });
  const back: FaultLine = new FaultLine(options.back ?? {}, {
    reset,
    aborted: (reason) => destroy(back, out, reason),
  });
  return {
    near: nativeDuplex(back.reader, out, info),
    far: nativeDuplex(out.reader, back, {}),
    out,
    back,
    reset,
  };
}

/** What a duplex knows, as a wrapper of it hands it on. */
function infoOf(inner: DuplexInfo): DuplexInfo {
  const { remote, local, certificate, request, childOutput } = inner;
  // Called on the wrapped duplex, whose transport they are for.
  const refs = {
    ref: () => inner.ref?.(),
    unref: () => inner.unref?.(),
  };
  return { remote, local, certificate, request, childOutput, ...refs };
}

function ignore(): void {}
