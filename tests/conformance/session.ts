/**
 * The connection of a case to the side under test, and what a case can do with it.
 * The suite calls a server under test, and instructs a client under test what to
 * call, as docs/conformance.md describes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Duplex } from "../../mod.ts";
import {
  type Answer,
  frame,
  type Goaway,
  type Hello,
  hello,
  type HelloFields,
  isWarning,
  KIND,
  last,
  readAnswer,
  readGoaway,
  readHello,
  readRequest,
  readWindow,
  reply,
  type Request,
  request,
  type RequestParts,
  type StreamGrant,
  utf8,
  type WindowUpdate,
} from "./bytes.ts";
import type { Report, Step } from "./driver.ts";
import { type Pace, type RawFrame, Wire } from "./wire.ts";

/** The role of the side under test. */
export type Role = "server" | "client";

/** How to reach the side under test. */
export interface Target {
  readonly role: Role;
  readonly pace: Pace;
  /** A new connection: dialed to a server, accepted from a client. */
  dial(): Promise<Duplex>;
}

/** Thrown if a case cannot be decided here. */
export class Skipped extends Error {}

/** How long a server may wait for the LAST of a peer that sends none, in ms. */
const QUIET_TIME = 1000;

/** The reason to skip a case about a REQUEST that is aborted before it is sent. */
export const WRITTEN = "the client had already written the REQUEST";

/** The GOAWAY with which the side ended a connection. */
export interface Closing extends Goaway {
  /** The frames before the GOAWAY. */
  readonly frames: RawFrame[];
}

/** One connection to a side of either role. */
export class Session {
  readonly target: Target;
  readonly pace: Pace;
  wire!: Wire;
  /** The HELLO of the side, which `exchangeHello` reads. */
  hello!: Hello;
  #pings = 0x7000;

  constructor(target: Target) {
    this.target = target;
    this.pace = target.pace;
  }

  get role(): Role {
    return this.target.role;
  }

  /** Connects; nothing is sent yet. */
  async open(): Promise<void> {
    const dialed = this.pace.within("no connection", this.target.dial(), 3000);
    this.wire = new Wire(await dialed, this.pace);
  }

  /** Drops the connection, in whatever state it is. */
  async end(): Promise<void> {
    await this.wire?.destroy();
  }

  /** Sends bytes as one chunk. */
  send(...parts: Uint8Array[]): Promise<void> {
    return this.wire.send(...parts);
  }

  /** Sends a HELLO, and reads the HELLO of the side. */
  async exchangeHello(ours: HelloFields | Uint8Array = {}): Promise<void> {
    await this.send(ours instanceof Uint8Array ? ours : hello(ours));
    await this.readHello();
  }

  /** Reads the HELLO of the side. */
  async readHello(): Promise<void> {
    const got = await this.wire.next();
    assertEquals(got?.kind, KIND.HELLO, "the first frame is a HELLO");
    this.hello = readHello(got!);
  }

  /** Like `exchangeHello`, with a HELLO that accepts streams. Skips the case if the side does not accept streams. */
  async greetAble(
    grant: Partial<StreamGrant> = {},
    ours: HelloFields = {},
  ): Promise<void> {
    const { credit = 65_536, max = 16, all = 16 << 20 } = grant;
    await this.exchangeHello({ ...ours, streams: { credit, max, all } });
    this.needStreams();
  }

  /** Skips a case about streams if the HELLO of the side has no such capability. */
  needStreams(): void {
    if (this.hello.streams !== undefined) return;
    throw new Skipped(`the ${this.role}'s HELLO has no capability for streams`);
  }

  /** Skips a case about WINDOW if the HELLO of the side has no such capability. */
  needWindows(): void {
    if (this.hello.windows) return;
    throw new Skipped(`the ${this.role}'s HELLO has no windows that move`);
  }

  /** The next WINDOW; skips PADs. */
  async window(): Promise<WindowUpdate> {
    for (;;) {
      const got = await this.wire.next();
      if (got?.kind === KIND.PAD) continue;
      assertEquals(got?.kind, KIND.WINDOW, "the kind of the next frame");
      return readWindow(got!);
    }
  }

  /** The next frame, which must be of `kind`. */
  async expect(kind: number, extra = 0): Promise<RawFrame> {
    const got = await this.wire.next(extra);
    assertEquals(got?.kind, kind, "the kind of the next frame");
    return got!;
  }

  /** Asserts that the side still answers a PING, and returns the frames before its PONG. */
  async alive(): Promise<RawFrame[]> {
    const id = this.#pings++;
    await this.send(frame(KIND.PING, id));
    const before: RawFrame[] = [];
    for (;;) {
      const got = await this.wire.next();
      assert(got !== undefined, "it closed instead of answering a PING");
      if (got.kind === KIND.GOAWAY && readGoaway(got).code !== "") {
        throw new Error(`it closed: ${said(got)}`);
      }
      if (got.kind === KIND.PONG && got.id === id) return before;
      before.push(got);
    }
  }

