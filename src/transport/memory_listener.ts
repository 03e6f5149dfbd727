/**
 * Names for connections within one process: `memory:name`.
 *
 * Invariant: a name belongs to one listener, from `listen` until its `close`.
 *
 * @module
 */

import { ConnectionError } from "../base/errors.ts";
import type { Duplex, DuplexInfo } from "../types/duplex.ts";
import type { ListenAddress } from "./address.ts";
import { memoryPair } from "./memory.ts";
import type {
  ListenerBackend,
  ListenerEvents,
} from "./sockets/listener_backend.ts";

/** The listeners by name. */
const listeners: Map<string, MemoryListenerBackend> = /* @__PURE__ */ new Map();

/** Connects to the listener of a name in this process. */
export function connectMemory(name: string): Duplex & DuplexInfo {
  const listener = listeners.get(name);
  if (listener === undefined) {
    throw new ConnectionError(
      "unavailable",
      `Cannot connect to memory:${name}: nobody in this process listens there`,
    );
  }
  const [near, far] = memoryPair();
  listener.accept(far);
  return near;
}

/** Listens at a name in this process. */
export class MemoryListenerBackend implements ListenerBackend {
  readonly #name: string;
  readonly #events: ListenerEvents;

  constructor(name: string, events: ListenerEvents) {
    this.#name = name;
    this.#events = events;
  }

  open(): Promise<ListenAddress> {
    if (listeners.has(this.#name)) {
      throw new ConnectionError(
        "address_in_use",
        `Cannot listen at memory:${this.#name}: address already in use`,
      );
    }
    listeners.set(this.#name, this);
    return Promise.resolve({ url: `memory:${this.#name}` });
  }

  accept(duplex: Duplex & DuplexInfo): void {
    this.#events.accept(duplex);
  }

  /** It never keeps the process alive. */
  setRef(_on: boolean): void {}

  close(): Promise<void> {
    if (listeners.get(this.#name) === this) listeners.delete(this.#name);
    return Promise.resolve();
  }
}
