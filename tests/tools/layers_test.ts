// The check of the layers finds each kind of fault in a made-up tree, and nothing in a clean one.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  ALLOWED,
  declarations,
  findCycles,
  type Import,
  type Info,
  inspect,
  MAX_FILES,
  readImports,
  shortestCycle,
} from "../../tools/layers.ts";
import { run, type RunResult } from "../../tools/process.ts";

const ROOT = "file:///project/";
type Tree = Readonly<Record<string, string>>;

/** A tree in which everything is in order: every room imports what it may. */
const CLEAN: Tree = {
  "mod.ts": 'export * from "./src/client/client.ts";\n',
  "src/base/errors.ts": "export class RpcError extends Error {}\n",
  "src/wire/frame.ts": 'import "../base/errors.ts";\n',
  "src/streams/table.ts": 'import "../wire/frame.ts";\n',
  "src/call/call.ts": 'import type {} from "../streams/table.ts";\n',
  "src/connection/connection.ts": 'import "../call/call.ts";\n',
  "src/client/client.ts": 'import "./reconnect/dial.ts";\n',
  "src/client/reconnect/dial.ts":
    'import "../../connection/connection.ts";\nimport "../../streams/table.ts";\n',
};

/** What `deno info` prints of a tree whose imports stand on one line each. */
function infoOf(tree: Tree): Info {
  const modules = Object.entries(tree).map(([file, source]) => ({
    specifier: ROOT + file,
    dependencies: source.split("\n").flatMap((text, line) => {
      const found = /^(?:import|export)( type)?\b(?:.* from)? "(.*)";$/.exec(
        text,
      );
      if (!found) return [];
      const specifier = new URL(found[2]!, ROOT + file).href;
      const resolved = { specifier, span: { start: { line } } };
      const kind = found[1] ? "type" : "code";
      return [{ specifier: found[2]!, [kind]: resolved }];
    }),
  }));
  return { modules };
}

/** What the tool prints of the clean tree with these files added or replaced. */
function check(added: Tree): { ok: boolean; lines: readonly string[] } {
  const tree = { ...CLEAN, ...added };
  const sources = Object.entries(tree).filter(([file]) =>
    file.startsWith("src/")
  );
  return inspect(infoOf(tree), ROOT, new Map(sources));
}

/** Checks that the tree is refused, with these lines before the two sums. */
function assertRefused(added: Tree, ...expected: string[]): void {
  const { ok, lines } = check(added);
  assertEquals([lines.slice(0, -2), ok], [expected, false]);
}

test("a clean tree passes, and its imports are counted", () => {
  assertEquals(check({}), {
    ok: true,
    lines: [
      "7 files, 0 misplaced, 0 type names declared again",
      "8 imports, 0 against the layers, 0 cycles",
    ],
  });
});

test("the table names every room it permits, and no room may import one above it", () => {
  const rooms = Object.keys(ALLOWED);
  for (const [room, allowed] of Object.entries(ALLOWED)) {
    for (const other of allowed) {
      const at = rooms.indexOf(other.replace(/^type:/, ""));
      assert(at >= 0, `${room} names ${other}`);
      // The other protocols stand beside the client and the server.
      assert(at < rooms.indexOf(room), `${room} imports ${other} above it`);
    }
  }
});

test("an import of a room above is refused, with file and line", () => {
  const added = {
    "src/wire/codec.ts": '// Two\n// lines.\nimport "../call/call.ts";\n',
  };
  assertRefused(
    added,
    "src/wire/codec.ts:3: wire may not import call (src/call/call.ts)",
  );
  assertEquals(
    check(added).lines.at(-1),
    "9 imports, 1 against the layers, 0 cycles",
  );
});

test("a type import of a room above is refused as well", () => {
  assertRefused(
    { "src/base/bytes.ts": 'import type { A } from "../wire/frame.ts";\n' },
    "src/base/bytes.ts:1: base may not import wire (src/wire/frame.ts)",
  );
});

test("where types alone are permitted, a value import is refused", () => {
  assertRefused(
    { "src/call/call.ts": 'import { A } from "../streams/table.ts";\n' },
    "src/call/call.ts:1: call may import streams as types only (src/streams/table.ts)",
  );
});

test("a folder in a room keeps the rules of the room", () => {
  assertRefused(
    {
      "src/client/reconnect/dial.ts": 'import "../../serve/server.ts";\n',
      "src/serve/server.ts": "",
    },
    "src/client/reconnect/dial.ts:1: client may not import serve (src/serve/server.ts)",
  );
});