  /** Asserts that the side sends nothing. */
  async silence(): Promise<void> {
    const kinds = (await this.wire.leftovers()).map(({ kind }) => kind);
    assertEquals(kinds, [], "kinds of unexpected frames");
  }

  /** Asserts that the side closes with one of these codes: a GOAWAY, then FIN, with nothing between. */
  async closes(codes: string | readonly string[], extra = 0): Promise<Closing> {
    const frames = await this.wire.rest(extra);
    const last = frames.pop();
    assertEquals(last?.kind, KIND.GOAWAY, "the last frame is a GOAWAY");
    for (const earlier of frames.filter(({ kind }) => kind === KIND.GOAWAY)) {
      assertEquals(readGoaway(earlier).code, "", "the code of a GOAWAY before");
    }
    const goaway = readGoaway(last!);
    const wanted: readonly string[] = typeof codes === "string"
      ? [codes]
      : codes;
    assert(
      wanted.includes(goaway.code),
      `closed with ${goaway.code} (${goaway.text}), not ${wanted.join(" or ")}`,
    );
    return { ...goaway, frames };
  }
}

function said(goaway: RawFrame): string {
  const { code, text } = readGoaway(goaway);
  return `${code} ${text}`;
}

/** A connection to a server under test. */
export class ServerSession extends Session {
  lastId = 0;
  readonly #methods = new Map<number, string>();

  /** Makes a REQUEST with the next id, and does not send it. */
  make(method: string, value?: unknown, parts?: RequestParts): Uint8Array {
    const id = ++this.lastId;
    this.#methods.set(id, method);
    return request(id, method, value, parts);
  }

  /** Sends a REQUEST, and returns its id. */
  async go(
    method: string,
    value?: unknown,
    parts?: RequestParts,
  ): Promise<number> {
    await this.send(this.make(method, value, parts));
    return this.lastId;
  }

  /** The next reply; with an id it must be the reply of that call. */
  async answer(id?: number, extra = 0): Promise<Answer> {
    const got = await this.wire.next(extra);
    assert(got !== undefined, "it closed instead of replying");
    if (got.kind === KIND.GOAWAY) throw new Error(`it closed: ${said(got)}`);
    const isAnswer = got.kind === KIND.REPLY || got.kind === KIND.ERROR;
    assert(isAnswer, `a frame of kind ${got.kind} instead of a reply`);
    const answer = readAnswer(got);
    const method = this.#methods.get(answer.id) ?? "";
    if (answer.code === "not_found" && /^Conformance\./.test(method)) {
      throw new Skipped(`the server does not offer ${method}`);
    }
    if (id !== undefined) assertEquals(answer.id, id, "the answer's id");
    return answer;
  }

  /** Sends a REQUEST, and reads its reply. */
  async call(
    method: string,
    value?: unknown,
    parts?: RequestParts,
  ): Promise<Answer> {
    return await this.answer(await this.go(method, value, parts));
  }

  /** The replies of these calls in the order of `ids`, in whatever order they arrive. */
  async answers(...ids: readonly number[]): Promise<Answer[]> {
    const byId = new Map<number, Answer>();
    for (const _ of ids) {
      const answer = await this.answer();
      assert(
        ids.includes(answer.id),
        `a reply to call ${answer.id}, which was not expected`,
      );
      assert(!byId.has(answer.id), `two replies to call ${answer.id}`);
      byId.set(answer.id, answer);
    }
    return ids.map((id) => byId.get(id)!);
  }

  /** Sends a REQUEST whose handler keeps running, waits until it has started, and returns its id. */
  async begin(
    method: "Conformance.hold" | "Conformance.wait",
    parts?: RequestParts,
  ): Promise<number> {
    const before = (await this.started()).length;
    const id = await this.go(method, `call ${before}`, parts);
    for (let asked = 0; asked < 50; asked++) {
      if ((await this.started()).length > before) return id;
      await this.pace.quiet();
    }
    throw new Error(`the handler of ${method} did not start`);
  }

  /** Asserts that calls that precede a fault in the same bytes are answered or dropped, and that the GOAWAY covers those that were answered. */
  checkAnswered(
    { frames, lastId }: Closing,
    before: readonly number[],
  ): void {
    const ids = frames.map((f) => f.id);
    for (const id of ids) {
      assert(before.includes(id), `an answer to ${id} came`);
    }
    assertEquals(new Set(ids).size, ids.length, "answers, none twice");
    const last = lastId === undefined ? -1 : before.indexOf(lastId);
    assert(lastId === undefined || last >= 0, `GOAWAY names ${lastId}`);
    for (const id of ids) {
      assert(before.indexOf(id) <= last, `GOAWAY excludes ${id}, answered`);
    }
  }

