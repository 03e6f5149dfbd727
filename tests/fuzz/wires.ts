/**
 * The other protocols under the fuzzer: their parsers, clients and servers.
 *
 * @module
 */

import {
  type DialectName,
  JsonRpcClient,
  JsonRpcServer,
} from "../../jsonrpc.ts";
import { Client, ConnectionError, type Protocol, Server } from "../../mod.ts";
import { GobError, netrpc } from "../../netrpc.ts";
import { toFraming } from "../../src/jsonrpc/framing.ts";
import { GobDecoder } from "../../src/netrpc/gob/decoder.ts";
import { MessageSplitter } from "../../src/netrpc/gob/splitter.ts";
import { JsonSplitter } from "../../src/netrpc/json_splitter.ts";
import {
  type AnyServices,
  ClientUnderTest,
  type Hear,
  ServerUnderTest,
  type UnderTest,
} from "./under_test.ts";

/** What cuts or reads bytes by itself: gob's decoder, Go's JSON, the two framings of JSON-RPC. */
export const PARSERS = ["gob", "json", "header", "lines"] as const;
/** Whose ends are fed. */
export const WIRES = ["gob", "json", "lsp", "mcp"] as const;

export type WireParser = (typeof PARSERS)[number];
export type WireName = (typeof WIRES)[number];

/** Limits tight enough that a case is quick, whatever it claims; no case is as long as one in bytes. */
const LIMITS = { maxDepth: 200, maxElements: 100_000 };
const MAX_MESSAGE = 2 ** 20;

/** What a parser made of chunks: its messages, and how it ended. */
export function parserStory(
  parser: WireParser,
  chunks: readonly Uint8Array[],
): string {
  const output: string[] = [];
  try {
    const { push, end } = open(parser, output);
    for (const chunk of chunks) push(chunk);
    end();
  } catch (error) {
    const known = error instanceof GobError ||
      error instanceof ConnectionError ||
      parser === "json" && error instanceof Error &&
        error.constructor === Error;
    if (!known) throw error;
    output.push(`${error}`);
  }
  return output.join("\n");
}

/** A parser that is open. */
interface Open {
  readonly push: (chunk: Uint8Array) => void;
  readonly end: () => void;
}

function open(parser: WireParser, output: string[]): Open {
  const record = (bytes: Uint8Array, start: number, end: number) =>
    void output.push(String(bytes.subarray(start, end)));
  switch (parser) {
    case "gob":
      return openGob((value) => output.push(show(value)));
    case "json": {
      const handler = {
        object: record,
        tooLarge: (head: Uint8Array, tail: Uint8Array, size: number) =>
          void output.push(`${size}: ${head}, ${tail}`),
      };
      const splitter = new JsonSplitter(handler, MAX_MESSAGE, 200);
      return { push: (chunk) => void splitter.push(chunk, 0), end: () => {} };
    }
    default: {
      const name = parser === "lines" ? "lines" : "contentLength";
      const framing = toFraming(
        name,
        MAX_MESSAGE,
        (bytes, start, end, charset) => {
          output.push(`${charset}`);
          record(bytes, start, end);
          return 1;
        },
      );
      return {
        push: (chunk) => void framing.push(chunk, 0, Infinity),
        end: () => framing.end(),
      };
    }
  }
}

/** A gob stream's values; one that cannot be read is an error of its own. */
function openGob(record: (value: unknown) => void): Open {
  const decoder = new GobDecoder(LIMITS, MAX_MESSAGE);
  const splitter = new MessageSplitter({
    message(bytes, start, end) {
      if (!decoder.addMessage(bytes, start, end)) return;
      let value: unknown;
      try {
        value = decoder.value(undefined);
      } catch (error) {
        if (!(error instanceof GobError)) throw error;
        value = error.message;
      }
      record(value);
    },
  }, MAX_MESSAGE);
  return {
    push: (chunk) => void splitter.push(chunk, 0),
    end: () => {
      if (splitter.insideMessage || decoder.insideValue) {
        throw new GobError("cut short");
      }
    },
  };
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, part) => {
    if (typeof part === "bigint") return `${part}n`;
    return part instanceof Map ? [...part] : part;
  });
}

/** A client or a server of ours that speaks a wire: `gob-client`, and so on. */
export function wireUnderTest(target: string): UnderTest {
  const [wire, role] = target.split("-") as [WireName, "client" | "server"];
  const hear = HEAR[wire]();
  if (wire === "lsp" || wire === "mcp") return jsonRpcEnd(hear, wire, role);
  // The values are nobody's concern here, so neither are their types.
  const go =
    (wire === "json"
      ? netrpc({ encoding: "json" })
      : netrpc(LIMITS)) as Protocol<"json">;
  return role === "client"
    ? new ClientUnderTest(
      hear,
      (duplex, clock) => new Client(duplex, { clock, protocol: go }),
    )
    : new ServerUnderTest(
      hear,
      (services, options) =>
        new Server<object>(services, { ...options, protocol: go }),
    );
}

/** Both ends of JSON-RPC may be called. */
function jsonRpcEnd(
  hear: Hear,
  dialect: DialectName,
  role: "client" | "server",
): UnderTest {
  if (role === "server") {
    return new ServerUnderTest(
      hear,
      (services, options) =>
        new JsonRpcServer<object>(services, { ...options, dialect }),
    );
  }
  const services = { echo: (params: unknown) => params };
  return new ClientUnderTest(
    hear,
    (duplex, clock) =>
      new JsonRpcClient<AnyServices>(duplex, {
        clock,
        dialect,
        services,
        window: 10,
      }),
  );
}

/** Listeners to what an end says: whole messages, each of a legal form. */
const HEAR: Record<WireName, () => Hear> = {
  gob: () =>
    openGob((value) => {
      if (typeof value === "string" && value.startsWith("type ")) {
        throw new Error(value);
      }
    }).push,
  json: () => {
    const splitter = new JsonSplitter(
      {
        object(bytes, start, end) {
          const message = parse(bytes, start, end);
          if (message.method !== undefined) return;
          const { result, error } = message;
          if (error === null ? result === null : typeof error !== "string") {
            throw new Error(`Go's client would give up: ${show(message)}`);
          }
        },
        tooLarge(_head, _tail, size) {
          throw new Error(`an answer of ${size} bytes`);
        },
      },
      2 ** 30,
      1000,
    );
    return (bytes) => void splitter.push(bytes, 0);
  },
  lsp: () => hearJsonRpc("contentLength"),
  mcp: () => hearJsonRpc("lines"),
};

function hearJsonRpc(name: "contentLength" | "lines"): Hear {
  const framing = toFraming(name, 2 ** 30, (bytes, start, end) => {
    [parse(bytes, start, end)].flat().forEach(checkJsonRpc);
    return 1;
  });
  return (bytes) => void framing.push(bytes, 0, Infinity);
}

function checkJsonRpc(message: Record<string, unknown>): void {
  const { error } = message as { error?: { code: unknown } };
  const answers = Number("result" in message) + Number("error" in message);
  const calls = Number(typeof message.method === "string");
  const fine = message.jsonrpc === "2.0" && answers + calls === 1 &&
    (answers === 0 || "id" in message) &&
    (error === undefined || Number.isInteger(error.code));
  if (!fine) throw new Error(`no JSON-RPC: ${show(message)}`);
}

function parse(
  bytes: Uint8Array,
  start: number,
  end: number,
): Record<string, unknown> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  return JSON.parse(decoder.decode(bytes.subarray(start, end)));
}
