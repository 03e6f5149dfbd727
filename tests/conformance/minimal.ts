/**
 * The minimal peer of docs/protocol.md, written from its 12 steps without any code
 * of the library. It has no streams, metadata, deadlines on the wire, or calls
 * from the server. The suite must skip what it lacks, and no case may fail.
 *
 * @module
 */

import type { Clock, Duplex } from "../../mod.ts";
import { frame, goaway, join, KIND, last } from "../support/raw_peer.ts";
import {
  errorBody,
  helloOf,
  payload,
  readAnswer,
  readGoaway,
  readHello,
  request,
  u32,
  utf8,
} from "./bytes.ts";
import type { CallReport, Report, Step } from "./driver.ts";
import type { RawFrame } from "./wire.ts";

const MAX_MESSAGE = 65_536;
const EARLY = { calls: 64, bytes: 65_536 };
const KNOWN_FLAGS: Record<number, number> = {
  [KIND.REQUEST]: 3,
  [KIND.REPLY]: 2,
  [KIND.ERROR]: 3,
  [KIND.CANCEL]: 0,
  [KIND.PING]: 0,
  [KIND.PONG]: 0,
  [KIND.GOAWAY]: 3,
  [KIND.LAST]: 1,
};

/** A breach by the peer. */
class Fault extends Error {
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

function broken(text: string): never {
  throw new Fault("protocol_error", text);
}

/** Whether `a` is after `b`, as serial numbers. */
function after(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/** An outgoing call. Its id is 0 until it is sent. */
interface MyCall {
  readonly method: string;
  readonly raw: Uint8Array;
  readonly report: Promise<CallReport>;
  readonly settle: (report: CallReport) => void;
  id: number;
  size: number;
  /** The report of the call, once its caller has aborted it. */
  given?: string;
  timer?: unknown;
}

/** One connection of a client. */
class MinimalClient {
  /** Resolves with the code with which it ended; null after a graceful close. */
  readonly closed: Promise<string | null>;
  readonly #duplex: Duplex;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #flight = new Map<number, MyCall>();
  #waiting: MyCall[] = [];
  readonly #clock: Clock;
  readonly #handshake: unknown;
  #bytes = new Uint8Array(0);
  #helloReceived = false;
  #window = EARLY;
  #maxMessage = MAX_MESSAGE;
  #used = 0;
  #next = 1;
  /** The last outgoing call that the peer serves; undefined before its GOAWAY. */
  #last: number | undefined;
  /** The id of the last call of the peer. */
  #theirs: number | undefined;
  /** The code of the peer's GOAWAY. */
  #gone: string | null = null;
  #draining = false;
  /** It has sent FIN after a graceful close. */
  #finished = false;
  readonly #late = Promise.withResolvers<never>();
  #saidGoaway = false;
  /** The peer has warned; and it has been sent LAST. */
  #warned = false;
  #saidLast = false;
  /** The peer has sent LAST; and with ALL. */
  #noRequests = false;
  #over = false;

  constructor(duplex: Duplex, clock: Clock) {
    this.#duplex = duplex;
    this.#clock = clock;
    this.#handshake = clock.setTimeout(() => {
      this.#late.reject(new Fault("deadline_exceeded", "no HELLO in time"));
    }, 10_000);
    this.#late.promise.catch(() => {});
    this.#writer = duplex.writable.getWriter();
    this.#writer.closed.catch(() => {});
    // Step 1.
    this.#send(helloOf([[2, u32(0)]]));
    this.closed = this.#run();
  }

  /** Steps 5 and 6. */
  call(method: string, raw: Uint8Array, timeout?: number): MyCall {
    const { promise, resolve } = Promise.withResolvers<CallReport>();
    const call: MyCall = {
      ...{ method, raw, report: promise, settle: resolve },
      ...{ id: 0, size: 0 },
    };
    if (timeout !== undefined) {
      const late = () => this.giveUp(call, "deadline_exceeded");
      call.timer = this.#clock.setTimeout(late, timeout);
    }
    // Step 11.
    if (this.#warned) {
      this.#report(call, { outcome: "not_sent", code: "unavailable" });
      return call;
    }
    this.#waiting.push(call);
    this.#pump();
    return call;
  }

  /** Step 9. */
  giveUp(call: MyCall, code: string): void {
    if (this.#waiting.includes(call)) {
      this.#waiting = this.#waiting.filter((other) => other !== call);
      this.#report(call, { outcome: "not_sent", code });
    } else if (this.#flight.get(call.id) === call && call.given === undefined) {
      call.given = code;
      this.#send(frame(KIND.CANCEL, call.id));
    }
  }

