/**
 * The interface of a peer that is written in JavaScript.
 *
 * @module
 */

/** Serves `PeerHello`, and calls it.  */
export interface Peer {
  /** Serves on a free port of loopback; resolves with the port. */
  serve(): Promise<number>;
  /** Connects to a port of loopback. */
  connect(port: number): Promise<Caller>;
  /**
   * Largest number of calls in flight in the pipeline style. No peer has a bound of
   * its own, and all are faster with one: the fastest of 64, 512, 4,096 and none.
   */
  readonly window: number;
}

/** One connection. */
export interface Caller {
  /** `"x"` to `"hello:x"`. */
  call(text: string): Promise<string>;
  close(): void;
}

/** The handler of all peers. */
export function hello(text: string): string {
  return "hello:" + text;
}
