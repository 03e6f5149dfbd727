// The golden vectors of streams: what each frame says, and those that this
// library sends, byte for byte, for bodies, messages and trailers.

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { type CallContext, messages, RpcError, withBody } from "../../mod.ts";
import { readFrame } from "../../src/testing/peer_frame.ts";
import { settle } from "../support/clock.ts";
import {
  assertLost,
  faceClient,
  faceServer,
  greet,
} from "../support/facing.ts";
import { frame, KIND, request } from "../support/raw_peer.ts";
import {
  fromHex,
  isStreamed,
  type Message,
  named,
  toHex,
  VECTORS,
} from "../support/vectors.ts";

const PAYLOADS = [
  "undefined",
  "json",
  "bytes",
  "string",
  "custom",
  "stream",
  "message",
];

/** What a message says, as `readFrame` says it. */
function said(message: Message): unknown {
  switch (message.type) {
    case "request":
    case "reply":
      return [
        message.type,
        message.id,
        message.payload.kind === "stream",
        message.body === true,
      ];
    case "data": {
      const { id, caller, more, payload: { kind, text, hex = "" } } = message;
      const bytes = text === undefined
        ? hex
        : toHex(new TextEncoder().encode(text));
      return ["data", id, caller, more, PAYLOADS.indexOf(kind), bytes];
    }
    case "end": {
      const { id, caller, metadata = [], code, message: text } = message;
      return ["end", id, caller, metadata, code, text];
    }
    case "stop":
      return ["stop", message.id, message.caller, message.code, message.text];
    case "credit":
      return ["credit", message.id, message.caller, message.bytes];
    default:
      return undefined;
  }
}

function read(bytes: Uint8Array): unknown {
  const [kind, flags] = bytes.subarray(4);
  const id = new DataView(bytes.buffer).getUint32(8);
  const got = readFrame(
    { kind, flags, id, body: bytes.subarray(12) },
    undefined,
  );
  switch (got.kind) {
    case "request":
    case "reply":
      return [got.kind, got.id, got.isStream, got.hasBody];
    case "data": {
      const { fromCaller, more, payloadKind, payload } = got;
      return ["data", got.id, fromCaller, more, payloadKind, toHex(payload)];
    }
    case "end": {
      const { fromCaller, trailers, code, message } = got;
      return ["end", got.id, fromCaller, [...trailers], code, message];
    }
    case "stop":
      return ["stop", got.id, got.fromCaller, got.code, got.message];
    case "credit":
      return ["credit", got.id, got.fromCaller, got.bytes];
  }
}

for (const { name, about, message, bytes } of VECTORS.valid) {
  const streams = ["data", "end", "stop", "credit"].includes(message.type);
  if (!streams && !isStreamed(message)) continue;
  test(`vector ${name} is read: ${about}`, () => {
    assertEquals(read(fromHex(bytes)), said(message));
  });
}

/** The next frame of a kind, as hex. */
async function next(
  { peer }: Pick<ReturnType<typeof faceClient>, "peer">,
  kind: number,
): Promise<string> {
  const got = await peer.nextOf(kind);
  return toHex(frame(got.kind, got.id, got.body, got.flags));
}

test("the vectors of bodies, messages and trailers are sent", async () => {
  const client = faceClient();
  await greet(client, { streams: true });
  await settle();
  const empty = messages(ReadableStream.from([new Uint8Array(0)]));
  client.connection.go("Test.call", "a", { body: empty });
  const { bytes } = named("request-body");
  assertEquals(await next(client, KIND.REQUEST), bytes);
  const item = named("data-message-empty").bytes;
  assertEquals(await next(client, KIND.DATA), item);
  await assertLost(client);

  for (const end of ["end-trailers", "end-error-trailers"]) {
    const facing = faceServer({
      Test: {
        call: (_: unknown, ctx: CallContext) =>
          withBody(
            { n: 1 },
            messages((async function* () {
              ctx.setTrailers({ n: "3" });
              yield Uint8Array.of(0, 0xff);
              if (end !== "end-trailers") throw new RpcError("gone", "no more");
            })()),
          ),
      },
    });
    await greet(facing, { streams: true });
    await facing.peer.send(request(7, "Test.call"));
    assertEquals(await next(facing, KIND.REPLY), named("reply-body").bytes);
    assertEquals(await next(facing, KIND.DATA), named("data-message").bytes);
    assertEquals(await next(facing, KIND.END), named(end).bytes);
    await assertLost(facing);
  }
});
