// Drives a language server as an editor does: starts it, opens a document with
// a mistake in it, asks what it knows, and shows what it says.
//
//   language_server.ts [COMMAND ARGUMENT ...]
//
// Without a command it is the JSON language server from npm; see the end.

import { deepStrictEqual } from "node:assert";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { nodeDuplex } from "@sluice/rpc";
import { JsonRpcClient } from "@sluice/rpc/jsonrpc";

const command = process.argv.length > 2 ? process.argv.slice(2) : jsonServer();
if (command === undefined) {
  console.log(
    "no language server: npm ci --prefix tests/interop gets one, or name yours",
  );
  process.exit(0);
}

/** What is used of the Language Server Protocol. */
interface LanguageServer {
  initialize(params: object): { capabilities: { hoverProvider?: unknown } };
  initialized(params: object): void;
  "textDocument/didOpen"(params: { textDocument: object }): void;
  "textDocument/documentSymbol"(
    params: { textDocument: { uri: string } },
  ): { name: string }[];
  shutdown(): null;
  exit(): void;
}

interface Diagnostics {
  uri: string;
  diagnostics: { message: string; range: { start: { line: number } } }[];
}

const uri = "file:///example.json";
const text = `{\n  "name": "sluice",\n  "name": "twice"\n}\n`;
const found = Promise.withResolvers<Diagnostics>();

const child = spawn(command[0], command.slice(1), {
  stdio: ["pipe", "pipe", "inherit"],
});
const client = new JsonRpcClient<LanguageServer>(
  nodeDuplex(child.stdout, child.stdin),
  {
    dialect: "lsp",
    // The server calls, too, on the same connection.
    services: {
      "textDocument/publishDiagnostics": (params: Diagnostics) => {
        if (params.diagnostics.length > 0) found.resolve(params);
      },
      "window/logMessage": ({ message }: { message: string }) => {
        console.log(`the server says: ${message}`);
      },
      "client/registerCapability": () => null,
      "workspace/configuration": ({ items }: { items: unknown[] }) =>
        items.map(() => null),
    },
  },
);

const { capabilities } = await client.call("initialize", {
  processId: process.pid,
  rootUri: null,
  capabilities: {
    textDocument: {
      documentSymbol: { hierarchicalDocumentSymbolSupport: true },
      publishDiagnostics: {},
    },
  },
}, { timeout: 20_000 });
console.log(`it can hover: ${capabilities.hoverProvider === true}`);

// Pipelined: nobody waits for an answer before the next is sent, and the
// server reads them in this order.
client.notify("initialized", {});
client.notify("textDocument/didOpen", {
  textDocument: { uri, languageId: "json", version: 1, text },
});
const symbols = await client.call("textDocument/documentSymbol", {
  textDocument: { uri },
}, { timeout: 20_000 });
console.log(`symbols: ${symbols.map(({ name }) => name).join(", ")}`);

const { diagnostics } = await found.promise;
for (const { message, range } of diagnostics) {
  console.log(`line ${range.start.line + 1}: ${message}`);
}
deepStrictEqual(symbols.map(({ name }) => name), ["name", "name"]);

await client.call("shutdown");
await client.notify("exit");
await client.close();
child.kill();

/** The JSON language server of tests/interop, on the runtime that runs this. */
function jsonServer(): string[] | undefined {
  const path = fileURLToPath(
    new URL(
      "../tests/interop/node_modules/vscode-json-languageserver/bin/vscode-json-languageserver",
      import.meta.url,
    ),
  );
  if (!existsSync(path)) return undefined;
  const run = "Deno" in globalThis ? ["run", "-A"] : [];
  return [process.execPath, ...run, path, "--stdio"];
}
