/**
 * Where sockets connect and listen: addresses, and the options of TLS.
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
}

/** The address of a Unix domain socket; on Windows with Node, the name of a named pipe. */
export interface UnixAddress {
  /** The path of the socket's file. Systems limit it to about 100 bytes. */
  path: string;
  /** Excludes `path`. */
  port?: undefined;
  /** Excludes `path`. */
  host?: undefined;
}

/** An address that was checked, with defaults filled in. */
export type Address =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

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
 * @param lowestPort 1 to connect, 0 to listen.
 * @throws {TypeError} If it is no address.
 * @throws {RangeError} If the port is not a whole number in range.
 */
export function parseAddress(
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
