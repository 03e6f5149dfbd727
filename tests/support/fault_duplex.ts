/**
 * Faulty transports: a pair of duplexes, or any duplex wrapped, whose two
 * directions are {@linkcode FaultLine}s.
 *
 * As a socket does, `writable.abort()` destroys both directions, and the peer
 * learns of it behind what was delivered; a direction that is stalled does not
 * even tell that: the peer has vanished.
 *
 * @module
 */

import { ConnectionError, type Duplex } from "../../mod.ts";
import { nativeDuplex } from "../../src/transport/native_duplex.ts";
import { FaultLine, type LineOptions } from "./fault_line.ts";

/** How the two directions behave; `out` is what the near end writes. */
export interface FaultOptions {
  readonly out?: LineOptions;
  readonly back?: LineOptions;
}

/** Two connected ends, and what is between them. */
export interface FaultPair {
  readonly near: Duplex;
  readonly far: Duplex;
  readonly out: FaultLine;
  readonly back: FaultLine;
  /** Loses both directions, now, for both ends. */
  reset(): void;
}

/** Two ends with faults between them. */
export function faultPair(options: FaultOptions = {}): FaultPair {
  const reset = () => {
    const reason = new ConnectionError("unavailable", "reset on the way");
    for (const line of [out, back]) {
      // First, or the write that waits would succeed in what is dropped.
      line.fail(reason);
      line.drop(reason);
    }
  };
  /** The end that writes `own` and reads `other` has given up. */
  const destroy = (own: FaultLine, other: FaultLine, reason: unknown) => {
    const gone = new ConnectionError("unavailable", "reset by the peer");
    // A peer that hears nothing any more is not told by its writes either.
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
    near: nativeDuplex(back.intake, out, {}),
    far: nativeDuplex(out.intake, back, {}),
    out,
    back,
    reset,
  };
}

/** A duplex with faults between its user and the one it wraps. */
export interface FaultDuplex extends Omit<FaultPair, "near" | "far"> {
  readonly duplex: Duplex;
}

/** Wraps `inner`; `out` is what is written to it, `back` what is read from it. */
export function faultDuplex(
  inner: Duplex,
  options: FaultOptions = {},
): FaultDuplex {
  const { near, far, ...rest } = faultPair(options);
  // Ends and failures travel with the pipes; nobody else waits for them.
  far.readable.pipeTo(inner.writable).catch(ignore);
  inner.readable.pipeTo(far.writable).catch(ignore);
  return { duplex: near, ...rest };
}

function ignore(): void {}
