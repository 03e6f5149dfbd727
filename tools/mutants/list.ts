/**
 * Deliberate mistakes in `src/`, one for each class of bug that the simulation,
 * the faults at every byte or the hostile peers must catch.
 *
 * @module
 */

/** One mistake. */
export interface Mutant {
  /** What goes wrong, as in the table of `docs/reliability.md`. */
  readonly name: string;
  /** The check that must catch it. */
  readonly caughtBy: "simulation" | "cuts" | "hostile";
  readonly file: string;
  /** A text that occurs once in the file, and its replacement. */
  readonly find: string;
  readonly replace: string;
}

/** All mistakes, in the order of the table. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "a request aborted before it is sent is sent all the same",
    caughtBy: "simulation",
    file: "src/wire/native_codec.ts",
    find: "sendBuffer.overwrite(batchOffset, 4, PAD);",
    replace: "void batchOffset;",
  },
  {
    name: "a handler starts although its call was cancelled before",
    caughtBy: "simulation",
    file: "src/serve/dispatcher.ts",
    find: `    if (state === "waiting") this.#scheduler.remove(call);
    this.#openCalls.rejectUnstarted(call, code, text);`,
    replace: `    this.#openCalls.rejectUnstarted(call, code, text);`,
  },
  {
    name: "an error that a handler throws is reported as not started",
    caughtBy: "simulation",
    file: "src/serve/runner.ts",
    find: "else this.#openCalls.replyWithError(call, true, result);",
    replace: "else this.#openCalls.replyWithError(call, false, result);",
  },
  {
    name: "a running call gets a reply when it is cancelled",
    caughtBy: "simulation",
    file: "src/serve/dispatcher.ts",
    find: `        this.#context.deadlines.remove(call);
        call.abort(() => abortError(code, text));`,
    replace: `        call.abort(() => abortError(code, text));
        this.#openCalls.replyWithError(call, true, abortError(code, text));`,
  },
  {
    name: "a CANCEL does not fire the handler's signal",
    caughtBy: "simulation",
    file: "src/serve/dispatcher.ts",
    find: `        this.#context.deadlines.remove(call);
        call.abort(() => abortError(code, text));`,
    replace: `        this.#context.deadlines.remove(call);`,
  },
  {
    name: "one handler more than `maxRunning` runs",
    caughtBy: "simulation",
    file: "src/serve/scheduler.ts",
    find: "this.running < this.#maxRunning + more &&",
    replace: "this.running <= this.#maxRunning + more &&",
  },
  {
    name: "calls after the server's GOAWAY are served",
    caughtBy: "simulation",
    file: "src/serve/dispatcher.ts",
    find: "const draining = this.#draining;\n    const { codec",
    replace: "const draining = false;\n    const { codec",
  },
  {
    name: "the loss of a connection does not abort its handlers",
    caughtBy: "simulation",
    file: "src/serve/dispatcher.ts",
    find: "      call.abort(why);\n",
    replace: "",
  },
  {
    name: "waiting calls do not start when the writer has room again",
    caughtBy: "simulation",
    file: "src/connection/connection.ts",
    find: "      this.incoming.startWaiting();\n",
    replace: "",
  },
  {
    name: "a call with a reply still occupies the receive window",
    caughtBy: "simulation",
    file: "src/serve/open_calls.ts",
    find: "if (large === undefined) this.#receiveWindow.answered(call.size);",
    replace: "if (large === undefined) this.#receiveWindow;",
  },
  {
    name: "the receive window is freed before the reply is written",
    caughtBy: "simulation",
    file: "src/connection/receive_window.ts",
    find: "    this.#answeredCalls++;\n    this.#answeredBytes += size;",
    replace: "    this.calls--;\n    this.bytes -= size;",
  },
  {
    name: "an aborted call frees the send window before its reply",
    caughtBy: "simulation",
    file: "src/call/abort.ts",
    find: `if (cancel === "silent") {`,
    replace: `if (cancel !== "none") {`,
  },
  {
    name: "no CANCEL follows a call that is aborted in flight",
    caughtBy: "simulation",
    file: "src/call/abort.ts",
    find: `if (cancel !== "none") codec.cancel(sendBuffer, call.seq >>> 0);`,
    replace: "",
  },
  {
    name: "a call in flight when the connection is lost is not_sent",
    caughtBy: "simulation",
    file: "src/call/pending_calls.ts",
    find: `this.#failAfter(-Infinity, "unknown", reason, cancel);`,
    replace: `this.#failAfter(-Infinity, "not_sent", reason, cancel);`,
  },
  {
    name: "a call that waits for a result is not woken",
    caughtBy: "simulation",
    file: "src/serve/kept_results.ts",
    find: "    if (result.waiting.size > 0) this.#notify(result);\n",
    replace: "",
  },
  {
    name: "a reference names the call after the one it is about",
    caughtBy: "simulation",
    file: "src/call/references.ts",
    find: "sourceFor(each).#keptAs >>> 0",
    replace: "(sourceFor(each).#keptAs + 1) >>> 0",
  },
  {
    name: "a call that is held is not sent when it has its results",
    caughtBy: "simulation",
    file: "src/call/references.ts",
    find: "    for (const links of held) links.#await();\n",
    replace: "",
  },
  {
    name: "a call with references stays open when a result is gone",
    caughtBy: "simulation",
    file: "src/call/references.ts",
    find: "queue.push(call, undefined, true);",
    replace: "void queue;",
  },
  {
    name: "queued calls stay open when the connection ends",
    caughtBy: "simulation",
    file: "src/call/send_queue.ts",
    find:
      `      this.#settler.failOnConnectionLoss(call, call.outcome, reason);\n`,
    replace: "",
  },
  {
    name: "LAST is sent while calls still wait",
    caughtBy: "simulation",
    file: "src/call/send_queue.ts",
    find:
      "if (!this.#owesLast || this.length > 0 || this.#inFlight.cutting) return;",
    replace: "if (!this.#owesLast) return;",
  },
  {
    name: "a GOAWAY refuses one call too many",
    caughtBy: "simulation",
    file: "src/call/call_table.ts",
    find: "entry !== undefined && entry.seq > seq",
    replace: "entry !== undefined && entry.seq >= seq",
  },
  {
    name: "the bytes of the send window are never freed",
    caughtBy: "simulation",
    file: "src/call/send_window.ts",
    find: "    this.bytes -= bytes;\n",
    replace: "    void bytes;\n",
  },
  {
    name: "one call more than the window allows is sent",
    caughtBy: "simulation",
    file: "src/call/send_window.ts",
    find: "return this.calls < calls && this.bytes + size <= bytes",
    replace: "return this.calls <= calls && this.bytes + size <= bytes",
  },
  {
    name: "a settled call keeps listening to its signal",
    caughtBy: "simulation",
    file: "src/call/settle.ts",
    find: `    if (signal !== undefined) this.#signals.remove(signal, call);`,
    replace: "    void signal;",
  },
  {
    name: "a settled call keeps its deadline",
    caughtBy: "simulation",
    file: "src/call/settle.ts",
    find: "    this.#deadlines.remove(extra);",
    replace: "",
  },
  {
    name: "a deadline fires late",
    caughtBy: "simulation",
    file: "src/base/timers.ts",
    find: "const delay = Math.ceil(at - this.#clock.now());",
    replace: "const delay = 3 + Math.ceil(at - this.#clock.now());",
  },
  {
    name: "the id of a running call is used again",
    caughtBy: "simulation",
    file: "src/call/call_table.ts",
    find: "while (this.#slots[seq & this.#mask] !== undefined) seq++;",
    replace: "",
  },
  {
    name: "a CANCEL has the id of the call before",
    caughtBy: "simulation",
    file: "src/call/abort.ts",
    find: "codec.cancel(sendBuffer, call.seq >>> 0);",
    replace: "codec.cancel(sendBuffer, (call.seq - 1) >>> 0);",
  },
  {
    name: "frames queued during a write are never written",
    caughtBy: "simulation",
    file: "src/connection/send_buffer.ts",
    find: 'if (this.ahead === 0) this.#enter("idle");',
    replace: 'if (this.ahead >= 0) this.#enter("idle");',
  },
  {
    name: "a FIN without GOAWAY counts as a graceful half-close",
    caughtBy: "simulation",
    file: "src/connection/reader.ts",
    find: "codec.features.goaway && last === Infinity",
    replace: "!codec.features.goaway",
  },
  {
    name: "a connection lingers for ever if its peer never closes",
    caughtBy: "cuts",
    file: "src/connection/linger.ts",
    find: "this.#begin(LINGER_TIME);",
    replace: "this.#timer.clear();",
  },
  {
    name: "`ready` does not resolve when the window has room",
    caughtBy: "simulation",
    file: "src/call/send_queue.ts",
    find: "if (this.#ready.waited && this.#hasRoom()) this.#ready.wake();",
    replace: "",
  },
  {
    name: "a frame that spans three chunks loses bytes",
    caughtBy: "simulation",
    file: "src/wire/fragments/body_parts.ts",
    find: "        this.#tailFill += take;\n",
    replace: "",
  },
  {
    name: "no END follows the last item of a stream",
    caughtBy: "simulation",
    file: "src/streams/stream_writer.ts",
    find: "if (failure === undefined) frames.end(owner, trailers);\n    else ",
    replace: "if (failure !== undefined) ",
  },
  {
    name: "a lost connection leaves the source of a stream running",
    caughtBy: "simulation",
    file: "src/streams/stream_writer.ts",
    find: 'if (this.live) this.#stop("over", reason);\n    else ',
    replace: "",
  },
  {
    name: "a lost connection leaves the reader of a stream waiting",
    caughtBy: "simulation",
    file: "src/streams/stream_reader.ts",
    find: "    if (open) this.#fail(reason);\n",
    replace: "",
  },
  {
    name: "no STOP follows when a reader cancels",
    caughtBy: "simulation",
    file: "src/streams/stream_reader.ts",
    find: "cancel: (reason) => void this.#giveUp({ reason }),",
    replace: "cancel: () => void this.#giveUp(),",
  },
  {
    name: "a call occupies the window after its streams have ended",
    caughtBy: "simulation",
    file: "src/streams/call_streams.ts",
    find: "    super(host, 0, onEnd);\n",
    replace: "    super(host, 0);\n",
  },
  {
    name: "an ended stream still counts towards `maxStreams`",
    caughtBy: "simulation",
    file: "src/streams/stream_table.ts",
    find: "    this.#outgoing -= outgoing;\n",
    replace: "",
  },
  {
    name: "credit is granted twice",
    caughtBy: "simulation",
    file: "src/streams/stream_reader.ts",
    find: "frames.credit(this.#owner, bytes);",
    replace: "frames.credit(this.#owner, 2 * bytes);",
  },
  {
    name: "received items are still read after an abort",
    caughtBy: "simulation",
    file: "src/streams/stream_reader.ts",
    find: "    if (this.#giveUp()) this.#fail(reason);\n",
    replace: `    if (this.#state !== "open") return;
    this.failure = { error: reason };
    this.#finish();\n`,
  },
  {
    name: "the source of a cancelled stream is not closed",
    caughtBy: "simulation",
    file: "src/streams/stream_writer.ts",
    find: "    this.#drop();\n    this.#cleanUp(reason, failure);\n",
    replace: "    this.#drop();\n    this.#end(failure, undefined);\n",
  },
  {
    name: "DATA that is ignored does not use the credit of the connection",
    caughtBy: "simulation",
    file: "src/streams/stream_table.ts",
    find:
      "    else this.receiveCredit.take(view.end - view.at + CHARGE_BESIDE);\n",
    replace: "",
  },
  {
    name: "a stream that is stopped keeps the credit that it has reserved",
    caughtBy: "simulation",
    file: "src/streams/stream_writer.ts",
    find: "    host.sendCredit.release(this);\n",
    replace: "",
  },
  {
    name: "a window that is lowered is confirmed, and not obeyed",
    caughtBy: "simulation",
    file: "src/call/send_window.ts",
    find: "{ ...this.granted, windowCalls, windowBytes }",
    replace:
      "{ ...this.granted, windowCalls: Math.max(windowCalls, this.granted.windowCalls), windowBytes }",
  },
  {
    name: "a lowered window holds before the peer has confirmed it",
    caughtBy: "simulation",
    file: "src/serve/window_updates.ts",
    find: "this.#receiveWindow.grant(window);",
    replace: "this.#receiveWindow.confirm(window);",
  },
  {
    name: "END overtakes data that waits for credit",
    caughtBy: "simulation",
    file: "src/streams/stream_writer.ts",
    find:
      "if (item === undefined) {\n      return this.#exhausted ? this.#finish() : this.#pull();",
    replace:
      "if (item === undefined || this.#exhausted) {\n      return this.#exhausted ? this.#finish() : this.#pull();",
  },
  {
    name: "a request may have the id of a call without a reply",
    caughtBy: "hostile",
    file: "src/connection/receive_window.ts",
    find: "else if (inUse.has(id)) {",
    replace: "else if (inUse.size < 0) {",
  },
  {
    name: "a handler starts although its schema has closed the connection",
    caughtBy: "hostile",
    file: "src/serve/runner.ts",
    find: "    calls.current = call;\n    this.#start(call);",
    replace: "    this.#start(call);",
  },
  {
    name: "a handler that fails after the connection's end keeps its slot",
    caughtBy: "hostile",
    file: "src/serve/runner.ts",
    find: `    }, (error) => {
      this.#scheduler.release();
      this.#ran(call, false, error);`,
    replace: `    }, (error) => {
      if (!call.done) this.#scheduler.release();
      this.#ran(call, false, error);`,
  },
];
