/**
 * The server of a limit, in a process of its own: `server.ts STYLE`. It exits when
 * its parent ends it.
 *
 * @module
 */

import type { Socket } from "node:net";
import process from "node:process";
import { parentDone, sendToParent } from "../demo/parent.ts";
import type { Listening } from "../pair.ts";
import { Answers, Cutter } from "./frames.ts";
import { listenNode, listenPlain } from "./plain.ts";
import { listenStreams, type Streams } from "./streams.ts";
import { BYTE, type LimitStyle } from "./styles.ts";
import { listenWebSocket } from "./websocket.ts";

const LISTEN: Record<LimitStyle, () => Promise<number> | number> = {
  raw: () => listenNode(answer),
  promise: () => listenNode(answer),
  pingpong: () =>
    listenPlain((socket) => ({ data: () => void socket.write(BYTE) })),
  webstreams: () => listenStreams(echo),
  bulk: () =>
    listenPlain((socket) => ({ data: (bytes) => socket.write(bytes) })),
  websocket: listenWebSocket,
};

/** Replies to calls with one write for each chunk of them. */
function answer(socket: Socket): void {
  const answers = new Answers();
  const cutter = new Cutter((bytes, at, end) => answers.add(bytes, at, end));
  socket.on("data", (chunk) => {
    cutter.push(chunk);
    if (socket.write(answers.take())) return;
    socket.pause();
    socket.once("drain", () => socket.resume());
  });
}

async function echo({ readable, writable }: Streams): Promise<void> {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    writer.write(value);
  }
}

if (import.meta.main) {
  const port = await LISTEN[process.argv[2] as LimitStyle]();
  sendToParent({ port } satisfies Listening);
  await parentDone();
  process.exit();
}
