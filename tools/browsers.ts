/**
 * Checks that `src/` needs no newer browser than the floor: `deno task browsers`.
 *
 * - What the platform has must be in every browser of `FLOOR`, by MDN's
 *   compatibility data. `MAY_LACK` has what may be missing.
 * - The syntax must need no lowering: esbuild must change nothing for the floor.
 * - `docs/guides/browsers.md` must state the floor.
 *
 * A feature that the data does not have fails the check, too: it gets an entry in
 * the tables of `tools/browsers/compat.ts`.
 *
 * @module
 */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { stop, transform } from "esbuild";
import {
  type BrowserName,
  type Feature,
  featureOf,
} from "./browsers/compat.ts";
import { findUses } from "./browsers/uses.ts";
import { ROOT, tool, usage } from "./process.ts";
import { ensureInstalled } from "./setup.ts";

const USAGE = `Usage: deno task browsers [options]

  --list        print every feature that src/ uses, newest in Safari first
  --help        print this`;

/** The oldest browsers that the library supports. The change that raises one says why. */
const FLOOR: Record<BrowserName, string> = {
  chrome: "119",
  chrome_android: "119",
  edge: "119",
  firefox: "121",
  firefox_android: "121",
  safari: "17.4",
  safari_ios: "17.4",
};

/** The page that states the floor, and its words. */
const PAGE = "docs/guides/browsers.md";
const WORDS =
  `Chrome and Edge ${FLOOR.chrome}, Firefox ${FLOOR.firefox}, Safari ${FLOOR.safari}`;

/** The entry points that a page can import. */
const ENTRIES = [
  ...["client.ts", "mod.ts", "jsonrpc.ts", "netrpc.ts", "testing.ts"],
];

/** Features that a browser may lack, and what happens then. */
const MAY_LACK: Record<string, string> = {
  "javascript.builtins.ArrayBuffer.resizable":
    "no buffer is resizable then, which is what the code concludes",
  "javascript.builtins.Symbol.asyncDispose":
    "a method has the name undefined, and only `await using` calls it",
};

/** A feature, and where `src/` uses it. */
interface Use {
  readonly name: string;
  readonly feature: Feature;
  readonly places: string[];
}

/** Compares versions such as 17.4. */
function isNewer(version: string, floor: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [floorMajor = 0, floorMinor = 0] = floor.split(".").map(Number);
  return major > floorMajor || major === floorMajor && minor > floorMinor;
}

/** What the platform must have, and what is wrong with it. */
function checkFeatures(): { uses: Use[]; faults: string[] } {
  const uses: Use[] = [];
  const faults: string[] = [];
  const lacked = new Set(Object.keys(MAY_LACK));
  for (const [name, places] of findUses(ENTRIES)) {
    const feature = featureOf(name);
    if (feature === "plain") continue;
    if (feature === undefined) {
      faults.push(`${name} is not in the compatibility data: ${places[0]}`);
      continue;
    }
    uses.push({ name, feature, places });
    if (MAY_LACK[feature.path] !== undefined) {
      lacked.delete(feature.path);
      continue;
    }
    for (const [browser, floor] of Object.entries(FLOOR)) {
      const since = feature.since(browser as BrowserName);
      if (since !== undefined && !isNewer(since, floor)) continue;
      const has = since === undefined ? "lacks it" : `has it since ${since}`;
      faults.push(
        `${name}: ${browser} ${has}, the floor is ${floor}: ${
          places.join(", ")
        }`,
      );
    }
  }
  for (const path of lacked) faults.push(`MAY_LACK: nothing uses ${path}`);
  return { uses, faults };
}

/** Names the source files whose syntax some browser of the floor lacks. */
async function checkSyntax(): Promise<string[]> {
  const faults: string[] = [];
  const target = ["chrome", "edge", "firefox", "safari"].map((name) =>
    name + FLOOR[name as BrowserName]
  );
  target.push(`ios${FLOOR.safari_ios}`);
  const files = await readdir(join(ROOT, "src"), { recursive: true });
  for (const file of files.filter((name) => name.endsWith(".ts"))) {
    const source = await readFile(join(ROOT, "src", file), "utf8");
    const compile = (to: string | string[]) =>
      transform(source, {
        loader: "ts",
        target: to,
        // By esbuild only the browsers with the newest edition of Unicode have them.
        supported: { "regexp-unicode-property-escapes": true },
        logLevel: "silent",
      })
        .then(({ code }) => code, (error: Error) => error.message);
    if (await compile("esnext") !== await compile(target)) {
      faults.push(`src/${file} has syntax that ${target.join(", ")} lack`);
    }
  }
  return faults;
}

async function checkPage(): Promise<string[]> {
  const text = await readFile(join(ROOT, PAGE), "utf8");
  if (text.replace(/\s+/g, " ").includes(WORDS)) return [];
  return [`${PAGE} does not say "${WORDS}"`];
}

/** Prints the features by the version of Safari that has them. */
function list(uses: Use[]): void {
  const versions = ({ feature }: Use) =>
    (["chrome", "firefox", "safari"] as const)
      .map((browser) => (feature.since(browser) ?? "none").padStart(7)).join(
        "",
      );
  const age = (use: Use) => Number(use.feature.since("safari") ?? Infinity);
  console.log(" chrome firefox safari");
  const lines = uses.toSorted((a, b) => age(b) - age(a))
    .map((use) => `${versions(use)}  ${use.feature.path}`);
  for (const line of new Set(lines)) console.log(line);
}

function options() {
  try {
    return parseArgs({
      options: {
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const values = options();
  if (values.help) return console.log(USAGE);
  await ensureInstalled(join(ROOT, "tools", "browsers"));
  const { uses, faults } = checkFeatures();
  if (values.list) list(uses);
  faults.push(...await checkSyntax(), ...await checkPage());
  await stop();
  for (const fault of faults) console.log(fault);
  console.log(
    `${
      new Set(uses.map(({ feature }) => feature.path)).size
    } features of the platform, ${faults.length} faults; the floor is ${WORDS}`,
  );
  if (faults.length > 0) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
