/**
 * Serves the calls that the peer makes on one connection: takes its messages,
 * and passes each call to the part that is responsible for it.
 *
 * - A request is accepted or refused in the turn in which it arrived, from its
 *   header alone, before its params are decoded.
 * - A call that has not started is answered as soon as its caller cancels it or
 *   its deadline passes. The signal of one that runs fires, and the call is
 *   answered when its handler settles: only then is its slot free.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { LARGE } from "../base/large_reads.ts";
import { Timeout } from "../base/timers.ts";
import {
  type ConnectionError,
  type ErrorCode,
  protocolError,
  quote,
  RpcError,
} from "../base/errors.ts";
import type { CallWindow, Connection } from "../types/connection.ts";
import type { LiveCall, LiveCallContext } from "../types/stats.ts";
import type { RequestLinks } from "../wire/codec.ts";
import type { MetadataBlock } from "../wire/metadata.ts";
import type {
  ConnectionStreams,
  IncomingStreams,
} from "../streams/contract.ts";
import type { IncomingCalls, ServeContext } from "../connection/contract.ts";
import { readFirst } from "../connection/handshake.ts";
import { ReceiveWindow } from "../connection/receive_window.ts";
import type { FairShare } from "./fair_share.ts";
import { KeptResults, type ServerCallLinks } from "./kept_results.ts";
import type { MethodEntry, MethodTable } from "./method.ts";
import { OpenCalls } from "./open_calls.ts";
import { type ErrorPolicy, LATE, Responder } from "./responder.ts";
import { HandlerRunner } from "./runner.ts";
import { Scheduler } from "./scheduler.ts";
import { ServerCall, type ServerCallHost, toLiveCall } from "./server_call.ts";
import { WindowUpdates } from "./window_updates.ts";

/** The services of a connection, as a {@linkcode Dispatcher} uses them. */
export interface ServedMethods extends ErrorPolicy {
  readonly methodTable: MethodTable;
}

/** Serves the peer's calls; what each member promises stands at {@linkcode IncomingCalls}. */
export class Dispatcher implements ServerCallHost, IncomingCalls {
  readonly #context: ServeContext;
  readonly #methodTable: MethodTable;
  readonly receiveWindow: ReceiveWindow;
  readonly #responder: Responder;
  readonly #updates: WindowUpdates;
  readonly #openCalls: OpenCalls;
  readonly #scheduler: Scheduler;
  readonly #runner: HandlerRunner;
  #kept: KeptResults<ServerCall> | undefined;
  readonly #checkRoom = () => this.#context.streams()?.checkRoom();
  /** Requests are refused: the connection drains, or is over. */
  #draining = false;
  /** Why handlers should finish, if either side drains or the connection is over. */
  #drainReason: string | undefined;
  #drainError: RpcError | undefined;
  /** Runs from a warning until requests are refused. */
  #quietTimer: Timeout | undefined;

  /** @param fairShare Limits the handlers of all connections, on a server. */
  constructor(
    context: ServeContext,
    services: ServedMethods,
    fairShare: FairShare | undefined,
  ) {
    this.#context = context;
    this.#methodTable = services.methodTable;
    const receiveWindow = new ReceiveWindow(context.codec.features.excess);
    const responder = new Responder(context, services);
    const openCalls = new OpenCalls(context, receiveWindow, responder);
    const scheduler = new Scheduler(
      context,
      fairShare,
      (call) => runner.start(call),
    );
    const runner = new HandlerRunner(context, openCalls, scheduler, responder);
    this.receiveWindow = receiveWindow;
    this.#updates = new WindowUpdates(context, receiveWindow);
    this.#responder = responder;
    this.#openCalls = openCalls;
    this.#scheduler = scheduler;
    this.#runner = runner;
  }

  get clock(): Clock {
    return this.#context.clock;
  }

  get maxReply(): number {
    return this.#responder.maxReply;
  }

  get connection(): Connection {
    return this.#context.connection;
  }

