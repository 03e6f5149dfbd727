// docs/limits.md has the limits and defaults that the sources have.

import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { toRetry } from "../../src/client/reconnect/backoff.ts";
import { GOB_LIMITS } from "../../src/netrpc/gob/input.ts";
import { DEFAULT_SERVER_LIMITS } from "../../src/serve/shared_limits.ts";
import { DEFAULT_LIMITS } from "../../src/wire/connection_limits.ts";

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

const PAGE = read("docs/limits.md");

const OPTIONS = ["option", "default", "limits", "when exceeded"];
const FIXED = ["what", "limit", "when exceeded"];

/** The first two cells of each line of the table under a heading. */
function table(heading: string, columns: string[]): [string, string][] {
  const [, section] = PAGE.split(`\n## ${heading}\n`);
  assert(section !== undefined, `there is no heading ${heading}`);
  const lines = section.split("\n## ")[0].split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  assertEquals(lines[0], columns, heading);
  return lines.slice(2).map(([name, value]) => [
    name.replaceAll("`", ""),
    value,
  ]);
}

const UNITS: Record<string, number> = {
  "": 1,
  bytes: 1,
  levels: 1,
  ms: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
};

/** The number in a cell such as `16 MiB`, `never`, or `256 MiB, or maxSendBuffer`. */
function quantity(cell: string): number {
  if (cell === "never" || cell === "no limit") return Infinity;
  const found = /^([\d,.]+) ?(\w*)$/.exec(cell.split(", or ")[0]);
  assert(found !== null && found[2] in UNITS, `no quantity: ${cell}`);
  return Number(found[1].replaceAll(",", "")) * UNITS[found[2]];
}

/** The same of each line, by its name; no name stands twice. */
function quantities(heading: string): Record<string, number> {
  const rows = table(heading, OPTIONS);
  const all = Object.fromEntries(
    rows.map(([name, cell]) => [name, quantity(cell)]),
  );
  assertEquals(Object.keys(all).length, rows.length, heading);
  return all;
}

/** The value of a constant, or of an option's default, as its source has it. */
function constant(file: string, name: string): number {
  const form = new RegExp(
    `(?:const |[{,]\\s*)${name}(?:: number)? = ([\\w *<]+)[;,]`,
    "g",
  );
  const found = [...read(file).matchAll(form)];
  assertEquals(found.length, 1, `${name} in ${file}`);
  const [, text] = found[0];
  assert(/^(0x[\da-f]+|[\d_]+)( (\*|<<) [\d_]+)*$/.test(text), text);
  const [first, ...factors] = text.split(" * ");
  const value = (digits: string) => Number(digits.replaceAll("_", ""));
  const shifted = first.split(" << ").map(value);
  const start = shifted.length > 1 ? shifted[0] << shifted[1] : shifted[0];
  return factors.map(value).reduce((a, b) => a * b, start);
}

test("the page has every limit of a connection once, with its default", () => {
  assertEquals(quantities("Each connection"), {
    ...DEFAULT_LIMITS,
    "close({ timeout })": constant(
      "src/connection/shutdown.ts",
      "DRAIN_TIME",
    ),
  });
});

test("the page has every limit of a server once, with its default", () => {
  assertEquals(quantities("A whole server"), { ...DEFAULT_SERVER_LIMITS });
});

test("the comments on limits name the defaults that the limits have", () => {
  const [, source] = read("src/types/connection.ts").split(
    "export interface Limits",
  );
  const form = /Default (`Infinity`|[\d,]+(?: [KM]iB)?)[^]*?readonly (\w+)/g;
  const named = Array.from(source.matchAll(form), ([, text, name]) => [
    name,
    text === "`Infinity`" ? Infinity : quantity(text),
  ]);
  assertEquals(Object.fromEntries(named), { ...DEFAULT_LIMITS });
});

