/**
 * Where to connect and listen: addresses, URLs, and the options of TLS.
 *
 * There is no option that turns the verification of certificates off.
 *
 * @module
 */

import { typeName } from "../base/inspect.ts";

/** A TCP address. */
export interface TcpAddress {
  /** A host name, an IPv4 or an IPv6 address. Default `127.0.0.1`. */
  host?: string | undefined;
  /** 0 to 65,535. Port 0 lets the system choose one, for `listen` only. */
  port: number;
  /** Excludes `port`. */
  path?: undefined;
  /** Excludes `port`. */
  url?: undefined;
}

/** The address of a Unix domain socket; on Windows with Node, the name of a named pipe. */
export interface UnixAddress {
  /** The path of the socket's file. Systems limit it to about 100 bytes. */
  path: string;
  /** Excludes `path`. */
  port?: undefined;
  /** Excludes `path`. */
  host?: undefined;
  /** Excludes `path`. */
  url?: undefined;
}

/**
 * An address as a URL:
 *
 * | scheme | example | runs on |
 * | --- | --- | --- |
 * | `tcp:` | `tcp://127.0.0.1:7000` | Deno, Bun, Node |
 * | `tls:` | `tls://example.com:7000` | Deno, Bun, Node |
 * | `unix:` | `unix:/run/app.sock` | Deno, Bun, Node |
 * | `ws:`, `wss:` | `wss://example.com/rpc` | everywhere; to listen not in pages |
 * | `memory:` | `memory:name` | everywhere, within one process |
 */
export interface UrlAddress {
  /** The URL. */
  url: string | URL;
  /** Excludes `url`. */
  port?: undefined;
  /** Excludes `url`. */
  host?: undefined;
  /** Excludes `url`. */
  path?: undefined;
}

/** Where a listener can be reached. Can be passed to `connect`. */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }
  | { readonly url: string };

/** The address of a socket that was checked, with defaults filled in. */
export type Address =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/** What an address leads to. */
export type Target =
  | {
    readonly kind: "socket";
    readonly address: Address;
    readonly tls: boolean;
  }
  | { readonly kind: "websocket"; readonly url: URL }
  | { readonly kind: "memory"; readonly name: string };

/** How `connect` verifies the server, and authenticates itself. */
export interface ConnectTls {
  /** Certificates to trust in place of the system's, as PEM. */
  ca?: string | string[] | undefined;
  /** The client's own certificate chain as PEM, for a server that requests one. */
  cert?: string | undefined;
  /** The private key of `cert` as PEM. */
  key?: string | undefined;
  /** The name that the server's certificate must be valid for. Default the host. */
  servername?: string | undefined;
  /** The application protocols (ALPN) to offer, in order of preference. */
  alpn?: string[] | undefined;
}

/** How `listen` authenticates itself, and which clients it accepts. */
export interface ListenTls {
  /** The server's certificate chain as PEM. */
  cert: string;
  /** The private key of `cert` as PEM. */
  key: string;
  /** The certificates that must have signed those of clients, as PEM. */
  ca?: string | string[] | undefined;
  /** Request a certificate from each client, and reject clients without a valid one. Default false. Not on Deno. */
  requestCert?: boolean | undefined;
  /** The application protocols (ALPN) to accept, in order of preference. */
  alpn?: string[] | undefined;
}

/**
 * Checks an address that a user has passed.
 *
 * @param what The start of an error's message, such as `Cannot connect`.
 * @param options The address, and whether TLS is wanted.
 * @param lowestPort 1 to connect, 0 to listen.
 * @throws {TypeError} If it is no address.
 * @throws {RangeError} If the port is not a whole number in range.
 */
