/**
 * Makes one deliberate mistake after the other in a copy of `src/`, and checks
 * that the simulation, the faults at every byte or the hostile peers catch it:
 * `deno task mutants [NAME ...]`. As many copies are tested at once as pay.
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
import { PARTS } from "./parts.ts";
import { ROOT, run, tool } from "./process.ts";

/** The checks that catch mistakes. Few seeds and offsets are enough, and the first fault. */
const CHECKS: Readonly<Record<Mutant["caughtBy"], readonly string[]>> = {
  simulation: ["tests/sim/main.ts", "--seeds=800", "--enough=1"],
  cuts: ["tests/chaos/cuts.ts", "--every=29", "--enough=1"],
  hostile: ["tests/sim/main.ts", "--hostile", "--seeds=400", "--enough=1"],
};
/** Milliseconds that one check may take. */
const LIMIT = 120_000;
const COPIED = ["src", "tests", "mod.ts", "testing.ts", "package.json"];

/** Copies what the checks need to a new folder. */
async function copy(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "mutant-"));
  for (const name of COPIED) {
    await cp(join(ROOT, name), join(dir, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(dir, "node_modules"));
  return dir;
}

/** The text of a source file with the mistake. */
async function mutate({ name, file, find, replace }: Mutant): Promise<string> {
  const source = await readFile(join(ROOT, file), "utf8");
  const parts = source.split(find);
  if (parts.length !== 2) {
    throw new Error(
      `Cannot mutate ${file}: it contains the text of "${name}" ${
        parts.length - 1
      } times, not once`,
    );
  }
  return parts.join(replace);
}

/** Runs one check on a copy. Returns the first fault that it finds, if any. */
async function findFault(
  check: Mutant["caughtBy"],
  cwd: string,
): Promise<string | undefined> {
  const result = await run(currentBin("node"), [...CHECKS[check]], {
    cwd,
    timeout: LIMIT,
  });
  if (result.ok) return undefined;
  const [line] = result.output.trim().split("\n");
  const what = result.fault.startsWith("timed out") ? result.fault : line!;
  return `${check}: ${what.slice(0, 110)}`;
}

/** Makes a mistake in a copy, runs the check that must catch it, and undoes the mistake. */
async function tryMutant(
  mutant: Mutant,
  dir: string,
): Promise<string | undefined> {
  const file = join(dir, mutant.file);
  await writeFile(file, await mutate(mutant));
  const fault = await findFault(mutant.caughtBy, dir);
  await cp(join(ROOT, mutant.file), file);
  return fault;
}

/** Fails if a check finds a fault where no mistake was made. */
async function checkOriginal(dir: string): Promise<void> {
  for (const check of Object.keys(CHECKS) as Mutant["caughtBy"][]) {
    const fault = await findFault(check, dir);
    if (fault !== undefined) throw new Error(`Without a mistake: ${fault}`);
  }
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const mutants = MUTANTS.filter(({ name }) =>
    wanted.length === 0 || wanted.some((part) => name.includes(part))
  );
  if (mutants.length === 0) throw new Error(`No such mutant: ${wanted}`);
  const faults = new Map<Mutant, string | undefined>();
  const left = [...mutants];
  const worker = async (first: boolean) => {
    const dir = await copy();
    try {
      if (first) await checkOriginal(dir);
      for (let next = left.shift(); next !== undefined; next = left.shift()) {
        faults.set(next, await tryMutant(next, dir));
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  };
  await Promise.all(Array.from({ length: PARTS }, (_, i) => worker(i === 0)));
  let missed = 0;
  for (const mutant of mutants) {
    const fault = faults.get(mutant);
    if (fault === undefined) missed++;
    console.log(
      `${mutant.name}\n    ${fault ?? `MISSED by ${mutant.caughtBy}`}`,
    );
  }
  console.log(`mutants: ${mutants.length - missed} caught, ${missed} missed`);
  if (missed > 0) process.exitCode = 1;
}

if (import.meta.main) await tool(main);
