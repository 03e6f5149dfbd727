/// <reference lib="dom" />
// The page. Your own program imports "@sluice/rpc/client" instead of
// "../../client.ts".

import {
  connectWebSocket,
  keepalive,
  ReconnectingClient,
  streams,
} from "../../client.ts";
import type { Services } from "./server.ts";

const client = new ReconnectingClient<Services>(
  (signal) => connectWebSocket("/rpc", { signal }),
  { streams: streams(), keepalive: keepalive() },
);

function show(id: string, text: string) {
  document.getElementById(id)!.textContent = text;
}

document.getElementById("form")!.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { value } = document.getElementById("name") as HTMLInputElement;
  try {
    show("greeting", await client.call("Hello.greet", value));
  } catch (error) {
    show("greeting", `${error}`);
  }
});

// A stream ends with its connection: each new connection starts one.
async function showTime() {
  const ticks = await client.call("Clock.ticks");
  await ticks.pipeTo(
    new WritableStream({ write: (tick) => show("time", tick) }),
  );
}

for await (const state of client.states()) {
  show("state", state);
  if (state === "ready") showTime().catch(() => show("time", "stopped"));
}