test("the page has the defaults of a reconnecting client", () => {
  const { random: _, ...retry } = toRetry();
  const expected = Object.entries(retry).map(([name, value]) => [
    `retry.${name}`,
    value,
  ]);
  assertEquals(quantities("A reconnecting client"), {
    ...Object.fromEntries(expected),
    dialTimeout: constant(
      "src/client/reconnect/reconnecting_client.ts",
      "dialTimeout",
    ),
  });
});

test("the page has the defaults of a stage", () => {
  const file = "src/client/stage_options.ts";
  assertEquals(quantities("Stages"), {
    window: constant(file, "window"),
    windowBytes: constant(file, "windowBytes"),
  });
});

test("the page has the defaults of other protocols", () => {
  const { maxDepth, maxElements, maxExpansion } = GOB_LIMITS;
  assertEquals(quantities("Other protocols"), {
    "JSON-RPC: maxSendBuffer": constant(
      "src/jsonrpc/client.ts",
      "DEFAULT_MAX_SEND_BUFFER",
    ),
    "net/rpc: window": constant("src/netrpc/go_codec.ts", "DEFAULT_WINDOW"),
    "net/rpc: maxElements": maxElements,
    "net/rpc: maxExpansion": maxExpansion,
    "net/rpc: maxDepth": maxDepth,
  });
});

/** Where the sources have the limit of each line of the tables of fixed limits. */
const PLACES: Record<string, [string, string][]> = {
  "calls that a client sends before the peer's HELLO and authorize": [
    ["src/wire/protocol.ts", "EARLY_CALLS"],
  ],
  "request bytes of those calls": [
    ["src/wire/protocol.ts", "EARLY_BYTES"],
    ["src/wire/protocol.ts", "EARLY_MESSAGE"],
  ],
  "HELLO message": [["src/wire/protocol.ts", "MAX_HELLO"]],
  "credentials": [["src/wire/protocol.ts", "MAX_CREDENTIALS"]],
  "method name": [["src/wire/native_codec.ts", "MAX_METHOD"]],
  "metadata of a call, or of a reply": [
    ["src/wire/protocol.ts", "MAX_METADATA"],
  ],
  "trailers of a stream": [
    ["src/wire/protocol.ts", "MAX_METADATA"],
  ],
  "error code": [["src/wire/frame_writer.ts", "MAX_CODE"]],
  "error message": [
    ["src/wire/frame_writer.ts", "MAX_TEXT"],
    ["src/jsonrpc/codec.ts", "MAX_ERROR_TEXT"],
    ["src/netrpc/go_errors.ts", "MAX_TEXT"],
  ],
  "depth to which a value is searched for what JSON would lose": [
    ["src/wire/values/to_json.ts", "MAX_DEPTH"],
  ],
  "window of one stream, after it has grown": [
    ["src/wire/protocol.ts", "MAX_WINDOW"],
  ],
  "stream item that is not bytes": [["src/wire/protocol.ts", "MAX_ITEM"]],
  "payload of one stream frame": [["src/wire/protocol.ts", "MAX_DATA"]],
  "END, STOP and CREDIT frames in a row that change nothing, plus 8 for each stream":
    [["src/streams/stream_table.ts", "MAX_IDLE"]],
  "GOAWAY frames from one peer": [[
    "src/connection/shutdown.ts",
    "MAX_GOAWAYS",
  ]],
  "messages handled in one turn of the event loop": [
    ["src/connection/reader.ts", "MESSAGES_PER_TURN"],
  ],
  "size from which messages are scheduled as large": [
    ["src/base/large_reads.ts", "LARGE"],
  ],
  "bytes of large messages in one turn of the event loop": [
    ["src/base/large_reads.ts", "PER_TURN"],
  ],
  "bytes that a transport buffers in each direction": [
    ["src/transport/read_half.ts", "BUFFER"],
  ],
  "accepted connections that wait for a listener's iterator": [
    ["src/transport/accept_queue.ts", "MAX_UNACCEPTED"],
  ],
  "time for a TLS handshake with a listener": [
    ["src/transport/sockets/listener_backend.ts", "HANDSHAKE_TIMEOUT"],
  ],
  "Deno: TLS connections that have not finished their handshake": [
    ["src/transport/sockets/deno_listener.ts", "MAX_HANDSHAKES"],
  ],
  "WebSocket: bytes of a message that is sent": [
    ["src/transport/web/message_transport.ts", "MESSAGE_SIZE"],
  ],
  "WebSocket: bytes of a message that is accepted": [
    ["src/transport/web/message_transport.ts", "MAX_MESSAGE"],
  ],
  "WebSocket: bytes that wait in the socket": [
    ["src/transport/web/message_transport.ts", "MAX_BUFFERED"],
  ],
  "WebSocket that cannot pause: bytes that wait to be read, plus 128 for each message":
    [
      ["src/transport/web/message_transport.ts", "MAX_UNREAD"],
    ],
  "WebSocket: time between two looks at bufferedAmount": [
    ["src/transport/web/message_transport.ts", "LAST_POLL"],
  ],
  "WebSocket of ws or Bun: time for the peer to answer a close": [
    ["src/transport/web/message_transport.ts", "CLOSE_TIMEOUT"],
  ],
  "message port: bytes that are not acknowledged, plus 256 for each message": [
    ["src/transport/web/message_port.ts", "WINDOW"],
  ],
  "message port: bytes of a message": [
    ["src/transport/web/message_port.ts", "MAX_MESSAGE"],
  ],
  "connections rejected by a full server that are still being closed": [
    ["src/serve/server.ts", "MAX_REJECTED"],
  ],
  "flush: time to write what is left when a connection ends": [
    ["src/connection/linger.ts", "FLUSH_TIME"],
  ],
  "linger: time to wait for the peer's FIN after the local FIN": [
    ["src/connection/linger.ts", "LINGER_TIME"],
  ],
  "linger: bytes that are read and discarded meanwhile": [
    ["src/connection/linger.ts", "LINGER_BYTES"],
  ],
  "flush and linger together, once close({ timeout }) has expired": [
    ["src/connection/shutdown.ts", "FINISH_TIME"],
  ],
  "time to wait for the FIN of a peer that sent GOAWAY with an error code": [
    ["src/connection/shutdown.ts", "FAILED_TIME"],
  ],
  "time without an open call, once the peer has sent GOAWAY": [
    ["src/connection/shutdown.ts", "DRAINING_IDLE_TIME"],
  ],
};

