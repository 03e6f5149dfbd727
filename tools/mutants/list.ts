/**
 * Deliberate mistakes in `src/`, one for each class of bug that the simulation
 * and the faults at every byte must catch.
 *
 * @module
 */

/** One mistake. */
export interface Mutant {
  /** What goes wrong, as `docs/reliability.md` has it. */
  readonly name: string;
  readonly file: string;
  /** Text that occurs once in the file, and what stands there instead. */
  readonly find: string;
  readonly replace: string;
}

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "a request that was taken back is sent all the same",
    file: "src/wire/native_codec.ts",
    find: "sendBuffer.overwrite(batchOffset, 4, PAD);",
    replace: "void batchOffset;",
  },
  {
    name: "a call cancelled before its start is started",
    file: "src/serve/dispatcher.ts",
    find: `        this.#gate.remove(call);
        this.#calls.rejectUnstarted(call, code, text);`,
    replace: `        this.#calls.rejectUnstarted(call, code, text);`,
  },
  {
    name: "a handler's own error is answered as not started",
    file: "src/serve/runner.ts",
    find: "else this.#calls.replyWithError(call, true, result);",
    replace: "else this.#calls.replyWithError(call, false, result);",
  },
  {
    name: "a running call is answered when it is cancelled",
    file: "src/serve/dispatcher.ts",
    find: `        this.#context.deadlines.remove(call);
        call.abort(reason);`,
    replace: `        call.abort(reason);
        this.#calls.fail(call, true, reason());`,
  },
  {
    name: "a CANCEL does not fire the handler's signal",
    file: "src/serve/dispatcher.ts",
    find: `        this.#context.deadlines.remove(call);
        call.abort(reason);`,
    replace: `        this.#context.deadlines.remove(call);`,
  },
  {
    name: "the limit of running handlers does not hold",
    file: "src/serve/scheduler.ts",
    find: "this.running < this.#maxRunning &&",
    replace: "this.running <= this.#maxRunning &&",
  },
  {
    name: "calls past our GOAWAY are served",
    file: "src/serve/dispatcher.ts",
    find: "if (this.#draining) {\n      // Past",
    replace:
      "if (this.#draining) admission.hold(size);\n    if (!codec) {\n      // Past",
  },
  {
    name: "handlers are not told that their connection is lost",
    file: "src/serve/dispatcher.ts",
    find: "      call.abort(why);\n",
    replace: "",
  },
  {
    name: "nobody starts what waits once the writer has room",
    file: "src/connection/connection.ts",
    find: "      this.serveSide.startWaiting();\n",
    replace: "",
  },
  {
    name: "an answered call keeps its place at the callee",
    file: "src/serve/open_calls.ts",
    find: `  #answered(call: ServerCall): void {
    this.#receiveWindow.answered(call.size);`,
    replace: "  #answered(call: ServerCall): void {",
  },
  {
    name: "the callee frees a place before the answer has left",
    file: "src/connection/receive_window.ts",
    find: "    this.#answeredCalls++;\n    this.#answeredBytes += size;",
    replace: "    this.calls--;\n    this.bytes -= size;",
  },
  {
    name: "a call given up frees its place before its answer",
    file: "src/call/pending_calls.ts",
    find: `if (cancel === "silent") {`,
    replace: `if (cancel !== "none") {`,
  },
  {
    name: "a call given up in flight is not cancelled",
    file: "src/call/pending_calls.ts",
    find: `if (cancel !== "none") codec.cancel(sendBuffer, call.seq >>> 0);`,
    replace: "",
  },
  {
    name: "a call in flight when the connection is lost counts as not sent",
    file: "src/call/pending_calls.ts",
    find: `this.#loseAbove(-Infinity, "unknown", reason);`,
    replace: `this.#loseAbove(-Infinity, "not_sent", reason);`,
  },
  {
    name: "calls that wait are forgotten when the connection ends",
    file: "src/call/send_queue.ts",
    find:
      `      this.#settler.failOnConnectionLoss(call, "not_sent", reason);\n`,
    replace: "",
  },
  {
    name: "a GOAWAY refuses one call too many",
    file: "src/call/in_flight.ts",
    find: "entry !== undefined && entry.seq > seq",
    replace: "entry !== undefined && entry.seq >= seq",
  },
  {
    name: "the bytes of the window are not given back",
    file: "src/call/in_flight.ts",
    find: "    this.bytes -= bytes;\n",
    replace: "    void bytes;\n",
  },
  {
    name: "the window admits one call more than was granted",
    file: "src/call/in_flight.ts",
    find: "return this.calls < windowCalls && this.bytes + size",
    replace: "return this.calls <= windowCalls && this.bytes + size",
  },
  {
    name: "a settled call keeps listening to its signal",
    file: "src/call/settle.ts",
    find: `    if (signal !== undefined) this.#signals.remove(signal, call);`,
    replace: "    void signal;",
  },
  {
    name: "a settled call keeps its deadline",
    file: "src/call/settle.ts",
    find: "    this.#deadlines.remove(extra);",
    replace: "",
  },
  {
    name: "a deadline fires late",
    file: "src/base/timers.ts",
    find: "const delay = Math.ceil(at - this.#clock.now());",
    replace: "const delay = 3 + Math.ceil(at - this.#clock.now());",
  },
  {
    name: "an id whose call still runs is used again",
    file: "src/call/in_flight.ts",
    find: "while (this.#slots[seq & this.#mask] !== undefined) seq++;",
    replace: "",
  },
  {
    name: "a CANCEL takes the id beside the call's",
    file: "src/call/pending_calls.ts",
    find: "codec.cancel(sendBuffer, call.seq >>> 0);",
    replace: "codec.cancel(sendBuffer, (call.seq - 1) >>> 0);",
  },
  {
    name: "what gathers while a write is under way waits for ever",
    file: "src/connection/send_buffer.ts",
    find: 'if (this.size === 0) this.#enter("idle");',
    replace: 'if (this.size >= 0) this.#enter("idle");',
  },
  {
    name: "a FIN without GOAWAY counts as an orderly half-close",
    file: "src/connection/reader.ts",
    find: "codec.features.goaway && peerGoaway.reason === undefined",
    replace: "!codec.features.goaway",
  },
  {
    name: "a peer that never closes is waited for without end",
    file: "src/connection/linger.ts",
    find: "this.#begin(LINGER_TIME);",
    replace: "this.#timer.clear();",
  },
  {
    name: "ready does not wake when room is made",
    file: "src/call/send_queue.ts",
    find: "if (this.#ready.waited && this.#hasRoom()) this.#ready.wake();",
    replace: "",
  },
  {
    name: "a frame that spans three chunks loses bytes",
    file: "src/wire/frame_decoder.ts",
    find: "        this.#tailFill += take;\n",
    replace: "",
  },
  {
    name: "the end of a stream is not told",
    file: "src/streams/stream_writer.ts",
    find: "if (failure === undefined) frames.end(owner);\n      else ",
    replace: "if (failure !== undefined) ",
  },
  {
    name: "a lost connection leaves the source of a stream running",
    file: "src/streams/stream_writer.ts",
    find: 'if (this.live) this.#stop("over", reason);\n    else ',
    replace: "",
  },
  {
    name: "a lost connection leaves the reader of a stream waiting",
    file: "src/streams/stream_reader.ts",
    find: "    if (open) this.#fail(reason);\n",
    replace: "",
  },
  {
    name: "a reader's cancel is not told to the producer",
    file: "src/streams/stream_reader.ts",
    find: "cancel: (reason) => void this.#giveUp({ reason }),",
    replace: "cancel: () => void this.#giveUp(),",
  },
  {
    name: "a call keeps its place when its streams have ended",
    file: "src/streams/call_streams.ts",
    find: "    super(host, 0, onEnd);\n",
    replace: "    super(host, 0);\n",
  },
  {
    name: "a stream's place is not given back",
    file: "src/streams/stream_table.ts",
    find: "    this.#outgoing -= outgoing;\n",
    replace: "",
  },
  {
    name: "credit is granted twice",
    file: "src/streams/stream_reader.ts",
    find: "frames.credit(this.#owner, bytes);",
    replace: "frames.credit(this.#owner, 2 * bytes);",
  },
  {
    name: "what had come is still read after an abort",
    file: "src/streams/stream_reader.ts",
    find: "    if (this.#giveUp()) this.#fail(reason);\n",
    replace: `    if (this.#state !== "open") return;
    this.failure = { error: reason };
    this.#finish();\n`,
  },
  {
    name: "the source of a cancelled stream is not told",
    file: "src/streams/stream_writer.ts",
    find: "    this.#drop();\n    this.#cleanUp(reason, failure);\n",
    replace: "    this.#drop();\n    this.#end(failure, undefined);\n",
  },
  {
    name: "what is lent for a large item is never given back",
    file: "src/streams/flow_control.ts",
    find: "    this.#budget.release(0, paid);\n",
    replace: "",
  },
  {
    name: "END overtakes what waits for credit",
    file: "src/streams/stream_writer.ts",
    find:
      "if (item === undefined) {\n      return this.#exhausted ? this.#finish() : this.#pull();",
    replace:
      "if (item === undefined || this.#exhausted) {\n      return this.#exhausted ? this.#finish() : this.#pull();",
  },
  {
    name: "a request may have the id of a call without an answer",
    file: "src/connection/receive_window.ts",
    find: "else if (inUse.has(id)) {",
    replace: "else if (inUse.size < 0) {",
  },
  {
    name: "a call whose schema ends the connection is started all the same",
    file: "src/serve/runner.ts",
    find: "    calls.current = call;\n    this.#start(call);",
    replace: "    this.#start(call);",
  },
  {
    name: "a handler that fails after the end keeps its place of the server's",
    file: "src/serve/runner.ts",
    find: `    }, (error) => {
      this.#gate.release();
      this.#ran(call, false, error);`,
    replace: `    }, (error) => {
      if (!call.done) this.#gate.release();
      this.#ran(call, false, error);`,
  },
];
