// `deno task size`: the faults it finds in a bundle, how it reads entry points, and its tables.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  type Bundle,
  faultsOf,
  featureTable,
  moduleTable,
  programOf,
  roomsOf,
  type Row,
  sourceOf,
  stayingExports,
} from "../../tools/size.ts";

const ROW: Row = {
  name: "slim",
  from: "@sluice/rpc/client",
  names: ["Client", "streams"],
  limit: 100,
  without: ["serve", "client/reconnect"],
};

function made(change: Partial<Bundle>): Bundle {
  const modules = new Map([["src/client/client", 60], ["src/call/call", 80]]);
  return { code: "", minified: 140, gzipped: 100, modules, ...change };
}

test("a bundle within its limit that carries only what it may is right", () => {
  assertEquals(faultsOf(ROW, made({}), "source"), []);
});

test("a bundle over its limit is wrong by the bytes above it", () => {
  assertEquals(faultsOf(ROW, made({ gzipped: 107 }), "package"), [
    "slim, from package: 107 bytes gzip, 7 over the limit",
  ]);
});

test("a bundle that carries a room it must not is wrong, also for a room in a room", () => {
  const modules = new Map([
    ["src/client/client", 60],
    ["src/client/reconnect/dial", 10],
    ["src/serve/runner", 5],
    ["src/serve/scheduler", 4],
  ]);
  assertEquals(faultsOf(ROW, made({ modules }), "source"), [
    "slim, from source: carries 9 bytes of serve: src/serve/runner,src/serve/scheduler",
    "slim, from source: carries 10 bytes of client/reconnect: src/client/reconnect/dial",
  ]);
});

test("a client alone with a text of what it does not use is wrong, other bundles may have it", () => {
  const bundle = made({ code: "throw Error('Cannot observe: no list')" });
  assertEquals(faultsOf({ ...ROW, names: ["Client"] }, bundle, "source"), [
    'slim, from source: carries ["Cannot observe"]',
  ]);
  assertEquals(faultsOf(ROW, bundle, "source"), []);
});

test("a protocol is in the bundles of its own entry point, and in no other", () => {
  const from = "@sluice/rpc/jsonrpc";
  const code = '"$/cancelRequest"';
  assertEquals(faultsOf(ROW, made({ code }), "source"), [
    "slim, from source: carries the protocol of @sluice/rpc/jsonrpc",
  ]);
  assertEquals(faultsOf({ ...ROW, from }, made({ code }), "source"), []);
  assertEquals(faultsOf({ ...ROW, from }, made({}), "source"), [
    'slim, from source: lacks "$/cancelRequest", which its protocol must have',
  ]);
});

test("a row's program exports what it names, or everything", () => {
  assertEquals(
    [programOf(ROW), programOf({ ...ROW, names: [] })],
    [
      'export { Client, streams } from "@sluice/rpc/client";\n',
      'export * from "@sluice/rpc/client";\n',
    ],
  );
});

test("bytes are summed by room, and by the folders in a room", () => {
  const modules = new Map([
    ["src/client/client", 1],
    ["src/client/reconnect/dial", 2],
    ["src/client/reconnect/resend", 4],
    ["mod", 8],
  ]);
  assertEquals([...roomsOf(modules)], [["client", 7], ["client/reconnect", 6]]);
});

test("the table has a line for each room and module, the largest first", () => {
  const second = made({ modules: new Map([["src/wire/hello", 1234]]) });
  const lines = moduleTable([ROW, { ...ROW, name: "full" }], [
    made({}),
    second,
  ]);
  assertEquals(lines.map((line) => line.replace(/ +/g, " ")), [
    "A slim",
    "B full",
    "",
    "room A B",
    "wire 1,234",
    "call 80 ",
    "client 60 ",
    "",
    "module A B",
    "src/wire/hello 1,234",
    "src/call/call 80 ",
    "src/client/client 60 ",
  ]);
});

test("the table of features has what each adds to the slim client, in kilobytes", () => {
  const lines = featureTable([["`streams()`", 21_960]], 17_450, [
    ["all", 22_049],
  ]);
  assertEquals(lines, [
    "| import from `@sluice/rpc/client` | kB, gzip |",
    "| -------------------------------- | -------: |",
    "| `Client`                         |     17.4 |",
    "| `streams()`                      |    + 4.5 |",
    "| all                              |     22.0 |",
  ]);
});

test("the file that an entry point takes a name from is found, for values only", () => {
  const entry = [
    'export { Client, type ClientOptions } from "./src/a.ts";',
    "export {",
    "  type Frame,",
    "  framed,",
    '} from "./src/b.ts";',
    'export type { Peer } from "./src/c.ts";',
  ].join("\n");
  assertEquals(
    ["Client", "framed", "Peer", "Frame", "frame"].map((name) =>
      sourceOf(entry, name)
    ),
    ["./src/a.ts", "./src/b.ts", undefined, undefined, undefined],
  );
});

test("the exports that stay are those which the bundle declares at its top level", () => {
  const code = [
    "var RpcError = class extends Error {",
    "  Client;",
    "};",
    "function framed() {",
    "  var Server = 1;",
    "}",
    "class Stage {}",
  ].join("\n");
  const exports = ["Client", "framed", "RpcError", "Server", "Stage"];
  assertEquals(stayingExports(code, exports), ["framed", "RpcError", "Stage"]);
});
