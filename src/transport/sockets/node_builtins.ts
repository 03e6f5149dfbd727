/**
 * The built-in modules of Node, Bun and Deno, and structural types of what is
 * used of them.
 *
 * Invariants:
 * - A module is looked up when it is needed, by `process.getBuiltinModule`, and
 *   never imported. So the library bundles for a browser without configuration.
 * - No type of `node:*` appears in what is exported.
 *
 * @module
 */

/** The members of Node's `stream.Readable` that are used, as of `child.stdout`. */
export interface NodeReadable {
  /** Adds a listener for an event. */
  on(event: string, listener: (argument?: unknown) => void): unknown;
  /** Starts the flow of `data` events again. */
  resume(): unknown;
  /** Stops the flow of `data` events. */
  pause(): unknown;
  /** Returns what is buffered. */
  read(): unknown;
  /** Destroys the stream at once. */
  destroy(): unknown;
  /** Whether it was destroyed. */
  readonly destroyed?: boolean;
  /** The error it failed with. */
  readonly errored?: unknown;
  /** Whether its end was read. */
  readonly readableEnded?: boolean;
  /** The encoding that `setEncoding` has set; the stream then yields text. */
  readonly readableEncoding?: string | null;
  /** Lets the process exit while the stream is open; some streams lack it. */
  unref?(): unknown;
  /** Undoes `unref`. */
  ref?(): unknown;
}

/** The members of Node's `stream.Writable` that are used, as of `child.stdin`. */
export interface NodeWritable {
  /** Adds a listener for an event. */
  on(event: string, listener: (argument?: unknown) => void): unknown;
  /** Writes a chunk, and calls `done` when the system has it. */
  write(chunk: Uint8Array, done?: (error?: unknown) => void): boolean;
  /** Buffers writes until `uncork`, so that they leave together. */
  cork?(): void;
  /** Sends what was buffered since `cork`. */
  uncork?(): void;
  /** Ends the stream after what was written. */
  end(done?: () => void): unknown;
  /** Destroys the stream at once. */
  destroy(): unknown;
  /** Destroys a TCP socket with a reset, which the peer reads as an error. */
  resetAndDestroy?(): unknown;
  /** Whether it was destroyed. */
  readonly destroyed?: boolean;
  /** The error it failed with. */
  readonly errored?: unknown;
  /** Whether `end` was called. */
  readonly writableEnded?: boolean;
  /** Lets the process exit while the stream is open; some streams lack it. */
  unref?(): unknown;
  /** Undoes `unref`. */
  ref?(): unknown;
}

/** The members of a `net.Socket` or `tls.TLSSocket` that are used. */
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

/** The members of a `net.Server` or `tls.Server` that are used. */
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

/** The members of an `http.Server` that are used. */
export interface NodeHttpServer {
  on(
    event: "request",
    listener: (
      request: unknown,
      response: {
        writeHead(status: number, headers: Record<string, string>): unknown;
        end(text: string): unknown;
      },
    ) => void,
  ): unknown;
  on(
    event: "upgrade",
    listener: (
      request: NodeRequest,
      socket: NodeUpgradeSocket,
      head: Uint8Array,
    ) => void,
  ): unknown;
  on(
    event: "error" | "tlsClientError",
    listener: (error: unknown) => void,
  ): unknown;
  listen(options: Record<string, unknown>, done: () => void): unknown;
  address(): { port: number } | string | null;
  close(): unknown;
  closeAllConnections(): void;
  ref(): unknown;
  unref(): unknown;
}

/** The members of an `http.IncomingMessage` that are used. */
export interface NodeRequest {
  /** The path and query. */
  readonly url?: string | undefined;
  /** The method, such as `GET`. */
  readonly method?: string | undefined;
  /** The headers, with names in lower case. */
  readonly headers: Record<string, string | readonly string[] | undefined>;
  /** The socket, for the peer's address. */
  readonly socket: {
    readonly remoteAddress?: string | undefined;
    readonly remotePort?: number | undefined;
  };
}

/** The members of a raw socket of an `http.Server` that are used. */
export interface NodeUpgradeSocket {
  /** Writes the text and ends the socket; calls `done` when the system has it. */
  end(text: string, done: () => void): unknown;
  /** Ends the socket at once. */
  destroy(): unknown;
  /** Adds a listener for errors. */
  on(event: "error", listener: () => void): unknown;
}

/** The built-in modules that are used. */
export interface Builtins {
  "node:http": {
    createServer(options: Record<string, unknown>): NodeHttpServer;
  };
  "node:https": {
    createServer(options: Record<string, unknown>): NodeHttpServer;
  };
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

/** The members of `fs.Stats` that are used. */
export interface FileStatus {
  readonly dev: number;
  readonly ino: number;
  isSocket(): boolean;
}

/** The members of `process` that are used. */
export interface Process {
  readonly platform: string;
  readonly stdin: NodeReadable;
  readonly stdout: NodeWritable;
  getBuiltinModule<Name extends keyof Builtins>(name: Name): Builtins[Name];
}

/**
 * The runtime's `process`.
 *
 * @param what What needs it, for the error's message.
 * @throws {TypeError} If the runtime is not Deno, Bun or Node.
 */
export function nodeProcess(what: string): Process {
  const { process } = globalThis as unknown as { process?: Process };
  if (typeof process?.getBuiltinModule !== "function") {
    throw new TypeError(
      `Cannot use ${what}: this runtime is not Deno, Bun or Node`,
    );
  }
  return process;
}

/**
 * A built-in module of the runtime.
 *
 * @param what What needs it, for the error's message.
 * @throws {TypeError} If the runtime is not Deno, Bun or Node.
 */
export function builtin<Name extends keyof Builtins>(
  name: Name,
  what: string,
): Builtins[Name] {
  return nodeProcess(what).getBuiltinModule(name);
}
