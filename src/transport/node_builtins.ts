/**
 * The one place that reaches for the built-in modules of Deno, Bun and Node,
 * and what of them is used, as structural types.
 *
 * Invariants owned here:
 * - Modules are looked up when they are needed and never imported, so that the
 *   library bundles for a browser with no configuration.
 * - No type of `node:*` shows in what is exported.
 *
 * @module
 */

/** What is used of a `stream.Readable` of Node, such as `child.stdout`. */
export interface NodeReadable {
  /** Adds a listener for an event. */
  on(event: string, listener: (argument?: unknown) => void): unknown;
  /** Starts the flow of `data` events again. */
  resume(): unknown;
  /** Stops the flow of `data` events. */
  pause(): unknown;
  /** Takes what is buffered. */
  read(): unknown;
  /** Lets the stream go at once. */
  destroy(): unknown;
  /** Whether it was let go. */
  readonly destroyed?: boolean;
  /** What it failed with. */
  readonly errored?: unknown;
  /** Whether its end was read. */
  readonly readableEnded?: boolean;
  /** What `setEncoding` has set: then it yields text. */
  readonly readableEncoding?: string | null;
  /** Lets the process end although this is open, where it can. */
  unref?(): unknown;
  /** Keeps the process alive again. */
  ref?(): unknown;
}

/** What is used of a `stream.Writable` of Node, such as `child.stdin`. */
export interface NodeWritable {
  /** Adds a listener for an event. */
  on(event: string, listener: (argument?: unknown) => void): unknown;
  /** Writes; `done` is called when the chunk is the system's. */
  write(chunk: Uint8Array, done?: (error?: unknown) => void): boolean;
  /** Holds writes back until `uncork`, so that they leave together. */
  cork?(): void;
  /** Lets them go. */
  uncork?(): void;
  /** Ends the stream after what is written. */
  end(done?: () => void): unknown;
  /** Lets the stream go at once. */
  destroy(): unknown;
  /** Lets a TCP socket go at once, and tells the peer. */
  resetAndDestroy?(): unknown;
  /** Whether it was let go. */
  readonly destroyed?: boolean;
  /** What it failed with. */
  readonly errored?: unknown;
  /** Whether its `end` was called. */
  readonly writableEnded?: boolean;
  /** Lets the process end although this is open, where it can. */
  unref?(): unknown;
  /** Keeps the process alive again. */
  ref?(): unknown;
}

/** What is used of a `net.Socket` or `tls.TLSSocket`. */
export interface NodeSocket extends NodeReadable, NodeWritable {
  once(event: string, listener: (argument?: unknown) => void): unknown;
  off(event: string, listener: (argument?: unknown) => void): unknown;
  setNoDelay(on: boolean): unknown;
  getPeerCertificate?(): object | null;
  readonly authorizationError?: unknown;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly localAddress?: string;
  readonly localPort?: number;
}

/** What is used of a `net.Server` or `tls.Server`. */
export interface NodeServer {
  on(
    event: string,
    listener: (argument?: unknown, socket?: unknown) => void,
  ): unknown;
  off(event: string, listener: (argument?: unknown) => void): unknown;
  listen(options: Record<string, unknown>, done: () => void): unknown;
  address(): { address: string; port: number } | string | null;
  close(): unknown;
  ref?(): unknown;
  unref?(): unknown;
}

/** The built-in modules, as far as they are used. */
export interface Builtins {
  "node:net": {
    connect(options: Record<string, unknown>): NodeSocket;
    createServer(options: Record<string, unknown>): NodeServer;
    isIP(host: string): number;
  };
  "node:tls": {
    connect(options: Record<string, unknown>): NodeSocket;
    createServer(options: Record<string, unknown>): NodeServer;
  };
  "node:fs/promises": {
    mkdtemp(prefix: string): Promise<string>;
    chmod(path: string, mode: number): Promise<void>;
    link(from: string, to: string): Promise<void>;
    rename(from: string, to: string): Promise<void>;
    lstat(path: string): Promise<FileStatus>;
    unlink(path: string): Promise<void>;
    rm(path: string, options: { recursive: true; force: true }): Promise<void>;
  };
}

/** What is used of `fs.Stats`. */
export interface FileStatus {
  readonly dev: number;
  readonly ino: number;
  isSocket(): boolean;
}

/** What is used of `process`. */
export interface Process {
  readonly platform: string;
  readonly stdin: NodeReadable;
  readonly stdout: NodeWritable;
  getBuiltinModule<Name extends keyof Builtins>(name: Name): Builtins[Name];
}

/**
 * The runtime's `process`.
 *
 * @param what What needs it, for the message.
 * @throws {TypeError} If the runtime is neither Deno, Bun nor Node.
 */
export function nodeProcess(what: string): Process {
  const { process } = globalThis as unknown as { process?: Process };
  if (typeof process?.getBuiltinModule !== "function") {
    throw new TypeError(`${what} needs Deno, Bun or Node`);
  }
  return process;
}

/**
 * A built-in module of the runtime.
 *
 * @param name Which.
 * @param what What needs it, for the message.
 * @throws {TypeError} If the runtime is neither Deno, Bun nor Node.
 */
export function builtin<Name extends keyof Builtins>(
  name: Name,
  what: string,
): Builtins[Name] {
  return nodeProcess(what).getBuiltinModule(name);
}
