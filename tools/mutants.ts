/**
 * Puts one mistake after the other into a copy of `src/`, and checks that the
 * simulation, the faults at every byte or the hostile peers catch it:
 * `deno task mutants [NAME ...]`.
 *
 * @module
 */

import {
  cp,
  mkdtemp,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { currentBin } from "./floors.ts";
import { type Mutant, MUTANTS } from "./mutants/list.ts";
import { ROOT, run, tool } from "./process.ts";

/** What must find a mistake, in this order; few seeds and offsets are enough. */
const CATCHERS = [
  { name: "simulation", args: ["tests/sim/main.ts", "--seeds=800"] },
  { name: "cuts", args: ["tests/chaos/cuts.ts", "--every=29"] },
  { name: "hostile", args: ["tests/sim/main.ts", "--hostile", "--seeds=400"] },
] as const;
const LIMIT = 120_000;
const COPIED = ["src", "tests", "mod.ts", "package.json"];

/** A copy of what the programs need. */
async function copy(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "mutant-"));
  for (const name of COPIED) {
    await cp(join(ROOT, name), join(dir, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(dir, "node_modules"));
  return dir;
}

/** A source with the mistake in it. */
async function mutate({ name, file, find, replace }: Mutant): Promise<string> {
  const source = await readFile(join(ROOT, file), "utf8");
  const parts = source.split(find);
  if (parts.length !== 2) {
    throw new Error(`Cannot mutate ${file}: "${name}" does not fit it`);
  }
  return parts.join(replace);
}

/** Who finds fault with the copy, and the first thing it says; undefined if nobody does. */
async function findFault(cwd: string): Promise<string | undefined> {
  for (const { name, args } of CATCHERS) {
    const result = await run(currentBin("node"), [...args], {
      cwd,
      timeout: LIMIT,
    });
    if (result.ok) continue;
    const [line] = result.output.trim().split("\n");
    const what = result.fault.startsWith("timed out") ? result.fault : line;
    return `${name}: ${what.slice(0, 110)}`;
  }
  return undefined;
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const mutants = MUTANTS.filter(({ name }) =>
    wanted.length === 0 || wanted.some((part) => name.includes(part))
  );
  const dir = await copy();
  let missed = 0;
  try {
    const healthy = await findFault(dir);
    if (healthy !== undefined) throw new Error(`Without mistake: ${healthy}`);
    for (const mutant of mutants) {
      const file = join(dir, mutant.file);
      await writeFile(file, await mutate(mutant));
      const fault = await findFault(dir);
      await cp(join(ROOT, mutant.file), file);
      if (fault === undefined) missed++;
      console.log(`${mutant.name}\n    ${fault ?? "MISSED"}`);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
  console.log(`mutants: ${mutants.length - missed} caught, ${missed} missed`);
  if (missed > 0) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
