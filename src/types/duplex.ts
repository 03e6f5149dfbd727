/**
 * A duplex of bytes: what every transport makes, and every connection is made of.
 *
 * @module
 */

/** A readable and a writable side of bytes; see the module for what each must do. */
export interface Duplex {
  /** What the peer sends. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is sent to the peer. */
  readonly writable: WritableStream<Uint8Array>;
}

/** The symbol of asynchronous disposal, where the compiler's libraries have it; `never` elsewhere. */
export type AsyncDisposeKey = SymbolConstructor extends
  { readonly asyncDispose: infer Key extends symbol } ? Key : never;

/**
 * What `await using` needs: a method under `Symbol.asyncDispose`, which does
 * the same as `close()`. Where the compiler's libraries lack that symbol
 * (before TypeScript's `esnext.disposable`), the type asks for nothing.
 */
export type AsyncDisposal = {
  readonly [Key in AsyncDisposeKey]: () => Promise<void>;
};

/** Where a connection comes from; all of it optional. */
export interface DuplexInfo {
  /** The peer's address, printable. */
  readonly remote?: string | undefined;
  /** Our own address, printable. */
  readonly local?: string | undefined;
  /** What the peer showed in the TLS handshake, on runtimes that tell it: Node and Bun, not Deno. */
  readonly certificate?: PeerCertificate | undefined;
  /**
   * Whether `readable` is the standard output of a child process, into which
   * more may print than the peer: a wire of lines then drops what is no message
   * and tells `onError`, where it would close any other connection.
   * {@linkcode nodeDuplex} sets it.
   */
  readonly childOutput?: boolean | undefined;
  /** Keeps the process alive while the transport is open, as it does from the start; undoes `unref`. */
  readonly ref?: (() => void) | undefined;
  /** Lets the process end although the transport is open. Without it, it is the transport's own business. */
  readonly unref?: (() => void) | undefined;
}

/** The names of a certificate's subject or issuer, by their short types: `CN`, `O`, `OU`, ... */
export type CertificateNames = Readonly<Record<string, string | string[]>>;

/** What a peer's certificate says. */
export interface PeerCertificate {
  /** Whom it is for. */
  readonly subject: CertificateNames;
  /** Who vouches for that. */
  readonly issuer: CertificateNames;
  /** Further names it is for, as `DNS:a.example, URI:spiffe://b`; undefined if there are none. */
  readonly altNames: string | undefined;
  /** Its number at the issuer, in hex. */
  readonly serialNumber: string;
  /** SHA-256 over the whole of it, in hex with colons. */
  readonly fingerprint256: string;
  /** From when it is valid, as the runtime prints it. */
  readonly validFrom: string;
  /** Until when. */
  readonly validTo: string;
  /** The whole of it, as DER. */
  readonly raw: Uint8Array;
}
