/**
 * JSON-RPC as a value of the `protocol` option of a client or a server.
 *
 * @module
 */

import type { Protocol } from "../types/connection.ts";
import type { CodecSettings, MessageHandler } from "../wire/codec.ts";
import { JsonRpcCodec } from "./codec.ts";
import {
  type JsonRpcOptions,
  type JsonRpcSettings,
  toSettings,
} from "./options.ts";

/**
 * Returns JSON-RPC 2.0 as a value of the `protocol` option of a `Client`, a
 * `ReconnectingClient` or a `Server`. {@linkcode JsonRpcClient} and
 * {@linkcode JsonRpcServer} need no such option, and add batches and the
 * client's own services.
 *
 * With this option `maxSendBuffer` keeps its usual default of 64 MiB;
 * `JsonRpcClient` and `JsonRpcServer` lower it to 16 MiB.
 *
 * @throws {TypeError} If `dialect`, `framing` or a number in `codes` is invalid.
 * @throws {RangeError} If `window` is not an integer from 1 to 16,777,216.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Client, memoryPair, Server } from "@sluice/rpc";
 * import { jsonRpc } from "@sluice/rpc/jsonrpc";
 *
 * const services = { add: ([a, b]: [number, number]) => a + b };
 * const protocol = jsonRpc({ framing: "contentLength" });
 * const [near, far] = memoryPair();
 * const server = new Server(services, { protocol });
 * server.accept(far);
 * const client = new Client<typeof services>(near, { protocol });
 * assertEquals(await client.call("add", [1, 2]), 3);
 * await client.close();
 * await server.close();
 * ```
 */
export function jsonRpc(options: JsonRpcOptions = {}): Protocol<"json"> {
  return toProtocol(toSettings(options));
}

/** The protocol with these settings. `onCodec` receives the codec of each connection. */
export function toProtocol(
  settings: JsonRpcSettings,
  onCodec?: (codec: JsonRpcCodec) => void,
): Protocol<"json"> {
  return {
    name: "jsonrpc",
    json: true,
    codec: (handler: MessageHandler, codecSettings: CodecSettings) => {
      const codec = new JsonRpcCodec(handler, codecSettings, settings);
      onCodec?.(codec);
      return codec;
    },
  };
}
