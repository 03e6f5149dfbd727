/**
 * The certificate that the peer of a TLS connection has shown.
 *
 * Invariant owned here: a certificate is told only if it was verified: both
 * ends refuse a peer whose certificate is not valid.
 *
 * @module
 */

import type { NodeSocket } from "./node_builtins.ts";

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

/** What is used of what `getPeerCertificate` returns; nothing is in it if the peer has shown none. */
interface NodeCertificate {
  readonly subject?: CertificateNames;
  readonly issuer?: CertificateNames;
  readonly subjectaltname?: string;
  readonly serialNumber?: string;
  readonly fingerprint256?: string;
  readonly valid_from?: string;
  readonly valid_to?: string;
  readonly raw?: Uint8Array;
}

/** What the peer of a socket has shown, if anything. */
export function certificateOf(socket: NodeSocket): PeerCertificate | undefined {
  const shown = socket.getPeerCertificate?.() as NodeCertificate | undefined;
  if (!shown?.raw || !shown.subject || !shown.issuer) return undefined;
  return {
    // The runtime's objects have no prototype on some runtimes, and one on others.
    subject: { ...shown.subject },
    issuer: { ...shown.issuer },
    altNames: shown.subjectaltname,
    serialNumber: shown.serialNumber ?? "",
    fingerprint256: shown.fingerprint256 ?? "",
    validFrom: shown.valid_from ?? "",
    validTo: shown.valid_to ?? "",
    raw: new Uint8Array(shown.raw),
  };
}
