/**
 * Calls made, and settled or aborted, with a peer that costs nothing.
 *
 * @module
 */

import { Client, type EchoServices } from "../../mod.ts";
import { ANSWER, ScriptedPeer } from "../support/scripted_peer.ts";
import type { Body, Case } from "../cases.ts";

const OPERATIONS = 1000;

/** A client, and its peer with the ids it has received. */
function connected() {
  const ids: number[] = [];
  const peer = new ScriptedPeer((id) => ids.push(id));
  const client = new Client<EchoServices>(peer.duplex);
  /** Sends the replies of all calls, and awaits the last one. */
  const answer = async (last: Promise<string>) => {
    peer.answer(Uint32Array.from(ids.splice(0)));
    const reply = await last;
    if (reply !== ANSWER) throw new Error(`a call has the reply "${reply}"`);
    const { inFlight } = client.stats();
    if (inFlight > 0) throw new Error(`${inFlight} calls are left`);
  };
  const call = (signal?: AbortSignal) =>
    client.call("HelloService.Hello", "client", signal && { signal });
  return { peer, call, answer };
}

function settling(): Body {
  const { peer, call, answer } = connected();
  return async () => {
    for (let i = 1; i < OPERATIONS; i++) call();
    const last = call();
    await peer.received(peer.requests + OPERATIONS);
    await answer(last);
  };
}

/** Aborts calls in flight: they reject at once, a CANCEL follows, and the replies still arrive. */
function aborting(): Body {
  const { peer, call, answer } = connected();
  return async () => {
    const controller = new AbortController();
    for (let i = 1; i < OPERATIONS; i++) call(controller.signal).catch(ignore);
    const last = call();
    const before = peer.requests + peer.cancels;
    await peer.received(before + OPERATIONS);
    controller.abort();
    await peer.received(before + 2 * OPERATIONS - 1);
    await answer(last);
  };
}

/** Aborts calls before they are sent: the peer only skips them. */
function retracting(): Body {
  const { peer, call, answer } = connected();
  return async () => {
    const controller = new AbortController();
    for (let i = 1; i < OPERATIONS; i++) call(controller.signal).catch(ignore);
    const last = call();
    controller.abort();
    await peer.received(peer.requests + 1);
    await answer(last);
  };
}

function ignore(): void {}

const BODIES = {
  "add and settle": settling,
  "add, send and abort": aborting,
  "add and abort": retracting,
};

/** The cases of this file. */
export const PENDING: readonly Case[] = Object.entries(BODIES).map((
  [name, setup],
) => ({ name, group: "pending", operations: OPERATIONS, setup }));
