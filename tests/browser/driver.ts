/**
 * What the program that drives a page, or a Worker of workerd, tells its tests.
 *
 * @module
 */

/** Its values and functions, which are members of `globalThis`. */
export interface Driver {
  /** The URL of the server. In a page it is relative to the page. */
  readonly serverUrl: string;
  /** The URL of a server that accepts pages of any origin. */
  readonly openUrl: string;
  /** The URL of the script of a Web Worker that serves. */
  readonly workerUrl: string;
  /** Milliseconds for which a page is busy. */
  readonly pause: number;
  /** Kills the server's process, and resolves when a new one listens. */
  restartServer(): Promise<void>;
  /** How much memory the page's JavaScript holds, in bytes. */
  pageMemory(): Promise<number>;
  /** Shows a measurement to whoever runs the tests. */
  show(text: string): Promise<void>;
}

export const driver = globalThis as unknown as Driver;