  /** Asserts that the server still serves calls. No other reply may be pending. */
  async serves(): Promise<void> {
    const { ok, value } = await this.call("Echo.echo", "still there");
    assertEquals([ok, value], [true, "still there"]);
  }

  /**
   * Asks the server to close gracefully, and returns its GOAWAY that is no
   * warning. Earlier calls may still be running. A warning is answered with LAST
   * or, without `tells`, with silence.
   */
  async drains(tells = true): Promise<Goaway> {
    const id = await this.go("Conformance.close");
    let goaway: Goaway | undefined;
    for (let answered = false; !answered || goaway === undefined;) {
      const got = await this.wire.next();
      assert(got !== undefined, "it closed without a GOAWAY");
      if (isWarning(got)) {
        if (tells) await this.send(last());
        else await this.pace.lapse(QUIET_TIME);
      } else if (got.kind === KIND.GOAWAY) goaway = readGoaway(got);
      else answered ||= got.id === id;
      if (answered && got.id === id && got.kind === KIND.ERROR) {
        throw new Skipped("the server does not offer Conformance.close");
      }
    }
    return goaway;
  }

  /** Asks the server to close gracefully, and reads its warning. Skips the case if it sends none. */
  async warns(): Promise<void> {
    const id = await this.go("Conformance.close");
    for (let warned = false, answered = false; !warned || !answered;) {
      const got = await this.wire.next();
      assert(got !== undefined, "it closed without a GOAWAY");
      if (isWarning(got)) warned = true;
      else if (got.kind === KIND.GOAWAY) {
        throw new Skipped("the server closes without a warning");
      } else {
        answered ||= got.id === id;
        if (got.kind !== KIND.ERROR) continue;
        throw new Skipped("the server does not offer Conformance.close");
      }
    }
  }

  /** How many handlers run at once. Skips the case if the server does not say. */
  async running(): Promise<number> {
    const { value } = await this.call("Conformance.running");
    if (typeof value === "number" && value <= 64) return value;
    throw new Skipped("the server does not bound its running handlers by 64");
  }

  /** The params of the calls of `Conformance` whose handlers have started, in order. */
  async started(): Promise<unknown[]> {
    return (await this.call("Conformance.started")).value as unknown[];
  }
}

/** A connection of a client under test. */
export class ClientSession extends Session {
  /** The id of the call that asks for instructions; `script` replies to it. */
  nextId = 0;

  /** Like the base class; then reads the call that asks for instructions. */
  override async exchangeHello(
    ours: HelloFields | Uint8Array = {},
  ): Promise<void> {
    await super.exchangeHello(ours);
    this.nextId = (await this.request("Conformance.next")).id;
  }

  /** Sends the client its instructions. */
  async script(...steps: Step[]): Promise<void> {
    await this.send(jsonReply(this.nextId, steps));
  }

  /** Tells the client that there are no further instructions, so that it closes gracefully. */
  async dismiss(): Promise<void> {
    await this.send(jsonReply(this.nextId, null));
    await this.leave();
  }

  /** The next REQUEST; skips PADs. */
  async request(method?: string): Promise<Request> {
    for (;;) {
      const got = await this.wire.next();
      if (got?.kind === KIND.PAD) continue;
      assertEquals(got?.kind, KIND.REQUEST, "the kind of the next frame");
      const made = readRequest(got!);
      if (method !== undefined) assertEquals(made.method, method);
      return made;
    }
  }

  /** The next REQUESTs. */
  async requests(count: number): Promise<Request[]> {
    const got: Request[] = [];
    while (got.length < count) got.push(await this.request());
    return got;
  }

  /** The connection that a `reconnect` step makes. Nothing has been read or sent on it. */
  async reconnected(): Promise<void> {
    await this.wire.destroy();
    await this.open();
  }

  /** Sends FIN, and waits until the client has sent everything. */
  async leave(): Promise<RawFrame[]> {
    await this.wire.fin();
    return await this.wire.rest();
  }

  /** Ends the connection, and reads on the next one the report of the client. */
  async report(): Promise<Report> {
    await this.reconnected();
    await this.exchangeHello();
    await this.script({ do: "report" });
    const { value } = await this.request("Conformance.report");
    assert(value !== undefined && value !== null, "the client sent no report");
    return value as Report;
  }
}

function jsonReply(id: number, value: unknown): Uint8Array {
  return reply(id, [1, ...utf8(JSON.stringify(value))]);
}
