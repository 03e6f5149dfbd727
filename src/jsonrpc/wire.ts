/**
 * JSON-RPC as a wire of a client or a server.
 *
 * @module
 */

import type { CodecSettings, MessageHandler } from "../wire/codec.ts";
import type { Protocol } from "../types/connection.ts";
import { JsonRpcCodec } from "./codec.ts";
import {
  type JsonRpcOptions,
  type JsonRpcSettings,
  toShape,
} from "./options.ts";

/**
 * The JSON-RPC 2.0 wire, for the `wire` option of a `Client` or a `Server`;
 * {@linkcode JsonRpcClient} and {@linkcode JsonRpcServer} are the plainer way.
 *
 * @throws {TypeError} If an option is none of its values.
 * @throws {RangeError} If `window` is no whole number from 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { jsonRpc } from "@sluice/rpc/jsonrpc";
 *
 * const services = { add: ([a, b]: [number, number]) => a + b };
 * const wire = jsonRpc({ framing: "contentLength" });
 * const [near, far] = memoryPair();
 * const server = new Server(services, { protocol: wire });
 * server.accept(far);
 * const client = new Client<typeof services>(near, { protocol: wire });
 * assertEquals(await client.call("add", [1, 2]), 3);
 * await client.close();
 * await server.close();
 * ```
 */
export function jsonRpc(options: JsonRpcOptions = {}): Protocol<"json"> {
  return toWire(toShape(options), () => {});
}

/** A wire whose codecs are shown to `made`. */
export function toWire(
  shape: JsonRpcSettings,
  made: (codec: JsonRpcCodec) => void,
): Protocol<"json"> {
  return {
    name: "jsonrpc",
    json: true,
    codec: (receiver: MessageHandler, settings: CodecSettings) => {
      const codec = new JsonRpcCodec(receiver, settings, shape);
      made(codec);
      return codec;
    },
  };
}
