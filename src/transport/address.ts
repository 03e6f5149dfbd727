/**
 * Where transports connect and listen: the addresses, how they are printed, and
 * what a system's error codes mean in the library's words.
 *
 * Invariant owned here: every fault of a transport is a
 * {@linkcode ConnectionError} whose code comes from these tables, and whose
 * `cause` is the runtime's own error.
 *
 * @module
 */

import { ConnectionError, type ErrorCode, quote } from "../base/errors.ts";
import { messageOf } from "../base/user_code.ts";

/** A TCP port, on loopback unless a host is given. */
export interface TcpAddress {
  /** Name, IPv4 or IPv6 address; `127.0.0.1` unless given. */
  host?: string | undefined;
  /** 0 to 65535; 0 lets the system choose (listen only). */
  port: number;
  /** Not together with a port. */
  path?: undefined;
}

/** A Unix domain socket. */
export interface UnixAddress {
  /** The socket's file; at most about 100 bytes, a limit of the system. */
  path: string;
  /** Not together with a path. */
  port?: undefined;
  /** Not together with a path. */
  host?: undefined;
}

/** An address checked and complete. */
export type Address =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/**
 * Checks what a caller gave as an address.
 *
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
        `${what}: give either a path or a port, received both`,
      );
    }
    if (typeof path !== "string" || path === "" || path.includes("\0")) {
      throw new TypeError(`${what}: path must be a file name`);
    }
    return { path };
  }
  if (typeof port !== "number") {
    throw new TypeError(
      `${what}: port must be a number, received ${typeof port}`,
    );
  }
  if (!Number.isInteger(port) || port < lowestPort || port > 65_535) {
    throw new RangeError(
      `${what}: port must be ${lowestPort} to 65535, received ${port}`,
    );
  }
  if (host !== undefined && (typeof host !== "string" || host === "")) {
    throw new TypeError(`${what}: host must be a name or an address`);
  }
  return { host: host ?? "127.0.0.1", port };
}

/** As people write it: `127.0.0.1:80`, `[::1]:80`, or the path. */
export function printAddress(address: Address): string {
  if ("path" in address) return address.path;
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The system's codes: what they are called here, and by people. */
const FAULTS: Record<string, readonly [ErrorCode, string]> = {
  EACCES: ["permission_denied", "permission denied"],
  EADDRINUSE: ["address_in_use", "address already in use"],
  EADDRNOTAVAIL: ["unavailable", "address not available"],
  EAI_AGAIN: ["unavailable", "name not found (the name server did not answer)"],
  ECONNABORTED: ["unavailable", "connection aborted"],
  ECONNREFUSED: ["unavailable", "connection refused"],
  ECONNRESET: ["unavailable", "connection reset"],
  EHOSTUNREACH: ["unavailable", "host unreachable"],
  EMFILE: ["resource_exhausted", "too many open files"],
  ENETUNREACH: ["unavailable", "network unreachable"],
  ENFILE: ["resource_exhausted", "too many open files"],
  ENOBUFS: ["resource_exhausted", "no memory for sockets"],
  ENOENT: ["unavailable", "no such socket"],
  ENOMEM: ["resource_exhausted", "no memory for sockets"],
  ENOTCONN: ["unavailable", "the peer has gone"],
  ENOTFOUND: ["unavailable", "name not found"],
  ENOTSOCK: ["unavailable", "not a socket"],
  EPERM: ["permission_denied", "permission denied"],
  EPIPE: ["unavailable", "closed by the peer"],
  ETIMEDOUT: ["unavailable", "timed out"],
  // Deno's names, for what comes without a code.
  AddrInUse: ["address_in_use", "address already in use"],
  ConnectionRefused: ["unavailable", "connection refused"],
  ConnectionReset: ["unavailable", "connection reset"],
  NotCapable: ["permission_denied", "permission denied"],
  PermissionDenied: ["permission_denied", "permission denied"],
};

/** The entry of {@linkcode FAULTS} for an error, or `undefined`. */
function known(
  error: unknown,
): readonly [ErrorCode, string] | undefined {
  try {
    const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
    for (const key of [code, name]) {
      if (typeof key === "string" && Object.hasOwn(FAULTS, key)) {
        return FAULTS[key];
      }
    }
  } catch {
    // A stream of the user's may have failed with anything.
  }
}

/** What went wrong, in words fit for a message. */
export function describeFault(error: unknown): string {
  const fault = known(error);
  if (fault) return fault[1];
  const message = messageOf(error, "it failed");
  return /^[\x20-\x7e]{1,200}$/.test(message) ? message : quote(message, 200);
}

/**
 * The error for a connection that could not be made.
 *
 * @param what What was tried: `Cannot connect to 127.0.0.1:1`.
 * @param error The runtime's error.
 * @param otherwise The code for an error that is none of the system's.
 */
export function faultOf(
  what: string,
  error: unknown,
  otherwise: ErrorCode = "unavailable",
): ConnectionError {
  return new ConnectionError(
    known(error)?.[0] ?? otherwise,
    `${what}: ${describeFault(error)}`,
    { cause: error },
  );
}

/** The fault of a connection that has ended otherwise than in order. */
export function lost(cause?: unknown): ConnectionError {
  const why = cause === undefined
    ? "closed before its end"
    : describeFault(cause);
  return new ConnectionError("unavailable", `Connection lost: ${why}`, {
    cause,
  });
}

/** How `connect` verifies a server, and shows who it is itself. */
export interface ConnectTls {
  /** PEM certificates to trust instead of the system's. */
  ca?: string | string[] | undefined;
  /** This end's own certificate chain as PEM, if the server asks for one. */
  cert?: string | undefined;
  /** The private key of `cert` as PEM. */
  key?: string | undefined;
  /** The name the server's certificate must bear; the host unless given. */
  servername?: string | undefined;
  /** Application protocols offered, in order of preference. */
  alpn?: string[] | undefined;
}

/** How `listen` shows who it is, and whom it lets in. */
export interface ListenTls {
  /** The certificate chain as PEM. */
  cert: string;
  /** The private key of `cert` as PEM. */
  key: string;
  /** PEM certificates that clients' certificates must be signed by. */
  ca?: string | string[] | undefined;
  /** Ask clients for a certificate, and turn away those without a valid one. */
  requestCert?: boolean | undefined;
  /** Application protocols accepted, in order of preference. */
  alpn?: string[] | undefined;
}
