/**
 * An observer that publishes calls to `node:diagnostics_channel`.
 *
 * The module is looked up at run time and never imported, so that this file also
 * loads in a browser. Without the module, or without subscribers, the observer is
 * not active and calls cost nothing.
 *
 * @module
 */

import type { CallObserver, ObservedCall } from "../types/observe.ts";

/** The part of a channel that is used here. */
interface Channel {
  readonly hasSubscribers: boolean;
  publish(message: unknown): void;
}

interface DiagnosticsModule {
  channel(name: string): Channel;
}

/**
 * Makes an observer that publishes calls to `node:diagnostics_channel`, for
 * {@linkcode observers}. It has four channels: `sluice:client:start`,
 * `sluice:client:end`, `sluice:server:start` and `sluice:server:end`. The message
 * is the {@linkcode ObservedCall}.
 *
 * A subscriber gets the calls that start after it has subscribed. In a browser,
 * which has no such channels, the observer does nothing.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { subscribe } from "node:diagnostics_channel";
 * import { Client, diagnostics, memoryPair, type ObservedCall, observers, Server } from "@sluice/rpc";
 *
 * const codes: unknown[] = [];
 * subscribe("sluice:server:end", (call) => void codes.push((call as ObservedCall).code));
 *
 * const services = { Math: { square: (n: number) => n * n } };
 * const [near, far] = memoryPair();
 * const server = new Server(services, { observe: observers(diagnostics()) });
 * server.accept(far);
 * const client = new Client<typeof services>(near);
 * await client.call("Math.square", 3);
 * await client.close();
 * await server.close();
 * assertEquals(codes, ["ok"]);
 * ```
 */
export function diagnostics(): CallObserver {
  const module = diagnosticsModule();
  if (module === undefined) return { active: false };
  const channelsOf = (side: string) => ({
    start: module.channel(`sluice:${side}:start`),
    end: module.channel(`sluice:${side}:end`),
  });
  const client = channelsOf("client");
  const server = channelsOf("server");
  const sides = { client, server };
  return {
    get active(): boolean {
      return client.start.hasSubscribers || client.end.hasSubscribers ||
        server.start.hasSubscribers || server.end.hasSubscribers;
    },
    start: (call: ObservedCall) => sides[call.side].start.publish(call),
    end: (call: ObservedCall) => sides[call.side].end.publish(call),
  };
}

function diagnosticsModule(): DiagnosticsModule | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  return process?.getBuiltinModule?.("node:diagnostics_channel") as
    | DiagnosticsModule
    | undefined;
}
