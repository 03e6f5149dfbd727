/**
 * What is told to TLS; there is no way to tell it not to verify.
 *
 * @module
 */

/** How `connect` verifies a server, and shows who it is itself. */
export interface ConnectTls {
  /** PEM certificates to trust instead of the system's. */
  ca?: string | string[];
  /** This end's own certificate chain as PEM, if the server asks for one. */
  cert?: string;
  /** The private key of `cert` as PEM. */
  key?: string;
  /** The name the server's certificate must bear; the host unless given. */
  servername?: string;
  /** Application protocols offered, in order of preference. */
  alpn?: string[];
}

/** How `listen` shows who it is, and whom it lets in. */
export interface ListenTls {
  /** The certificate chain as PEM. */
  cert: string;
  /** The private key of `cert` as PEM. */
  key: string;
  /** PEM certificates that clients' certificates must be signed by. */
  ca?: string | string[];
  /** Ask clients for a certificate, and turn away those without a valid one. */
  requestCert?: boolean;
  /** Application protocols accepted, in order of preference. */
  alpn?: string[];
}
