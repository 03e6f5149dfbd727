/**
 * The type of a case, and functions that make common kinds of cases.
 *
 * @module
 */

import {
  ClientSession,
  type Role,
  ServerSession,
  type Session,
  type Target,
} from "./session.ts";

/** A test of one requirement on one side. */
export interface Case {
  /** The id of the requirement in docs/protocol.md, a dot, and a number that is never used again. */
  readonly id: string;
  readonly role: Role;
  /** What the case does, and what must happen. */
  readonly about: string;
  run(target: Target): Promise<void>;
}

/** Cases of one section. */
export type Section = readonly Case[];

type Body<S extends Session> = (session: S) => Promise<unknown>;

function make<S extends Session>(
  id: string,
  role: Role,
  about: string,
  body: Body<S>,
): Case {
  const run = async (target: Target) => {
    const session = role === "server"
      ? new ServerSession(target)
      : new ClientSession(target);
    try {
      await session.open();
      await body(session as Session as S);
    } finally {
      await session.end();
    }
  };
  return { id, role, about, run };
}

/** Makes a case for servers. */
export function server(
  id: string,
  about: string,
  body: Body<ServerSession>,
): Case[] {
  return [make(id, "server", about, body)];
}

/** Makes a case for clients. */
export function client(
  id: string,
  about: string,
  body: Body<ClientSession>,
): Case[] {
  return [make(id, "client", about, body)];
}

/** Makes a case for servers and one for clients. */
export function either(id: string, about: string, body: Body<Session>): Case[] {
  return [
    make(id, "server", about, body),
    make(id, "client", about, body),
  ];
}

/** Makes cases: the side closes the connection when it receives these bytes after HELLO. */
export function closes(
  id: string,
  about: string,
  bytes: Uint8Array,
  code: string | readonly string[] = "protocol_error",
): Case[] {
  const codes = typeof code === "string" ? [code] : code;
  return either(id, `${about}: closes, ${codes.join(" or ")}`, async (end) => {
    await end.exchangeHello();
    await end.send(bytes);
    await end.closes(code);
  });
}

/** Makes cases: the side closes the connection when it receives these bytes in place of HELLO. */
export function closesUngreeted(
  id: string,
  about: string,
  bytes: Uint8Array,
  code: string | readonly string[] = "protocol_error",
): Case[] {
  const codes = typeof code === "string" ? [code] : code;
  return either(id, `${about}: closes, ${codes.join(" or ")}`, async (end) => {
    await end.send(bytes);
    await end.closes(code);
  });
}

/** Makes cases: the side ignores these bytes after HELLO. */
export function ignores(id: string, about: string, bytes: Uint8Array): Case[] {
  return either(id, `${about}: ignored`, async (end) => {
    await end.exchangeHello();
    await end.send(bytes);
    await end.alive();
  });
}

/** Makes a case for each row, numbered from `first`. */
export function rows<T>(
  rule: string,
  first: number,
  list: readonly T[],
  each: (id: string, row: T) => Case[],
): Case[] {
  return list.flatMap((row, i) => each(`${rule}.${first + i}`, row));
}
