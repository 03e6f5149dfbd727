/**
 * The requirements of the peers: packages, which are installed here, and programs
 * of the system, which are not.
 *
 * @module
 */

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run } from "../../tools/process.ts";
import { ensureInstalled } from "../../tools/setup.ts";
import { JS_PEERS, type PeerName } from "./entries.ts";

/** This directory. */
export const DIR: string = join(ROOT, "bench", "peers");

const GO: [string, string[], string] = ["go", ["version"], "golang-go"];

/** The peers with Go on at least one side. */
export const GO_PEERS: readonly PeerName[] = [
  "go",
  "sluice-to-go",
  "go-to-sluice",
];

/** A program of the system that a peer needs, and how to install it. */
const PROGRAMS: Partial<Record<PeerName, [string, string[], string]>> = {
  "go": GO,
  "sluice-to-go": GO,
  "go-to-sluice": GO,
  "ioredis": ["redis-server", ["--version"], "redis-server"],
};

/** Milliseconds in which a program must build, or print its version. */
const PATIENCE = 300_000;

/** The relevant part of the version of a program. */
const VERSION = /\d+\.\d+(\.\d+)?/;

/** The peers of `names` that can run, and the versions of the programs that they need. */
export async function available(
  names: ReadonlySet<PeerName>,
): Promise<{ names: Set<PeerName>; versions: string[] }> {
  const found = new Set<PeerName>();
  const versions: string[] = [];
  for (const name of names) {
    const [program, args, debian] = PROGRAMS[name] ?? [];
    if (program !== undefined) {
      const { ok, stdout } = await run(program, args!, { timeout: PATIENCE });
      if (!ok) {
        console.error(
          `Skipping ${name}: no ${program} on the PATH. ` +
            `Install it (on Debian: apt-get install ${debian}).`,
        );
        continue;
      }
      const version = `${program} ${VERSION.exec(stdout)?.[0]}`;
      if (!versions.includes(version)) versions.push(version);
    }
    found.add(name);
  }
  return { names: found, versions };
}

/** Installs the packages of the JavaScript peers, if one of them is among `names`. */
export async function installPackages(
  names: ReadonlySet<PeerName>,
): Promise<void> {
  if (JS_PEERS.some((name) => names.has(name))) await ensureInstalled(DIR);
}

/** Builds Go's peer in a directory of its own; nothing is fetched. */
export async function buildGo(): Promise<{ dir: string; program: string }> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-peers-"));
  const program = join(dir, "peer");
  const { ok, output } = await run("go", ["build", "-o", program, "."], {
    cwd: join(DIR, "go"),
    env: { GOFLAGS: "-mod=mod", GOPROXY: "off", GO111MODULE: "on" },
    timeout: PATIENCE,
  });
  if (!ok) throw new Error(`Cannot build Go's peer:\n${output}`);
  return { dir, program };
}
