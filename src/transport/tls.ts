/**
 * What is told to TLS; there is no way to tell it not to verify.
 *
 * @module
 */

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
