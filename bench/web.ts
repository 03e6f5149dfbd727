/**
 * Serves a page that shows what pipelining gains: three lanes make the same calls
 * over the same round-trip time, and every call is a bar on a timeline.
 *
 * The page is a client of the library like any other. Its calls go over
 * WebSockets to servers in this process, which delays them.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { tool, usage } from "../tools/process.ts";
import { loadPage, type PageFile } from "./web/bundle.ts";
import { Lab } from "./web/lab.ts";

const USAGE = `Usage: deno task demo:web [options]

Serves a page on 127.0.0.1 that compares three ways of making the same calls:
one at a time, 64 at a time, pipelined. Prints the URL of the page.

  --port N    port to listen on (8849); 0 takes a free one
  --help      print this`;

/** Only files of this server; the origin is isolated, so that the page's clock is exact to 5 microseconds. */
const HEADERS = {
  "content-security-policy":
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cache-control": "no-store",
};

interface Options {
  readonly port: number;
  readonly help: boolean;
}

function readOptions(): Options {
  try {
    const { values: { port: text, help } } = parseArgs({
      options: {
        port: { type: "string", default: "8849" },
        help: { type: "boolean", default: false },
      },
    });
    const port = Number(text);
    if (/^\d+$/.test(text) && port <= 65_535) return { port, help };
    throw new Error(
      `Cannot use --port: expected 0 to 65535, received "${text}"`,
    );
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

function respond(
  request: Request,
  files: ReadonlyMap<string, PageFile>,
  lab: Lab,
): Response {
  if (request.headers.has("upgrade")) return lab.upgrade(request);
  const file = files.get(new URL(request.url).pathname);
  if (file === undefined) return new Response("Not found", { status: 404 });
  const type = `${file.type}; charset=utf-8`;
  return new Response(file.body, {
    headers: { ...HEADERS, "content-type": type },
  });
}

function serve(
  port: number,
  handler: (request: Request) => Response,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve(
      { hostname: "127.0.0.1", port, onListen: () => {} },
      handler,
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Error(
      `Cannot listen: port ${port} is in use; choose another with --port`,
    );
  }
}

async function main(): Promise<void> {
  const { port, help } = readOptions();
  if (help) return console.log(USAGE);
  const files = await loadPage();
  const lab = new Lab();
  const server = serve(port, (request) => respond(request, files, lab));
  process.stdout.write(`listening on http://127.0.0.1:${server.addr.port}/\n`);
}

if (import.meta.main) await tool(main);
