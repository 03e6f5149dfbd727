// README's tables of limits and defaults are what the sources say.

import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { toRetry } from "../../src/client/reconnect/dialer.ts";
import { DEFAULT_LIMITS } from "../../src/wire/limits.ts";

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

const README = read("README.md");

/** The cells of a table's lines, by what its columns are called. */
function table(...heading: string[]): string[][] {
  const columns = heading.map((name) => `\\| ${name} +`).join("");
  const head = new RegExp(`^${columns}\\|\\n\\|[-: |]+\\n`, "m");
  const found = head.exec(README);
  assert(found !== null, `there is no table of ${heading}`);
  const lines = README.slice(found.index + found[0].length).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(0, end).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
}

const UNITS: Record<string, number> = {
  "": 1,
  bytes: 1,
  ms: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
};

/** What a cell says, such as `16 MiB` or `never`. */
function quantity(cell: string): number {
  if (cell === "never" || cell === "no limit") return Infinity;
  const found = /^([\d,.]+) ?(\w*)$/.exec(cell);
  assert(found !== null && found[2] in UNITS, `no quantity: ${cell}`);
  return Number(found[1].replaceAll(",", "")) * UNITS[found[2]];
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

test("README's table has every limit of a connection once, with its default", () => {
  const rows = table("option", "default", "bounds", "past it").filter((
    [name],
  ) => name.replaceAll("`", "") in DEFAULT_LIMITS);
  const told = rows.map(([name, cell]) => [
    name.replaceAll("`", ""),
    quantity(cell),
  ]);
  const names = Object.keys(DEFAULT_LIMITS);
  assertEquals(told.map(([name]) => name).sort(), names.sort());
  for (const [name, value] of told) {
    assertEquals(value, DEFAULT_LIMITS[name as keyof typeof DEFAULT_LIMITS]);
  }
});

test("the comments on limits tell the defaults they have", () => {
  const [, source] = read("src/types/connection.ts").split(
    "export interface Limits",
  );
  const form = /Default (`Infinity`|[\d,]+(?: [KM]iB)?)[^]*?readonly (\w+)/g;
  const told = Array.from(source.matchAll(form), ([, text, name]) => [
    name,
    text === "`Infinity`" ? Infinity : quantity(text),
  ]);
  assertEquals(Object.fromEntries(told), { ...DEFAULT_LIMITS });
});

test("README's table of a reconnecting client has its defaults", () => {
  const rows = table("option", "default", "what it says");
  const told = new Map(rows.map(([name, cell]) => [name, cell]));
  const { base, factor, cap, attempts, ...lasting } = toRetry();
  const [wait, growth] = told.get("`retry.base`, `factor`")?.split(", ") ?? [];
  assertEquals([quantity(wait), quantity(growth)], [base, factor]);
  assertEquals(quantity(told.get("`retry.cap`") ?? ""), cap);
  assertEquals(quantity(told.get("`retry.attempts`") ?? ""), attempts);
  for (const name of ["stableAfter", "fatalAttempts"] as const) {
    assertEquals(quantity(told.get(`\`retry.${name}\``) ?? ""), lasting[name]);
  }
  assertEquals(
    quantity(told.get("`dialTimeout`") ?? ""),
    constant("src/client/reconnect/reconnecting_client.ts", "dialTimeout"),
  );
});

/** Where the limit of each line of the second table stands. */
const PLACES: Record<string, [string, string][]> = {
  "calls before the peer's HELLO, or its `authorize`": [
    ["src/wire/hello.ts", "EARLY_CALLS"],
  ],
  "bytes of those": [
    ["src/wire/hello.ts", "EARLY_BYTES"],
    ["src/wire/hello.ts", "EARLY_MESSAGE"],
  ],
  "a HELLO": [["src/wire/hello.ts", "MAX_HELLO"]],
  "credentials": [["src/wire/hello.ts", "MAX_CREDENTIALS"]],
  "a method's name": [["src/wire/native_codec.ts", "MAX_METHOD"]],
  "metadata of a call, or of an answer": [[
    "src/wire/fields.ts",
    "MAX_METADATA",
  ]],
  "an error's code": [["src/wire/frame_writer.ts", "MAX_CODE"]],
  "an error's message": [["src/wire/frame_writer.ts", "MAX_TEXT"]],
  "messages handled in one turn of the event loop": [
    ["src/connection/reader.ts", "MESSAGES_PER_TURN"],
  ],
  "writing what is left when a connection ends": [
    ["src/connection/linger.ts", "FLUSH_TIME"],
  ],
  "waiting for the peer's FIN after our own": [
    ["src/connection/linger.ts", "LINGER_TIME"],
  ],
  "bytes that come meanwhile": [["src/connection/linger.ts", "LINGER_BYTES"]],
  "after the time that `close` gives, flushing and lingering in all": [
    ["src/connection/shutdown_states.ts", "GOODBYE_TIME"],
  ],
  "the FIN of a peer whose GOAWAY has a code": [
    ["src/connection/shutdown_states.ts", "FAILED_TIME"],
  ],
  "a peer that said GOAWAY and has no call either way": [
    ["src/connection/shutdown_states.ts", "LEAVING_IDLE"],
  ],
  "GOAWAYs of one peer": [["src/connection/shutdown.ts", "MAX_GOAWAYS"]],
  "END, STOP and CREDIT in a row that change nothing, 8 more for each stream so far":
    [["src/streams/stream_table.ts", "MAX_IDLE"]],
  "bytes from which a message is parsed by turns": [[
    "src/connection/large_reads.ts",
    "LARGE",
  ]],
  "bytes of such in one turn of the event loop, or a single one": [
    ["src/connection/large_reads.ts", "PER_TURN"],
  ],
  "levels of a value that are searched for what JSON would lose": [
    ["src/wire/to_json.ts", "MAX_DEPTH"],
  ],
  "bytes a transport buffers each way": [[
    "src/transport/read_half.ts",
    "BUFFER",
  ]],
  "accepted connections that wait for a listener's iterator": [
    ["src/transport/listen.ts", "MAX_UNACCEPTED"],
  ],
  "a TLS handshake with a listener": [
    ["src/transport/listener_backend.ts", "HANDSHAKE_TIMEOUT"],
  ],
  "Deno: TLS connections that have not finished their handshake": [
    ["src/transport/deno_listener.ts", "MAX_HANDSHAKES"],
  ],
  "a stage's `window`": [["src/client/stage_options.ts", "window"]],
  "a stage's `windowBytes`": [["src/client/stage_options.ts", "windowBytes"]],
  "JSON-RPC: `maxSendBuffer`": [
    ["src/jsonrpc/client.ts", "MAX_UNSENT"],
  ],
  "JSON-RPC: messages in a batch": [["src/jsonrpc/batch.ts", "MAX_BATCH"]],
  "JSON-RPC: a message's header": [["src/jsonrpc/framing.ts", "MAX_HEADER"]],
  "Go over HTTP: the head of request or response": [
    ["src/netrpc/http.ts", "MAX_HEAD"],
  ],
  "Go over HTTP: its handshake": [[
    "src/netrpc/handshake.ts",
    "HANDSHAKE_TIME",
  ]],
  "gob: bytes that a message's values take, beyond 1 MiB, for each byte of it (`maxExpansion`)":
    [["src/netrpc/gob/input.ts", "MAX_EXPANSION"]],
};

test("README's table of fixed limits has what the sources have", () => {
  const rows = table("what", "limit", "past it");
  assertEquals(rows.map(([what]) => what), Object.keys(PLACES));
  for (const [what, cell] of rows) {
    for (const [file, name] of PLACES[what]) {
      assertEquals(constant(file, name), quantity(cell), what);
    }
  }
});
