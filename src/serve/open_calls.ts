/**
 * The calls of the peer that have no reply yet.
 *
 * - Every call is answered exactly once, cancelled or not: its reply sets the
 *   state `done`, and a call that is done is not answered again.
 * - A call that outlives the turn in which it arrived is in the table, by its
 *   id; a call that is answered in that turn never is. The call whose code is
 *   on the stack counts as open, in the table or not.
 * - A call occupies the window until its reply is written: if that is written in
 *   fragments, until the last of them is.
 * - Only its own end removes a call from the table, and no call enters it that
 *   is done.
 *
 * @module
 */

import {
  callEndedError,
  type ErrorCode,
  type RpcError,
} from "../base/errors.ts";
import type { LargeMessage } from "../wire/frame_buffer.ts";
import type { ServeContext } from "../connection/contract.ts";
import type { ReceiveWindow } from "../connection/receive_window.ts";
import type { Responder } from "./responder.ts";
import type { ServerCall } from "./server_call.ts";

/** The open calls of one connection. */
export class OpenCalls {
  /** The call whose code is on the stack: its handler, its schema, its serializer or its key. The {@linkcode HandlerRunner} sets it. */
  current: ServerCall | undefined;
  readonly #context: ServeContext;
  readonly #receiveWindow: ReceiveWindow;
  readonly #responder: Responder;
  readonly #table = new Map<number, ServerCall>();

  constructor(
    context: ServeContext,
    receiveWindow: ReceiveWindow,
    responder: Responder,
  ) {
    this.#context = context;
    this.#receiveWindow = receiveWindow;
    this.#responder = responder;
  }

  /** All of them, in the order in which they arrived. */
  all(): ServerCall[] {
    const all = [...this.#table.values()];
    const { current } = this;
    if (current !== undefined && !current.done && !all.includes(current)) {
      all.push(current);
    }
    return all;
  }

  /** The calls in the table, by id. */
  get table(): ReadonlyMap<number, ServerCall> {
    return this.#table;
  }

  /** Adds a call that outlives this turn to the table. Does nothing for one that is there or is done. */
  register(call: ServerCall): void {
    if (call.registered || call.done) return;
    call.registered = true;
    this.#table.set(call.id, call);
    // Its params were decoded in this turn: the codec's payload is still its own.
    if (call.retained === undefined && call.decodedBytes < 0) {
      this.countDecoded(call);
    }
    if (call.heapIndex < 0) this.#context.deadlines.add(call);
  }

  /** The params have been decoded: counts the memory that they take until the call is done. */
  countDecoded(call: ServerCall): void {
    call.decodedBytes = this.#context.codec.decodedSize(call.retained) +
      (call.links?.decoded ?? 0);
    this.#receiveWindow.decoded += call.decodedBytes;
  }

  // Replies. A call that is done gets none.

  /** Replies with the result of a handler. */
  reply(call: ServerCall, value: unknown): void {
    if (call.done) return;
    if (this.#responder.reply(call, value)) this.#answered(call);
  }

  /** Replies with what a handler, a schema or a key threw. */
  replyWithError(call: ServerCall, started: boolean, error: unknown): void {
    if (call.done) return;
    if (this.#responder.replyWithError(call, started, error)) {
      this.#answered(call);
    }
  }

  /** Replies with this very error. */
  fail(call: ServerCall, started: boolean, error: RpcError): void {
    if (call.done) return;
    if (this.#responder.fail(call, started, error)) this.#answered(call);
  }

  /** Refuses a call that has not started, and never will. */
  rejectUnstarted(call: ServerCall, code: ErrorCode, text: string): void {
    this.#responder.rejectUnstarted(call, code, text);
    this.#answered(call);
  }

  /** The stream that is the result of a call has ended; with an error, if there is one. */
  finishStream(call: ServerCall, error: RpcError | undefined): void {
    if (call.done) return;
    this.#responder.finishStream(call, error);
    this.#answered(call);
  }

  /** The connection is lost: the call gets no reply. */
  onConnectionLost(call: ServerCall, reason: () => RpcError): void {
    this.#end(call);
    this.#responder.onConnectionLost(call, reason);
  }

  #answered(call: ServerCall): void {
    const { large } = this.#context.sendBuffer;
    if (large === undefined) this.#receiveWindow.answered(call.size);
    else this.#cut(call, large);
    this.#end(call);
    call.streams?.release(callEndedError());
  }

  /** The reply is written in fragments: the call leaves the window with the last of them. */
  #cut({ size }: ServerCall, reply: LargeMessage): void {
    const { sendBuffer, scheduler } = this.#context;
    sendBuffer.large = undefined;
    reply.onEnd = () => this.#receiveWindow.answered(size);
    scheduler?.add(reply);
  }

  #end(call: ServerCall): void {
    call.state = "done";
    if (call.decodedBytes > 0) this.#receiveWindow.decoded -= call.decodedBytes;
    if (call.registered) {
      call.registered = false;
      this.#table.delete(call.id);
    }
    this.#context.deadlines.remove(call);
    call.streams?.close();
    call.links?.end();
  }
}
