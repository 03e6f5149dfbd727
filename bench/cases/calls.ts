/**
 * Whole calls over a memory pair: both sides are in this process.
 *
 * @module
 */

import { Client, type EchoServices, memoryPair, Server } from "../../mod.ts";
import { echoServices } from "../../mod.ts";
import { type StyleName, STYLES, Tally } from "../demo/styles.ts";
import type { Case } from "../cases.ts";

function connected(): Client<EchoServices> {
  const [near, far] = memoryPair();
  new Server(echoServices()).accept(far);
  return new Client<EchoServices>(near);
}

function style(
  name: StyleName,
  title: string,
  calls: number,
  tasks = 1,
): Case {
  return {
    name: title,
    group: "calls over memory",
    operations: calls,
    setup: () => {
      const client = connected();
      return async () => {
        let fault: unknown;
        const tally = new Tally(calls, (reason) => fault = reason);
        const work = { calls, tasks, syncLimit: 60_000 };
        await STYLES[name](client, work, tally);
        if (fault !== undefined) throw fault;
      };
    },
  };
}

function bulk(title: string, size: number, operations: number): Case {
  return {
    name: title,
    group: "calls over memory",
    operations,
    setup: () => {
      const client = connected();
      const payload = new Uint8Array(size).fill(7);
      const echo = async () => {
        const back = await client.call("Echo.echo", payload) as Uint8Array;
        if (back.length !== size || back[size - 1] !== 7) {
          throw new Error("other bytes came back");
        }
      };
      return async () => {
        await Promise.all(Array.from({ length: operations }, echo));
      };
    },
  };
}

/** The cases of this file. */
export const CALLS: readonly Case[] = [
  style("sync", "one after the other", 100),
  style("concurrent", "64 tasks", 6400, 64),
  style("pipeline", "pipeline of 100", 100),
  style("pipeline", "pipeline of 10,000", 10_000),
  bulk("16 at once of 64 KiB", 65_536, 16),
];
