/**
 * Two connected WebSockets without a network, as a standard `WebSocket` behaves,
 * with faults at a message.
 *
 * Each direction delivers in order, in microtasks, and with it the close that
 * follows the messages. A direction that stalls delivers nothing more, and what
 * is sent counts as buffered.
 *
 * @module
 */

import { settle } from "./clock.ts";

/** What happens in place of the message number `at` of one direction, counted from 0. */
export interface MessageFault {
  readonly at: number;
  readonly kind:
    /** The connection breaks off: both see the code 1006. */
    | "lost"
    /** Nothing arrives from then on, and the peer never answers a close. */
    | "stall"
    /** It and what follows arrive some turns of the event loop later. */
    | "late"
    /** The peer closes in order, with 1000, before its end. */
    | "closed"
    /** A text message arrives. */
    | "text"
    /** An empty message arrives: the end of the direction, too early. */
    | "end"
    /** A message above the limit arrives. */
    | "oversized";
}

/** Faults of the two directions: `out` is what the near socket sends. */
export interface SocketFaults {
  readonly out?: MessageFault;
  readonly back?: MessageFault;
}

type EventType = "open" | "message" | "error" | "close";

/** What a listener receives. */
interface FakeEvent {
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
}

/** One end. */
export class FakeWebSocket {
  readyState: number;
  protocol: string;
  binaryType = "blob";
  bufferedAmount = 0;
  /** Messages sent. */
  sent = 0;
  /** The code with which this end was closed, by itself or by its peer. */
  closeCode: number | undefined;
  /** Sent and not delivered, while the direction is held. */
  readonly held: (() => void)[] = [];
  /** Whether nothing of what this end sends is delivered. */
  holding = false;
  peer!: FakeWebSocket;
  fault: MessageFault | undefined;
  readonly #listeners = new Map<EventType, ((event: FakeEvent) => void)[]>();

  constructor(protocol = "sluice.1", open = true) {
    this.protocol = protocol;
    this.readyState = open ? 1 : 0;
  }

  addEventListener(
    type: EventType,
    listener: (event: FakeEvent) => void,
  ): void {
    const listeners = this.#listeners.get(type) ?? [];
    this.#listeners.set(type, [...listeners, listener]);
  }

  send(message: Uint8Array<ArrayBuffer> | string): void {
    if (this.readyState === 0) throw new Error("the socket is not open");
    if (this.readyState !== 1) return;
    const { fault } = this;
    const at = this.sent++;
    if (at !== fault?.at) return this.#deliver(message);
    switch (fault.kind) {
      case "lost":
        return queueMicrotask(() => this.lose());
      case "stall":
        this.holding = true;
        return this.#deliver(message);
      case "late":
        this.holding = true;
        settle(5).then(() => this.release());
        return this.#deliver(message);
      case "closed":
        return this.close(1000);
      case "text":
        return this.#deliver("text");
      case "end":
        return this.#deliver(new Uint8Array(0));
      case "oversized":
        return this.#deliver(new Uint8Array(1_048_577));
    }
  }

  close(code = 1005): void {
    if (this.readyState >= 2) return;
    if (code !== 1005 && code !== 1000 && (code < 3000 || code > 4999)) {
      throw new Error(`a page may not send ${code}`);
    }
    this.readyState = 2;
    this.#pass(0, () => this.peer.closedBy(code));
  }

  /** The peer has closed: this end answers, and is closed. */
  closedBy(code: number): void {
    if (this.readyState === 3) return;
    const answer = this.readyState !== 2;
    this.readyState = 3;
    this.closeCode = code;
    if (answer) this.#pass(0, () => this.peer.closedBy(code));
    this.#emit("close", { code, reason: "" });
  }

  /** The connection breaks off. */
  lose(): void {
    for (const end of [this, this.peer]) {
      end.held.length = 0;
      end.holding = true;
      if (end.readyState === 3) continue;
      end.readyState = 3;
      end.closeCode = 1006;
      end.#emit("error", {});
      end.#emit("close", { code: 1006, reason: "" });
    }
  }

  /** Opens an end that was made closed. */
  open(): void {
    this.readyState = 1;
    this.#emit("open", {});
  }

  /** Delivers what was held, and what follows. */
  release(): void {
    this.holding = false;
    this.bufferedAmount = 0;
    for (const pass of this.held.splice(0)) queueMicrotask(pass);
  }

  #deliver(message: Uint8Array<ArrayBuffer> | string): void {
    const data = typeof message === "string" ? message : message.slice().buffer;
    this.#pass(message.length, () => {
      if (this.peer.readyState <= 2) this.peer.#emit("message", { data });
    });
  }

  #pass(bytes: number, step: () => void): void {
    if (!this.holding) return queueMicrotask(step);
    this.bufferedAmount += bytes;
    this.held.push(step);
  }

  #emit(type: EventType, event: FakeEvent): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }
}

/** Two connected ends that are open. */
export function fakeWebSockets(
  { out, back }: SocketFaults = {},
): [near: FakeWebSocket, far: FakeWebSocket] {
  const near = new FakeWebSocket();
  const far = new FakeWebSocket();
  near.peer = far;
  far.peer = near;
  near.fault = out;
  far.fault = back;
  return [near, far];
}