  get numbers(): IncomingCalls["numbers"] {
    const { running, ordered } = this.#scheduler;
    const served = { ...this.#responder.counts };
    const kept = this.#kept?.size ?? 0;
    return { running, waiting: this.#waiting, ordered, served, kept };
  }

  /** Calls that have not started. */
  get #waiting(): number {
    return this.#scheduler.waiting + (this.#kept?.waiting ?? 0);
  }

  get current(): ServerCall | undefined {
    return this.#openCalls.current;
  }

  calls(context: LiveCallContext): LiveCall[] {
    return this.#openCalls.all().map((call) => toLiveCall(call, context));
  }

  countOpen(except: ReadonlySet<object> = NO_CALLS): number {
    let open = this.#scheduler.running + this.#waiting +
      this.receiveWindow.arriving;
    if (except.size === 0) return open;
    // `except` may name calls of other connections: a server closes all of its own.
    for (const call of this.#openCalls.all()) {
      const { state } = call;
      const runs = state === "running" || state === "streaming";
      if (runs && except.has(call)) open--;
    }
    return open;
  }

  // Messages of the peer.

  request(
    id: number,
    method: string,
    size: number,
    remaining: number,
    metadata: MetadataBlock | undefined,
    requestLinks?: RequestLinks,
  ): void {
    const receiveWindow = this.receiveWindow;
    if (requestLinks !== undefined) checkReferences(id, requestLinks);
    const draining = this.#draining;
    const { codec, clock, tick, observe } = this.#context;
    const { opensStream, urgent } = codec;
    const { table } = this.#openCalls;
    const check = opensStream && !draining ? this.#checkRoom : undefined;
    if (!receiveWindow.accept(id, size, table, draining, urgent, check)) {
      // The caller itself settles the calls above the id of the local GOAWAY.
      if (!codec.features.goaway) {
        this.#refuse(id, method, size, metadata, "unavailable", CLOSING);
      }
      return;
    }
    const links = requestLinks &&
      this.#keptResults().link(id, size, requestLinks);
    const methodEntry = this.#methodTable.get(method);
    const refusal = methodEntry === undefined
      ? noMethod(method)
      : remaining === 0
      ? TOO_LATE
      : links?.refusal;
    if (refusal !== undefined) {
      const { code, text } = refusal;
      this.#refuse(id, method, size, metadata, code, text);
      receiveWindow.answered(size);
      links?.refused();
      return;
    }
    const call = new ServerCall(
      this,
      methodEntry as MethodEntry,
      id,
      size,
      remaining < 0 ? Infinity : clock.now() + remaining,
      metadata,
      tick.now(),
    );
    if (urgent) call.urgent = true;
    if (opensStream) this.#acceptStream(call);
    if (observe !== undefined && observe.active) {
      observe.onIncoming(call, clock);
    }
    if (links !== undefined) this.#startLinked(call, links);
    else if (this.#scheduler.mayStartNow(call)) this.#runner.start(call);
    else {
      this.#retain(call);
      this.#scheduler.wait(call);
    }
  }

  /** Starts a call that has to do with the results of others, or lets it wait for them. */
  #startLinked(call: ServerCall, links: ServerCallLinks<ServerCall>): void {
    call.links = links;
    if (links.wait(call)) return this.#retain(call);
    // Of its results the codec knows nothing: large ones need a turn of their own.
    if (links.bytes < LARGE && this.#scheduler.mayStartNow(call)) {
      this.#runner.start(call);
    } else {
      this.#retain(call);
      this.#scheduler.wait(call);
      this.#scheduler.startWaiting();
    }
  }

  #retain(call: ServerCall): void {
    call.retained = this.#context.codec.retain();
    this.#openCalls.register(call);
  }

