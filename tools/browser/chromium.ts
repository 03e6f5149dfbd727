/**
 * Chromium, driven by playwright-core, and a web server on loopback for its pages.
 *
 * @module
 */

import { access, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import process from "node:process";
import { load } from "./bundle.ts";

// The members of playwright-core that are used: its types are not there until it is installed.

/** A page of the browser. */
export interface Page {
  goto(url: string): Promise<unknown>;
  evaluate<T>(expression: string): Promise<T>;
  exposeFunction(name: string, fn: (arg: string) => unknown): Promise<void>;
  context(): { newCDPSession(page: Page): Promise<Session> };
  on(event: "pageerror", listener: (error: Error) => void): unknown;
  on(event: "crash", listener: () => void): unknown;
  close(): Promise<void>;
}

/** Chromium's own protocol. */
interface Session {
  send<T>(method: string): Promise<T>;
  detach(): Promise<void>;
}

/** The browser. */
export interface Browser {
  version(): string;
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

const FLAGS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"],
  ...["--no-first-run", "--disable-background-networking"],
  ...["--disable-component-update", "--disable-sync"],
];

/** Starts Chromium, with a new and empty profile. */
export async function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  try {
    await access(executablePath);
  } catch {
    throw new Error(
      `Cannot test in a browser: there is no Chromium at ${executablePath}; install it with \`apt-get install chromium\`, or set CHROMIUM to its path`,
    );
  }
  return await load("playwright-core").chromium.launch({
    executablePath,
    args: FLAGS,
  });
}

/** How many bytes the JavaScript of a page holds, after a collection. */
export async function memoryOf(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize, embedderHeapUsedSize, backingStorageSize } = await session
    .send<Record<string, number>>("Runtime.getHeapUsage");
  await session.detach();
  return usedSize! + embedderHeapUsedSize! + backingStorageSize!;
}

/** A web server that serves a folder. */
export interface Site {
  /** Its origin: scheme, host and port. */
  readonly origin: string;
  /** The same server by another name, which is another origin. */
  readonly otherOrigin: string;
  close(): void;
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".map": "application/json",
};

/** An empty page. */
const EMPTY =
  "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>Sluice</title>";

/** Serves the files of a folder, and at `/` an empty page. */
export async function serveFolder(folder: string): Promise<Site> {
  const server = createServer(async ({ url = "/" }, response) => {
    const path = normalize(new URL(url, "http://x").pathname);
    try {
      const body = path === "/" ? EMPTY : await readFile(join(folder, path));
      const type = TYPES[path === "/" ? ".html" : extname(path)];
      response.writeHead(200, { "content-type": type ?? "text/plain" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    otherOrigin: `http://localhost:${port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
