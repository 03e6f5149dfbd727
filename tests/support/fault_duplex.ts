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

import { ConnectionError, type Duplex } from "../../mod.ts";
import { nativeDuplex } from "../../src/transport/native_duplex.ts";
import { FaultLine, type LineOptions } from "./fault_line.ts";

/** How the two directions behave; `out` is the one that the near side writes. */
export interface FaultOptions {
  readonly out?: LineOptions;
  readonly back?: LineOptions;
}

/** Two connected duplexes, and the lines between them. */
export interface FaultPair {
  readonly near: Duplex;
  readonly far: Duplex;
  readonly out: FaultLine;
  readonly back: FaultLine;
  /** Loses both directions at once, for both sides. */
  reset(): void;
}

/** Makes two connected duplexes with faults between them. */
export function faultPair(options: FaultOptions = {}): FaultPair {
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
    near: nativeDuplex(back.reader, out, {}),
    far: nativeDuplex(out.reader, back, {}),
    out,
    back,
    reset,
  };
}

/** A duplex with faults between its user and the duplex that it wraps. */
export interface FaultDuplex extends Omit<FaultPair, "near" | "far"> {
  readonly duplex: Duplex;
}

/** Wraps `inner`; `out` is what is written to it, `back` what is read from it. */
export function faultDuplex(
  inner: Duplex,
  options: FaultOptions = {},
): FaultDuplex {
  const { near, far, ...rest } = faultPair(options);
  // Ends and failures travel through the pipes.
  far.readable.pipeTo(inner.writable).catch(ignore);
  inner.readable.pipeTo(far.writable).catch(ignore);
  return { duplex: near, ...rest };
}

function ignore(): void {}