  /** Made when a call first has to do with the result of another. */
  #keptResults(): KeptResults<ServerCall> {
    const scheduler = this.#scheduler;
    return this.#kept ??= new KeptResults<ServerCall>({
      maxMessage: this.#context.limits.maxMessage,
      onResults: (call) => scheduler.wait(call),
      onNoResult: (call, { code, text }) =>
        this.#openCalls.rejectUnstarted(call, code, text),
      onChange: () => {
        scheduler.startWaiting();
        this.#context.settled();
      },
    }, this.receiveWindow);
  }

  release(id: number): void {
    this.receiveWindow.checkSeen(id, "RELEASE");
    this.#kept?.release(id);
  }

  begin(id: number, size: number): void {
    const { table } = this.#openCalls;
    const { urgent } = this.#context.codec;
    this.receiveWindow.begin(id, size, table, this.#draining, urgent);
  }

  /** The params are a stream, or have one beside them. */
  #acceptStream(call: ServerCall): void {
    // The codec reads a stream only where streams are supported.
    const table = this.#context.streams() as ConnectionStreams;
    call.streams = table.incoming(call, this.#runner);
    call.streams.open(this.#context.codec.hasBody === true);
  }

  #refuse(
    id: number,
    method: string,
    size: number,
    metadataBlock: MetadataBlock | undefined,
    code: ErrorCode,
    text: string,
  ): void {
    const { connection } = this.#context;
    const request = { connection, method, id, size, metadataBlock };
    this.#responder.refuse(request, code, text);
  }

  cancel(id: number): void {
    const call = this.#openCalls.table.get(id);
    // The table first: a call that has run for 2^31 ids would not count as seen.
    if (call !== undefined) this.#giveUp(call, "cancelled", CANCELLED);
    // Otherwise the CANCEL has crossed the reply.
    else this.receiveWindow.checkSeen(id, "CANCEL");
  }

  streamsOf(id: number): IncomingStreams | null | undefined {
    const call = this.#openCalls.table.get(id);
    if (call !== undefined) return call.streams ?? null;
    this.receiveWindow.checkSeen(id, "a frame of a stream");
    return undefined;
  }

  passTurn(call: ServerCall): void {
    this.#scheduler.passTurn(call);
  }

  expire(call: ServerCall): void {
    this.#giveUp(call, "deadline_exceeded", LATE);
  }

  /** Ends a call early: answers one that has not started, and fires the signal of one that runs. */
  #giveUp(call: ServerCall, code: ErrorCode, text: string): void {
    switch (call.state) {
      case "waiting":
        this.#rejectUnstarted(call, code, text);
        this.#scheduler.leaveQueue(call);
        this.#context.settled();
        return;
      case "validating":
        this.#rejectUnstarted(call, code, text);
        return;
      case "running":
      case "streaming":
        this.#context.deadlines.remove(call);
        call.abort(() => abortError(code, text));
        call.streams?.cancel(call.aborted?.reason);
        return;
      case "done":
        return;
    }
  }

  // What the connection does.

  open(): void {
    this.receiveWindow.grant(this.#context.limits);
    this.#updates.open();
    this.#scheduler.open();
  }

  startWaiting(): void {
    this.#scheduler.startWaiting();
  }

  onFlush(): void {
    this.#responder.onFlush();
    this.receiveWindow.onFlush();
  }

  spoiled(id: number): void {
    this.#responder.spoiled(id);
  }

  setWindow(window: Partial<CallWindow>): void {
    this.#updates.set(window);
  }

  onWindow(id: number, window: CallWindow): void {
    this.#updates.onAck(id, window);
  }

  warn(why: string, quiet: () => void): boolean {
    const { codec, sendBuffer, limits, clock, deadlines } = this.#context;
    if (!codec.features.goaway || limits.windowCalls === 0) return false;
    codec.goaway(sendBuffer, Infinity, "", "");
    this.#quietTimer = new Timeout(clock, deadlines);
    this.#awaitQuiet(quiet);
    this.signalDraining(why);
    return true;
  }

  #awaitQuiet(quiet: () => void): void {
    const { lastId } = this.receiveWindow;
    this.#quietTimer?.set(
      QUIET_TIME,
      () => void this.#checkQuiet(lastId, quiet),
    );
  }

  /** A peer that has sent a call meanwhile is not quiet. Nor is one in the middle of a message, or with little room in its window: it may be waiting. */
  async #checkQuiet(
    lastId: number | undefined,
    quiet: () => void,
  ): Promise<void> {
    const { clock, codec, limits } = this.#context;
    const { receiveWindow } = this;
    await readFirst(clock);
    const { windowCalls, windowBytes } = receiveWindow.confirmed ?? limits;
    if (this.#draining) return;
    if (
      receiveWindow.lastId === lastId && codec.unfinished === undefined &&
      receiveWindow.calls < windowCalls &&
      receiveWindow.bytes <= windowBytes / 2
    ) quiet();
    else this.#awaitQuiet(quiet);
  }

  drain(why: string): void {
    this.#draining = true;
    this.#updates.end();
    this.#quietTimer?.clear();
    this.signalDraining(why);
  }

  signalDraining(why: string): void {
    if (this.#drainReason !== undefined) return;
    this.#drainReason = why;
    for (const call of this.#openCalls.all()) call.drain();
  }

  get drainReason(): RpcError | undefined {
    if (this.#drainReason === undefined) return undefined;
    return this.#drainError ??= abortError("unavailable", this.#drainReason);
  }

  onPeerHalfClose(reason: ConnectionError): void {
    this.drain(reason.message);
    // Params that have not ended never will.
    const lost = abortError("unavailable", reason.message, reason);
    for (const call of this.#openCalls.table.values()) {
      call.streams?.reader?.onConnectionLost(lost);
    }
  }

  /**
   * Refuses the calls that have not started. The last of them, up to `lastId`,
   * are refused by the id that this returns for the local GOAWAY. The others are
   * answered: a call that has started is behind them, or the protocol has no
   * GOAWAY.
   */
  refuseUnstarted(lastId: number | undefined): number | undefined {
    // Whatever ends from here on must not start a call that is refused.
    this.#scheduler.stop();
    let last = lastId;
    let excluded = this.#context.codec.features.goaway;
    for (const call of this.#openCalls.all().reverse()) {
      const { state, id } = call;
      const started = state !== "waiting" && state !== "validating";
      if (started) excluded = false;
      else if (excluded) last = (id - 1) >>> 0;
      else this.#rejectUnstarted(call, "unavailable", CLOSING);
    }
    return last;
  }

  #rejectUnstarted(call: ServerCall, code: ErrorCode, text: string): void {
    const { state } = call;
    if (state === "waiting") this.#scheduler.remove(call);
    this.#openCalls.rejectUnstarted(call, code, text);
    if (state === "validating") call.abort(() => abortError(code, text));
  }

  end(reason: ConnectionError): void {
    this.#scheduler.stop();
    this.drain(reason.message);
    this.#kept?.close();
    let lost: RpcError | undefined;
    const why = () =>
      lost ??= abortError("unavailable", reason.message, reason);
    for (const call of this.#openCalls.all()) {
      if (call.state === "waiting") this.#scheduler.remove(call);
      this.#openCalls.onConnectionLost(call, why);
      call.abort(why);
      call.streams?.onConnectionLost(call.aborted?.reason);
    }
    this.receiveWindow.end();
    this.#scheduler.end();
  }
}

/** How long a peer that was warned and sends no LAST may send no call, in ms, until it counts as having sent its last. */
const QUIET_TIME = 1000;

const NO_CALLS: ReadonlySet<object> = new Set();

/** A reference can name only a call before its own, so that none waits for itself. */
function checkReferences(own: number, { references }: RequestLinks): void {
  for (const { id } of references) {
    if (((own - id) | 0) > 0) continue;
    protocolError(
      `request ${own} refers to call ${id}, which is not before it`,
    );
  }
}

/** Why a call with this method is refused. */
function noMethod(method: string): { code: ErrorCode; text: string } {
  return { code: "not_found", text: `there is no method ${quote(method)}` };
}

const TOO_LATE = { code: "deadline_exceeded", text: LATE } as const;
const CANCELLED = "the caller cancelled the call";
const CLOSING = "the connection is closing";

/**
 * Why the signal of a handler fires. Its outcome is `unknown`, because calls
 * that the handler makes with its `ctx` reject with this very error, and it must
 * not say of those that they were executed.
 */
function abortError(
  code: ErrorCode,
  message: string,
  cause?: unknown,
): RpcError {
  return new RpcError(code, message, { outcome: "unknown", cause });
}
