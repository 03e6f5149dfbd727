/**
 * What a user of the package writes, for any place that has Web Streams: every
 * entry point, the options under `exactOptionalPropertyTypes`, and types that
 * contain themselves. It is type-checked, and never run.
 *
 * @module
 */

import {
  callable,
  type CallContext,
  type CallOptions,
  clientOf,
  Client,
  type ClientOptions,
  connect,
  type ConnectOptions,
  echoServices,
  expose,
  listen,
  type ListenOptions,
  memoryPair,
  method,
  observers,
  ordered,
  clientMiddleware,
  ReconnectingClient,
  type ReconnectingClientOptions,
  RpcError,
  Server,
  type ServerOptions,
  type Wire,
} from "@sluice/rpc";
import { JsonRpcClient, JsonRpcServer } from "@sluice/rpc/jsonrpc";
import { encodeGob, netrpc } from "@sluice/rpc/netrpc";
import {
  faulty,
  type FaultyOptions,
  faultyPair,
  printFrames,
  recorded,
  scriptedPeer,
  TestClock,
} from "@sluice/rpc/testing";
import * as z from "zod";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
interface JsonObject {
  [key: string]: JsonValue;
}
type JsonArray = JsonValue[] | readonly JsonValue[];
type JsonValue = string | number | boolean | null | JsonObject | JsonArray;

class Counter {
  #count = 0;
  add(by: number): number {
    return this.#count += by;
  }
}

const services = {
  Counter: expose(new Counter(), ["add"]),
  Values: {
    json: (value: Json): Json => value,
    object: (value: JsonValue): JsonObject => ({ value }),
    bytes: (value: Uint8Array): Uint8Array => value,
    at: (_: undefined, ctx: CallContext) => ({ at: new Date(), id: ctx.id }),
    zod: method(
      z.object({ name: z.string().optional(), more: z.json() }),
      (value) => value,
    ),
    async *count(to: number) {
      for (let i = 0; i < to; i++) yield { i };
    },
    sum: async (items: ReadableStream<number>) => {
      let sum = 0;
      const reader = items.getReader();
      for (let r; !(r = await reader.read()).done;) sum += r.value;
      return sum;
    },
  },
  Log: ordered({ append: (line: string) => line.length }),
};

// A program that reads its settings passes `undefined` where there is none.
declare const setting: number | undefined;
declare const signal: AbortSignal | undefined;
const call: CallOptions = { signal, timeout: setting, ctx: undefined };
const client: ClientOptions = { timeout: setting, services: undefined };
const server: ServerOptions = { maxRunning: setting, authorize: undefined };
const away: ReconnectingClientOptions = { dialTimeout: setting };
const to: ConnectOptions = { port: 1, signal, tls: undefined };
const at: ListenOptions = { port: 1, signal, onError: undefined };
const faults: FaultyOptions = { out: { capacity: setting, faults: undefined } };

/** Never called. */
export async function program(): Promise<unknown[]> {
  const [near, far] = memoryPair({ highWaterMark: setting });
  const serving = new Server(services, server);
  const connection = serving.accept(far);
  const typed = new Client<typeof services>(near, client);
  const json: Json = await typed.call("Values.json", { a: [1] }, call);
  const object: JsonObject = await typed.call("Values.object", [1]);
  const { at: when }: { at: string } = await typed.call("Values.at");
  const zod = await typed.call("Values.zod", { more: [json] });
  const name: string | undefined = zod.name;
  const items = await typed.call("Values.count", 3);
  const { value } = await items.getReader().read();
  const i: number | undefined = value?.i;
  const sum: number = await typed.service("Values").sum(
    new ReadableStream<number>(),
  );
  const wire: Wire<{ at: Date; json: Json }> = { at: when, json };
  const untyped = new Client(near);
  const anything: unknown = await untyped.call("Some.method", { any: "thing" });
  const back = clientOf<typeof services>(connection);
  const again = new ReconnectingClient<typeof services>(
    () => connect(to),
    away,
  );
  const error = new RpcError("not_found", "no", { data: undefined });
  const rest = [echoServices(), callable(services), observers(), clientMiddleware];
  const wires = [new JsonRpcServer(services), encodeGob, netrpc(), JsonRpcClient];
  serving.serve(await listen(at));
  const record = recorded(faulty(faultyPair(faults).near).duplex);
  const peer = scriptedPeer(record.duplex);
  const { method: called, params } = await peer.expect("request");
  const tests: unknown[] = [called, params, printFrames(record.sent), new TestClock()];
  return [
    ...[json, object, when, name, i, sum, wire, anything, back, again, error],
    ...[...rest, ...wires, ...tests],
  ];
}