const PLACES_OF_OTHERS: typeof PLACES = {
  "JSON-RPC: messages in a batch": [["src/jsonrpc/batch.ts", "MAX_BATCH"]],
  "JSON-RPC: header of one message": [["src/jsonrpc/framing.ts", "MAX_HEADER"]],
  "JSON-RPC: replies that wait to be sent as one batch": [
    ["src/jsonrpc/outgoing.ts", "MAX_BATCHED_BYTES"],
  ],
  "net/rpc over HTTP: head of a request or response": [
    ["src/netrpc/http.ts", "MAX_HEAD"],
  ],
  "net/rpc over HTTP: time for the handshake": [
    ["src/netrpc/handshake.ts", "HANDSHAKE_TIME"],
  ],
  "gob: types that a peer describes": [
    ["src/netrpc/gob/wire_types.ts", "MAX_TYPES"],
  ],
  "gob: bytes of those descriptions": [
    ["src/netrpc/gob/wire_types.ts", "MAX_TYPE_BYTES"],
  ],
  "gob: types made from plain values, on one connection": [
    ["src/netrpc/gob/encoder.ts", "MAX_INFERRED_TYPES"],
  ],
};

for (
  const [heading, places] of [
    ["Fixed limits", PLACES],
    ["Fixed limits of other protocols", PLACES_OF_OTHERS],
  ] as const
) {
  test(`${heading.toLowerCase()} on the page are those of the sources`, () => {
    const rows = table(heading, FIXED);
    assertEquals(rows.map(([what]) => what), Object.keys(places));
    for (const [what, cell] of rows) {
      for (const [file, name] of places[what]) {
        assertEquals(constant(file, name), quantity(cell), what);
      }
    }
  });
}