test("src may import nothing outside of src: no entry point, no module of Node", () => {
  assertRefused(
    { "src/call/call.ts": 'import "../../mod.ts";\nimport "node:net";\n' },
    "src/call/call.ts:1: call may not import mod.ts, which is in no room of src",
    "src/call/call.ts:2: call may not import node:net, which is in no room of src",
    "mod.ts:1: 5 files import each other in a cycle:",
    "  mod.ts:1 imports src/client/client.ts",
    "  src/client/client.ts:1 imports src/client/reconnect/dial.ts",
    "  src/client/reconnect/dial.ts:1 imports src/connection/connection.ts",
    "  src/connection/connection.ts:1 imports src/call/call.ts",
    "  src/call/call.ts:1 imports mod.ts",
  );
});

test("a cycle of type imports inside one room is refused", () => {
  const added = {
    "src/base/a.ts": 'import type {} from "./b.ts";\n',
    "src/base/b.ts": '\nimport type {} from "./c.ts";\n',
    "src/base/c.ts": 'import type {} from "./a.ts";\n',
  };
  assertRefused(
    added,
    "src/base/a.ts:1: 3 files import each other in a cycle:",
    "  src/base/a.ts:1 imports src/base/b.ts",
    "  src/base/b.ts:2 imports src/base/c.ts",
    "  src/base/c.ts:1 imports src/base/a.ts",
  );
  assertEquals(
    check(added).lines.at(-1),
    "11 imports, 0 against the layers, 1 cycles",
  );
});

test("a file that imports itself is a cycle", () => {
  assertRefused(
    { "src/base/a.ts": 'import "./a.ts";\n' },
    "src/base/a.ts:1: the file imports itself",
  );
});

test("a file in the root of src is refused, and what it imports", () => {
  assertRefused(
    { "src/misc.ts": 'import "./base/errors.ts";\n' },
    "src/misc.ts:1: no file may stand in the root of src: move it into a room",
    "src/misc.ts:1: the root of src may not import base (src/base/errors.ts)",
  );
});

test("a room that the table does not name is refused, whatever its name", () => {
  for (const room of ["utils", "toString", "constructor"]) {
    assertRefused(
      { [`src/${room}/x.ts`]: "" },
      `src/${room}/x.ts:1: ${room} is no room of the table`,
    );
  }
});

test("a folder may have 20 files, and no more; its own folders do not count", () => {
  const files = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`src/netrpc/f${i}.ts`, ""]),
    );
  const below = { "src/netrpc/gob/a.ts": "", "src/netrpc/gob/b.ts": "" };
  assert(check({ ...files(MAX_FILES), ...below }).ok);
  assertRefused(
    files(MAX_FILES + 1),
    "src/netrpc:1: 21 files in one folder, at most 20",
  );
});

test("a type name declared in two files is refused, exported or not", () => {
  assertRefused(
    {
      "src/base/list.ts": "interface Node {\n}\nexport type Text = string;\n",
      "src/wire/text.ts": "\nexport class Text {}\ntype Node<T> = T;\n",
    },
    "src/wire/text.ts:3: type Node is declared in src/base/list.ts:1, too",
    "src/wire/text.ts:2: type Text is declared in src/base/list.ts:3, too",
  );
});

test("an interface may merge with a class of its own file", () => {
  const merged = "export interface Client {}\nexport class Client {}\n";
  assert(check({ "src/client/client.ts": merged }).ok);
});

test("declarations are those of the top level, not of comments, bodies or imports", () => {
  const source = [
    "/**",
    "export class InAComment {}",
    " */",
    'import { type Imported } from "./x.ts";',
    'export type { Again } from "./y.ts";',
    'export type * from "./z.ts";',
    "export abstract class A<T> {",
    "  type = 1;",
    "}",
    "function f() {",
    "  class Inner {}",
    "}",
    "export default class D {}",
    "export declare class E {}",
    "type $F =",
    "  | string;",
    "const type = 1;",
    "interface G extends E {}",
  ].join("\n");
  assertEquals(declarations(source), [
    { name: "A", line: 7 },
    { name: "D", line: 13 },
    { name: "E", line: 14 },
    { name: "$F", line: 15 },
    { name: "G", line: 18 },
  ]);
});

