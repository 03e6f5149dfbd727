/**
 * What a connection runs over: a pair of byte streams.
 *
 * Whoever passes a {@linkcode Duplex} to Sluice must keep this contract:
 * - `readable` yields `Uint8Array` chunks, which belong to the reader from then
 *   on. It ends when the peer has sent its FIN, and errors when the connection
 *   is lost. Bytes that arrived before either are delivered first.
 * - `writable.write()` settles when the transport has capacity again. Until
 *   then the chunk belongs to the transport, which reads it and never changes
 *   it.
 * - `writable.close()` sends what is buffered and then FIN; reading goes on.
 * - `writable.abort()` destroys both directions at once.
 * - `readable.cancel()` stops reading and leaves writing alone.
 *
 * @module
 */

/**
 * Two byte streams to and from a peer, such as a socket's.
 *
 * `readable` must end at the peer's FIN and error when the connection is lost;
 * `writable.close()` must send FIN and leave reading open; `writable.abort()`
 * must destroy both directions; `readable.cancel()` must leave writing open.
 */
export interface Duplex {
  /** Yields what the peer sends, as `Uint8Array` chunks of any size. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Sends chunks to the peer. */
  readonly writable: WritableStream<Uint8Array>;
}

/** What a transport knows about its connection; every member is optional. */
export interface DuplexInfo {
  /** The peer's address as text, such as `127.0.0.1:80`. */
  readonly remote?: string | undefined;
  /** The local address as text. */
  readonly local?: string | undefined;
  /** The certificate that the peer has shown and TLS has verified; on Node and Bun only, as Deno does not disclose it. */
  readonly certificate?: PeerCertificate | undefined;
  /** The HTTP request that has become this connection; on servers of WebSockets only. */
  readonly request?: UpgradeRequest | undefined;
  /**
   * Whether `readable` is the standard output of a child process, which may
   * print other text between the peer's messages. A JSON-RPC protocol of lines
   * then drops such text and reports it to `onError`; on any other duplex it
   * closes the connection. {@linkcode nodeDuplex} sets this.
   */
  readonly childOutput?: boolean | undefined;
  /** Lets the open transport keep the process alive, which is the default; undoes `unref`. */
  readonly ref?: (() => void) | undefined;
  /** Lets the process exit while the transport is open. A duplex without this method decides by itself. */
  readonly unref?: (() => void) | undefined;
}

/** An HTTP request that has become a connection. */
export interface UpgradeRequest {
  /** Its URL; on Node only the path and the query. */
  readonly url: string;
  /** Its headers, such as `cookie` and `origin`. */
  readonly headers: Headers;
}

/** The names of a certificate's subject or issuer, by their short types: `CN`, `O`, `OU`, ... */
export type CertificateNames = Readonly<Record<string, string | string[]>>;

/** The certificate that a peer has shown in the TLS handshake, and TLS has verified. */
export interface PeerCertificate {
  /** The names of the peer. */
  readonly subject: CertificateNames;
  /** The names of the authority that has signed it. */
  readonly issuer: CertificateNames;
  /** Further names of the peer, as `DNS:a.example, URI:spiffe://b`; `undefined` if there are none. */
  readonly altNames: string | undefined;
  /** Its serial number at the issuer, in hex. */
  readonly serialNumber: string;
  /** The SHA-256 of the whole certificate, in hex with colons. */
  readonly fingerprint256: string;
  /** The start of its validity, as the runtime prints it. */
  readonly validFrom: string;
  /** The end of its validity, as the runtime prints it. */
  readonly validTo: string;
  /** The whole certificate, as DER. */
  readonly raw: Uint8Array;
}

/** The type of `Symbol.asyncDispose`, or `never` where the compiler's libraries lack it (before TypeScript's `esnext.disposable`). */
export type AsyncDisposeKey = SymbolConstructor extends
  { readonly asyncDispose: infer Key extends symbol } ? Key : never;

/**
 * Can be used with `await using`: has a method under `Symbol.asyncDispose`
 * that does the same as `close()`. Where the compiler's libraries lack that
 * symbol, the type has no member.
 */
export type AsyncDisposal = {
  readonly [Key in AsyncDisposeKey]: () => Promise<void>;
};
