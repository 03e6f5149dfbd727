/**
 * `@grpc/grpc-js`, unary calls over one HTTP/2 connection. The service is
 * defined in code, and its message, `message Text { string text = 1; }`, is
 * serialized by hand: nothing is slower than need be.
 *
 * @module
 */

import {
  Client,
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { hello, type Peer } from "./peer.ts";

const HELLO = {
  path: "/HelloService/Hello",
  requestStream: false,
  responseStream: false,
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize,
} as const;

const DEFINITION: ServiceDefinition = { Hello: HELLO };

/** Field 1, length-delimited. All texts here are shorter than 128 bytes. */
const FIELD = 0x0a;

function serialize(text: string): Buffer {
  const length = Buffer.byteLength(text);
  if (length > 127) throw new Error("Cannot serialize: text too long");
  const bytes = Buffer.allocUnsafe(2 + length);
  bytes[0] = FIELD;
  bytes[1] = length;
  bytes.write(text, 2);
  return bytes;
}

function deserialize(bytes: Buffer): string {
  return bytes.toString("utf8", 2);
}

const grpc: Peer = {
  window: 64,

  serve() {
    const server = new Server();
    const handlers: UntypedServiceImplementation = {
      Hello: (call: { request: string }, done: Done) =>
        done(null, hello(call.request)),
    };
    server.addService(DEFINITION, handlers);
    return new Promise((resolve, reject) => {
      const insecure = ServerCredentials.createInsecure();
      server.bindAsync("127.0.0.1:0", insecure, (error, port) => {
        if (error) reject(error);
        else resolve(port);
      });
    });
  },

  connect(port) {
    const Stub = makeGenericClientConstructor(DEFINITION, "HelloService");
    const stub = new Stub(`127.0.0.1:${port}`, credentials.createInsecure());
    const call = (text: string) =>
      new Promise<string>((resolve, reject) => {
        stub.Hello(text, (error: Error | null, reply: string) => {
          if (error) reject(error);
          else resolve(reply);
        });
      });
    return new Promise((resolve, reject) => {
      Client.prototype.waitForReady.call(stub, Date.now() + 10_000, (error) => {
        if (error) reject(error);
        else resolve({ call, close: () => stub.close() });
      });
    });
  },
};

type Done = (error: Error | null, reply: string) => void;

export default grpc;