test("an import that cannot be resolved, and a file that cannot be read, are refused", () => {
  const info: Info = {
    modules: [
      { specifier: `${ROOT}src/base/a.ts`, error: "no such file" },
      {
        specifier: `${ROOT}src/base/b.ts`,
        dependencies: [{
          specifier: "x",
          code: { error: "not relative", span: { start: { line: 4 } } },
        }],
      },
    ],
  };
  const { lines, ok } = inspect(info, ROOT, new Map());
  assertEquals(lines.slice(0, -2), [
    "src/base/a.ts:1: no such file",
    "src/base/b.ts:5: x: not relative",
  ]);
  assert(!ok);
});

test("imports are read with their kinds, and those of other projects left out", () => {
  const info: Info = {
    modules: [
      {
        specifier: `${ROOT}src/base/a%20b.ts`,
        dependencies: [{
          specifier: "./c.ts",
          code: { specifier: `${ROOT}src/base/c.ts` },
          type: {
            specifier: `${ROOT}src/base/c.ts`,
            span: { start: { line: 1 } },
          },
        }],
      },
      {
        specifier: "file:///tmp/all.ts",
        dependencies: [{
          specifier: "x",
          code: { specifier: `${ROOT}mod.ts` },
        }],
      },
    ],
  };
  const [from, to] = ["src/base/a b.ts", "src/base/c.ts"];
  assertEquals(readImports(info, ROOT), {
    imports: [
      { from, to, line: 1, type: false },
      { from, to, line: 2, type: true },
    ],
    broken: [],
  });
});

test("separate cycles are listed separately, each with a shortest circle", () => {
  const edge = (pair: string): Import => {
    const [from, to] = pair.split(">") as [string, string];
    return { from, to, line: 1, type: false };
  };
  // Two groups, connected one way; d and e hang on without being part of any.
  const imports = ["a>b", "b>c", "c>a", "b>a", "c>x", "x>y", "y>x", "d>a"]
    .concat(["y>e"]).map(edge);
  const cycles = findCycles(imports);
  assertEquals(cycles, [["a", "b", "c"], ["x", "y"]]);
  const path = shortestCycle(cycles[0]!, imports);
  assertEquals(path.map(({ from, to }) => from + to), ["ab", "ba"]);
  assertThrows(() => shortestCycle(["d"], imports), Error, "Cannot find");
});

/** Writes a tree into a folder, and runs the program on it. */
async function runOn(dir: string, tree: Tree): Promise<RunResult> {
  for (const [file, source] of Object.entries(tree)) {
    await mkdir(dirname(join(dir, file)), { recursive: true });
    await writeFile(join(dir, file), source);
  }
  const args = ["run", "-A", "--no-check", "tools/layers.ts", "--root", dir];
  return await run(process.execPath, args, { timeout: 30_000 });
}

test("the program reads a tree on disk, its entry points included, and exits with 1 if anything is wrong", async (t) => {
  if (!("Deno" in globalThis)) return t.skip("it runs deno info");
  const dir = await mkdtemp(join(tmpdir(), "sluice layers-"));
  try {
    const config = JSON.stringify({ exports: { ".": "./mod.ts" } });
    const clean = await runOn(dir, { ...CLEAN, "deno.json": config });
    assertEquals([clean.fault, clean.stdout.split("\n")], ["", [
      "7 files, 0 misplaced, 0 type names declared again",
      "8 imports, 0 against the layers, 0 cycles",
      "",
    ]]);
    // No file imports this one; it imports types in each of the forms.
    const lone = "src/base/lone.ts";
    const wrong = await runOn(dir, {
      [lone]: [
        'import type { A } from "../wire/frame.ts";',
        'import { type B } from "../wire/frame.ts";',
        'export type * from "../types/call.ts";',
        'export type C = import("../call/call.ts").D;',
      ].join("\n"),
      "src/types/call.ts": "",
    });
    assertEquals([wrong.fault, wrong.stdout.split("\n")], ["exit status 1", [
      `${lone}:2: base may not import wire (src/wire/frame.ts)`,
      `${lone}:1: base may not import wire (src/wire/frame.ts)`,
      `${lone}:3: base may not import types (src/types/call.ts)`,
      `${lone}:4: base may not import call (src/call/call.ts)`,
      "9 files, 0 misplaced, 0 type names declared again",
      "12 imports, 4 against the layers, 0 cycles",
      "",
    ]]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
