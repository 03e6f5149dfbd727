/**
 * What a peer written in JavaScript is to this benchmark.
 *
 * @module
 */

/** A way to serve `PeerHello`, and to call it. */
export interface Peer {
  /** Serves on a free port of loopback; resolves with the port. */
  serve(): Promise<number>;
  /** Connects to a port of loopback. */
  connect(port: number): Promise<Caller>;
  /**
   * Calls that the pipeline style leaves in flight. None of them has a bound of
   * its own, and all are faster with one: of 64, 512, 4,096 and none the
   * fastest.
   */
  readonly window: number;
}

/** One connection. */
export interface Caller {
  /** `"x"` to `"hello:x"`. */
  call(text: string): Promise<string>;
  close(): void;
}

/** What everyone's handler does. */
export function hello(text: string): string {
  return "hello:" + text;
}