  #report(call: MyCall, report: CallReport): void {
    this.#clock.clearTimeout(call.timer);
    const { given } = call;
    call.settle(
      given === undefined ? report : { outcome: report.outcome, code: given },
    );
  }

  /** Step 12. */
  close(): void {
    this.#draining = true;
    this.#goaway("", "");
    this.#pump();
  }

  abort(): void {
    this.#writer.abort(new Error("dropped")).catch(() => {});
  }

  #send(bytes: Uint8Array): void {
    this.#writer.write(bytes).catch(() => {});
  }

  #goaway(code: string, text: string): void {
    if (this.#saidGoaway && code === "") return;
    this.#saidGoaway = true;
    this.#send(goaway(this.#theirs, code, text));
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const [call] = this.#waiting;
      const { method, raw } = call;
      const bytes = request(this.#next, method, undefined, { raw });
      const { length } = bytes;
      const { calls, bytes: most } = this.#window;
      const never = length > most || length - 12 > this.#maxMessage ||
        calls === 0;
      if (this.#last !== undefined || (this.#helloReceived && never)) {
        this.#waiting.shift();
        const gone = this.#last !== undefined;
        const code = gone ? "unavailable" : "resource_exhausted";
        this.#report(call, { outcome: "not_sent", code });
        continue;
      }
      if (this.#flight.size >= calls || this.#used + length > most) return;
      this.#waiting.shift();
      call.id = this.#next++;
      call.size = length;
      this.#flight.set(call.id, call);
      this.#used += length;
      this.#send(bytes);
    }
    if (this.#warned && !this.#saidLast) {
      this.#saidLast = true;
      this.#send(last());
    }
    if (this.#draining && this.#flight.size === 0) {
      this.#finished = true;
      this.#writer.close().catch(() => {});
    }
  }

  async #run(): Promise<string | null> {
    const reader = this.#duplex.readable.getReader();
    let code: string | null;
    try {
      code = await this.#read(reader);
    } catch (error) {
      if (!(error instanceof Fault)) {
        code = this.#finished ? null : "unavailable";
      } else {
        code = error.code;
        this.#goaway(code, error.message);
      }
    }
    for (const call of this.#waiting.splice(0)) {
      this.#report(call, { outcome: "not_sent", code: "unavailable" });
    }
    for (const call of [...this.#flight.values()]) {
      this.#settle(call, { outcome: "unknown", code: "unavailable" });
    }
    this.#clock.clearTimeout(this.#handshake);
    this.#writer.close().catch(() => {});
    // Lingers: received bytes are discarded until the peer's FIN.
    while (!(await reader.read().catch(() => ({ done: true }))).done);
    return code;
  }

  async #read(
    reader: ReadableStreamDefaultReader<Uint8Array>,
  ): Promise<string | null> {
    for (;;) {
      const { done, value } = this.#over
        ? { done: true, value: new Uint8Array(0) }
        : await Promise.race([reader.read(), this.#late.promise]);
      if (done || this.#over) {
        if (!this.#over && this.#bytes.length > 0) {
          throw new Fault("truncated", "a cut frame");
        }
        const lost = this.#last === undefined && !this.#draining;
        return this.#gone === "" || this.#gone === null
          ? lost ? "unavailable" : null
          : this.#gone;
      }
      this.#bytes = new Uint8Array(join(this.#bytes, value));
      while (!this.#over && this.#frame());
    }
  }

  /** Steps 2 to 4: reads one frame, if it is whole. */
  #frame(): boolean {
    const bytes = this.#bytes;
    const view = new DataView(bytes.buffer);
    if (
      !this.#helloReceived && bytes.length >= 4 && view.getUint32(0) > 65_535
    ) {
      throw new Fault("not_sluice", "the peer does not speak Sluice");
    }
    if (bytes.length < 12) return false;
    const length = view.getUint32(0);
    if (length > (this.#helloReceived ? MAX_MESSAGE : 16_384)) {
      throw new Fault("frame_too_large", `a frame of ${length} bytes`);
    }
    const kind = bytes[4];
    const reserved = view.getUint16(6);
    const skipped = kind === KIND.PAD || kind >= 0x80;
    if (kind !== KIND.HELLO) {
      if (reserved !== 0) broken("reserved bits");
      const known = skipped ? 0xff : KNOWN_FLAGS[kind];
      if (known === undefined) broken(`unknown kind ${kind}`);
      if ((bytes[5] & ~known) !== 0) broken("unknown flags");
    }
    if (bytes.length < 12 + length) return false;
    const body = bytes.slice(12, 12 + length);
    const id = view.getUint32(8);
    const flags = bytes[5];
    this.#bytes = bytes.slice(12 + length);
    if (skipped) return true;
    const got = { kind, flags, reserved, id, body };
    if (kind === KIND.HELLO) this.#hello(got);
    else if (!this.#helloReceived && kind !== KIND.GOAWAY) broken("no HELLO");
    else this.#take(got);
    return true;
  }

  #hello(got: RawFrame): void {
    const { body } = got;
    if (this.#helloReceived) broken("a second HELLO");
    const magic = utf8("SLUICE").every((byte, i) => body[i] === byte);
    if (body.length < 8 || !magic) throw new Fault("not_sluice", "no magic");
    const lowest = 256 * body[6] + body[7];
    const highest = Math.max(lowest, highestVersion(body));
    if (lowest > 1 || highest < 1) {
      throw new Fault("version_mismatch", "versions 1-1");
    }
    const bits = got.flags !== 0 || got.reserved !== 0;
    if (bits && highest === 1) broken("bits on HELLO");
    const fields = checkFields(body);
    const names = fields.get(4);
    if (
      names !== undefined &&
      !new TextDecoder().decode(names).split(" ").includes("json")
    ) {
      throw new Fault("serializer_mismatch", "no serializer is supported");
    }
    const { maxMessage, calls, bytes } = readHello(got);
    if (maxMessage < 16_384 || maxMessage > 2 ** 30 || calls > 2 ** 24) {
      broken("limits that are not legal");
    }
    this.#clock.clearTimeout(this.#handshake);
    this.#helloReceived = true;
    this.#window = { calls, bytes };
    this.#maxMessage = maxMessage;
    this.#pump();
  }

  #take(got: RawFrame): void {
    const { kind, id, body } = got;
    switch (kind) {
      case KIND.REQUEST:
        if (this.#noRequests) broken("a REQUEST after LAST");
        checkBody(got);
        if (this.#theirs !== undefined && !after(id, this.#theirs)) {
          broken("an id that does not increase");
        }
        // Step 10.
        if (this.#saidGoaway) return;
        this.#theirs = id;
        this.#send(
          frame(KIND.ERROR, id, errorBody("not_found", "serves none")),
        );
        return;
      case KIND.REPLY:
      case KIND.ERROR:
        return this.#answer(got);
      case KIND.CANCEL:
        if (body.length > 0) broken("a CANCEL with a body");
        if (this.#theirs === undefined || after(id, this.#theirs)) {
          broken("a CANCEL for no call");
        }
        return;
      case KIND.LAST:
        if (body.length > 0) broken("a LAST with a body");
        this.#noRequests = true;
        this.#over = got.flags === 1;
        return;
      case KIND.PING:
      case KIND.PONG:
        if (body.length > 0) broken("a PING with a body");
        if (kind === KIND.PING) this.#send(frame(KIND.PONG, id));
        return;
      default:
        return this.#left(got);
    }
  }

  /** Steps 7 and 8. */
  #answer(got: RawFrame): void {
    const kind = checkBody(got);
    const call = this.#flight.get(got.id);
    if (call === undefined) broken(`an answer to call ${got.id}`);
    let answer;
    try {
      answer = readAnswer(got);
    } catch {
      answer = { ...readAnswer({ ...got, body: withoutPayload(got) }), kind };
      if (answer.ok) {
        return this.#settle(call, { outcome: "executed", code: "bad_reply" });
      }
    }
    const { ok, started, code, value } = answer;
    const plain = value instanceof Uint8Array && ok
      ? { bytes: value.length }
      : value;
    this.#settle(
      call,
      ok
        ? { outcome: "executed", value: plain }
        : { outcome: started ? "executed" : "refused", code, data: plain },
    );
  }

  #settle(call: MyCall, report: CallReport): void {
    this.#flight.delete(call.id);
    this.#used -= call.size;
    this.#report(call, report);
    if (this.#helloReceived) this.#pump();
  }

  /** Step 11. */
  #left(got: RawFrame): void {
    let said;
    try {
      said = readGoaway(got);
    } catch {
      broken("a GOAWAY that does not fit its layout");
    }
    if ((got.flags & 2) !== 0) {
      const late = got.flags !== 2 || this.#last !== undefined;
      if (late || said.code !== "") broken("a warning that may not come");
      this.#warned = true;
      this.#pump();
      return;
    }
    const lastId = said.lastId === undefined
      ? -1
      // An id after our last one excludes nothing.
      : after(said.lastId, this.#next - 1)
      ? Infinity
      : this.#next - 1 + ((said.lastId - (this.#next - 1)) | 0);
    if (this.#last !== undefined && lastId > this.#last) {
      broken("a GOAWAY with a later id");
    }
    this.#last = lastId;
    this.#gone = said.code || this.#gone || "";
    for (const call of [...this.#flight.values()]) {
      if (call.id > lastId) {
        this.#settle(call, { outcome: "refused", code: "unavailable" });
      }
    }
    this.#pump();
  }
}

/** The highest version that a HELLO offers; 0 if it has no field for it. */
function highestVersion(body: Uint8Array): number {
  for (let at = 8; at + 3 <= body.length;) {
    const length = 256 * body[at + 1] + body[at + 2];
    if (body[at] === 9 && length === 2 && at + 5 <= body.length) {
      return 256 * body[at + 3] + body[at + 4];
    }
    at += 3 + length;
  }
  return 0;
}

/** Checks the fields of a HELLO, and returns their types. */
function checkFields(body: Uint8Array): Map<number, Uint8Array> {
  const fields = new Map<number, Uint8Array>();
  for (let at = 8; at < body.length;) {
    if (at + 3 > body.length) broken("a HELLO field is cut short");
    const length = body[at + 1] * 256 + body[at + 2];
    const type = body[at];
    if (at + 3 + length > body.length) broken("a HELLO field is cut short");
    if (type >= 1 && type <= 3 && length !== 4) broken("a field of no u32");
    if (type === 9 && length !== 2) broken("a highest version of no u16");
    fields.set(type, body.subarray(at + 3, at + 3 + length));
    at += 3 + length;
  }
  return fields;
}

/** Where the payload of a call's frame begins, its layout checked. */
function payloadAt({ kind, flags, body }: RawFrame): number {
  let at = 0;
  const need = (n: number) => {
    if (at + n > body.length) broken("a body is too short");
  };
  const uint = (size: number) => {
    need(size);
    let n = 0;
    for (let i = 0; i < size; i++) n = n * 256 + body[at++];
    return n;
  };
  const text = (length: number) => {
    need(length);
    try {
      strict.decode(body.subarray(at, at += length));
    } catch {
      broken("text that is not UTF-8");
    }
  };
  if (kind === KIND.REQUEST && (flags & 1) !== 0) uint(4);
  if ((flags & 2) !== 0) {
    const end = uint(2) + at;
    if (end > body.length) broken("a metadata block is too long");
    while (at < end) {
      text(uint(1));
      text(uint(2));
    }
    if (at !== end) broken("a metadata block is not filled");
  }
  if (kind === KIND.REQUEST) text(uint(2));
  if (kind === KIND.ERROR) {
    text(uint(1));
    text(uint(2));
  }
  need(1);
  return at;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Checks the layout, and returns the kind of the payload. */
function checkBody(got: RawFrame): number {
  const at = payloadAt(got);
  const kind = got.body[at];
  if (kind > 4) broken(`payload kind ${kind}`);
  if (kind === 0 && at + 1 < got.body.length) broken("a body is too long");
  return kind;
}

/** The body with nothing as its payload. */
function withoutPayload(got: RawFrame): Uint8Array {
  return new Uint8Array(join(got.body.subarray(0, payloadAt(got)), [0]));
}

/** Follows the instructions of the suite. It has no metadata, deadlines or streams. */
export async function driveMinimal(
  dial: () => Promise<Duplex>,
  clock: Clock,
): Promise<void> {
  let report: Report | null = null;
  for (;;) {
    let client = new MinimalClient(await dial(), clock);
    const next = client.call("Conformance.next", payload(undefined));
    const calls = [next];
    const { outcome, value } = await next.report;
    const done = outcome === "executed" && value === null;
    if (done) client.close();
    for (const step of (value ?? []) as Step[]) {
      if (step.do === "call") {
        const { method, params, bytes, timeout } = step;
        const value = bytes === undefined ? params : new Uint8Array(bytes);
        calls.push(client.call(method, payload(value), timeout));
      } else if (step.do === "await") await calls[step.call].report;
      else if (step.do === "abort") client.giveUp(calls[step.call], "aborted");
      else if (step.do === "close") client.close();
      else if (step.do === "report") {
        calls.push(client.call("Conformance.report", payload(report)));
      } else if (step.do === "reconnect") {
        client.abort();
        client = new MinimalClient(await dial(), clock);
      }
    }
    const closed = await client.closed;
    if (done) return;
    const settled = calls.map(({ report }) => report);
    report = { calls: await Promise.all(settled), closed };
  }
}