export function parseTarget(
  what: string,
  options: (TcpAddress | UnixAddress | UrlAddress) & { tls?: object },
  lowestPort: 0 | 1,
): Target {
  const tls = options?.tls !== undefined;
  if (options?.url === undefined) {
    const address = parseAddress(what, options as TcpAddress, lowestPort);
    return { kind: "socket", address, tls };
  }
  const url = parseUrl(what, options.url);
  const { protocol, hostname, port, pathname } = url;
  const shown = printUrl(url);
  if (!/^wss?:$/.test(protocol) && (url.search || url.hash)) {
    throw new TypeError(`${what}: ${shown} must have no query and no fragment`);
  }
  switch (protocol) {
    case "tcp:":
      if (tls) {
        throw new TypeError(`${what}: use tls: in place of tcp: for TLS`);
      }
      // falls through
    case "tls:": {
      if (port === "") throw new TypeError(`${what}: ${shown} has no port`);
      if (url.username || url.password || !/^\/?$/.test(pathname)) {
        throw new TypeError(
          `${what}: ${shown} must have nothing but a host and a port`,
        );
      }
      const host = hostname.replace(/^\[|\]$/g, "");
      const at = { host, port: Number(port) };
      const address = parseAddress(what, at, lowestPort);
      return { kind: "socket", address, tls: protocol === "tls:" };
    }
    case "unix:": {
      if (hostname !== "") {
        throw new TypeError(
          `${what}: ${shown} has a host; a path begins after "unix:", as in unix:/run/app.sock`,
        );
      }
      const path = decodePath(what, url);
      const address = parseAddress(what, { path }, lowestPort);
      return { kind: "socket", address, tls };
    }
    case "ws:":
    case "wss:":
      return { kind: "websocket", url };
    case "memory:":
      if (pathname === "") throw new TypeError(`${what}: ${shown} has no name`);
      return { kind: "memory", name: pathname };
    default:
      throw new TypeError(
        `${what}: the scheme of ${shown} is not tcp, tls, unix, ws, wss or memory`,
      );
  }
}

function parseUrl(what: string, url: string | URL): URL {
  try {
    return new URL(url);
  } catch {
    throw new TypeError(`${what}: not a URL, received ${received(url)}`);
  }
}

function decodePath(what: string, url: URL): string {
  try {
    return decodeURIComponent(url.pathname);
  } catch {
    throw new TypeError(
      `${what}: ${printUrl(url)} is not percent-encoded UTF-8`,
    );
  }
}

/** A URL for messages: without user, password, query and fragment, which may be secret. */
export function printUrl({ protocol, host, pathname }: URL): string {
  return `${protocol}${host === "" ? "" : `//${host}`}${pathname}`;
}

/** An address as a URL that `connect` takes. */
export function toUrl(address: ListenAddress, tls: boolean): string {
  if ("url" in address) return address.url;
  if ("path" in address) {
    // These would begin a query or a fragment.
    const path = encodeURI(address.path).replace(/[?#]/g, encodeURIComponent);
    return `unix:${path}`;
  }
  return `${tls ? "tls" : "tcp"}://${printAddress(address)}`;
}

function parseAddress(
  what: string,
  options: TcpAddress | UnixAddress,
  lowestPort: 0 | 1,
): Address {
  const { host, port, path }: {
    host?: unknown;
    port?: unknown;
    path?: unknown;
  } = options ?? {};
  if (path !== undefined) {
    if (port !== undefined || host !== undefined) {
      throw new TypeError(
        `${what}: expected either a path or a port, received both`,
      );
    }
    if (typeof path !== "string" || path === "" || path.includes("\0")) {
      throw new TypeError(
        `${what}: path must be a non-empty string without NUL, received ${
          received(path)
        }`,
      );
    }
    return { path };
  }
  if (typeof port !== "number") {
    throw new TypeError(
      `${what}: port must be a number, received ${received(port)}`,
    );
  }
  if (!Number.isInteger(port) || port < lowestPort || port > 65_535) {
    throw new RangeError(
      `${what}: port must be ${lowestPort} to 65535, received ${port}`,
    );
  }
  if (host !== undefined && (typeof host !== "string" || host === "")) {
    throw new TypeError(
      `${what}: host must be a name or an IP address, received ${
        received(host)
      }`,
    );
  }
  return { host: host ?? "127.0.0.1", port };
}

function received(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : typeName(value);
}

/** An address as text: `127.0.0.1:80`, `[::1]:80`, or the path. */
export function printAddress(address: Address): string {
  if ("path" in address) return address.path;
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
