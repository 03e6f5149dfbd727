// Uses a language server as an editor does: starts it, opens a document with a
// mistake, asks for the document's symbols, and prints the diagnostics.
//
//   language_server.ts [COMMAND ARGUMENT ...]
//
// Without a command it starts the JSON language server from npm; see the end.

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
    "no language server: run npm ci --prefix tests/interop, or pass a command",
  );
  process.exit(0);
}

/** The methods of the Language Server Protocol that this program uses. */
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
    // The methods that the server calls, on the same connection.
    services: {
      "textDocument/publishDiagnostics": (params: Diagnostics) => {
        if (params.diagnostics.length > 0) found.resolve(params);
      },
      "window/logMessage": ({ message }: { message: string }) => {
        console.log(`message of the server: ${message}`);
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
console.log(`supports hover: ${capabilities.hoverProvider === true}`);

// Pipelined: each message is sent without waiting for an answer, and the server
// reads them in this order.
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

/** The command of the JSON language server in tests/interop, on the runtime of this program; undefined if it is not installed. */
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
