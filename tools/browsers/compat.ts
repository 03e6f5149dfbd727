/**
 * Looks up what the compiler calls a feature in MDN's compatibility data, and
 * since which version a browser has it.
 *
 * @module
 */

import { load } from "./uses.ts";

/** The browsers of the data that are asked about. */
export type BrowserName =
  | "chrome"
  | "edge"
  | "firefox"
  | "safari"
  | "chrome_android"
  | "firefox_android"
  | "safari_ios";

/** An entry of the data. */
interface Support {
  readonly version_added: string | false | "preview";
  readonly flags?: unknown;
  readonly prefix?: string;
  readonly alternative_name?: string;
}

interface Entry {
  readonly __compat?: {
    readonly support: Record<BrowserName, Support | Support[] | undefined>;
  };
  readonly [name: string]: unknown;
}

/** Types of the compiler's libraries whose members the data has under another name. */
const SAME_AS: Record<string, string> = {
  ReadonlyArray: "Array",
  ReadonlyMap: "Map",
  ReadonlySet: "Set",
  CallableFunction: "Function",
  IteratorObject: "Iterator",
  ArrayBufferView: "TypedArray",
  MessageEventTarget: "MessagePort",
  ReadableStreamGenericReader: "ReadableStreamDefaultReader",
};

/** Types of plain objects, and of protocols of the language that are as old as iteration or promises. */
const PLAIN = new Set([
  ...["ArrayIterator", "ArrayLike", "Generator", "MapIterator"],
  ...["RegExpStringIterator", "SetIterator"],
  ...["AsyncIterable", "AsyncIterableIterator", "AsyncIterator"],
  ...["Iterable", "Iterator", "IteratorReturnResult", "IteratorYieldResult"],
  ...["PromiseLike", "PromiseWithResolvers", "PropertyDescriptor"],
  ...["ReadableStreamReadDoneResult", "ReadableStreamReadValueResult"],
  "TextEncoderEncodeIntoResult",
]);

/** Options, which the data has under what takes them. */
const OPTIONS: Record<string, string> = {
  "AddEventListenerOptions.once":
    "api.EventTarget.addEventListener.options_parameter.options_once_parameter",
  "ErrorOptions.cause":
    "javascript.builtins.Error.Error.options_cause_parameter",
  "ProxyHandler.get": "javascript.builtins.Proxy.handler.get",
  "QueuingStrategy.highWaterMark": "api.ReadableStream.ReadableStream",
  "QueuingStrategy.size": "api.ReadableStream.ReadableStream",
  "ResponseInit.headers": "api.Response.Response",
  "ResponseInit.status": "api.Response.Response",
  "TextDecoderOptions.fatal": "api.TextDecoder.TextDecoder",
  "TextDecoderOptions.ignoreBOM": "api.TextDecoder.TextDecoder",
  "Transformer.flush": "api.TransformStream.TransformStream",
  "Transformer.start": "api.TransformStream.TransformStream",
  "Transformer.transform": "api.TransformStream.TransformStream",
  "UnderlyingDefaultSource.cancel": "api.ReadableStream.ReadableStream",
  "UnderlyingDefaultSource.pull": "api.ReadableStream.ReadableStream",
  "UnderlyingDefaultSource.start": "api.ReadableStream.ReadableStream",
  "UnderlyingSink.abort": "api.WritableStream.WritableStream",
  "UnderlyingSink.close": "api.WritableStream.WritableStream",
  "UnderlyingSink.start": "api.WritableStream.WritableStream",
  "UnderlyingSink.write": "api.WritableStream.WritableStream",
};

/** A feature in the data. */
export interface Feature {
  /** Its path, such as `javascript.builtins.Promise.withResolvers`. */
  readonly path: string;
  /** The first version of a browser that has it; `undefined` if none has. */
  since(browser: BrowserName): string | undefined;
}

/**
 * The feature that the compiler calls by this name, as `findUses` returns it.
 *
 * @returns `plain` for members of plain objects, which need no browser's support;
 *   `undefined` if the data does not have it.
 */
export function featureOf(name: string): Feature | "plain" | undefined {
  const [owner, member] = name.split(/\.(.*)/s) as [string, string];
  if (PLAIN.has(owner) || PLAIN.has(member) && owner === "") return "plain";
  for (const path of candidates(owner, member, name)) {
    const found = entryAt(path)?.__compat;
    if (found === undefined) continue;
    return { path, since: (browser) => sinceOf(found.support[browser]) };
  }
  return undefined;
}

/** Where the data may have it. */
function* candidates(
  owner: string,
  member: string,
  name: string,
): Generator<string> {
  if (OPTIONS[name] !== undefined) yield OPTIONS[name];
  if (owner === "") {
    yield `javascript.builtins.${member}`;
    return yield `api.${member}`;
  }
  const known = owner.replace(/Constructor$/, "");
  const type = SAME_AS[known] ?? known;
  const key = member.replace(/^\[Symbol\.(\w+)\]$/, "@@$1");
  for (const at of [`javascript.builtins.${type}`, `api.${type}`]) {
    // A static member of the web's interfaces has a name of its own.
    yield `${at}.${key}`;
    yield `${at}.${key}_static`;
    // The data has an event's name in place of its handler's.
    if (key.startsWith("on")) yield `${at}.${key.slice(2)}_event`;
  }
  if (/Array$/.test(type)) yield `javascript.builtins.TypedArray.${key}`;
  yield `api.EventTarget.${key}`;
  // What every function and object has is not in the data.
  if (/^(prototype|constructor|toString|length)$/.test(key)) {
    yield `javascript.builtins.${type}`;
  }
}

function entryAt(path: string): Entry | undefined {
  let entry: Entry | undefined = load("@mdn/browser-compat-data");
  for (const key of path.split(".")) entry = entry?.[key] as Entry | undefined;
  return entry;
}

/** The version that added a feature under its own name, without a flag. */
function sinceOf(support: Support | Support[] | undefined): string | undefined {
  const plain = [support ?? []].flat().find((one) =>
    !one.flags && !one.prefix && !one.alternative_name
  );
  const version = plain?.version_added;
  if (!version || version === "preview") return undefined;
  return version.replace("≤", "");
}
