/**
 * Abort signals that count who listens to them.
 *
 * @module
 */

/** Makes them, and adds up. */
export class SignalCount {
  /** Listeners that were added to any of them and not removed. */
  listeners = 0;

  /** A controller whose signal is counted. */
  make(): AbortController {
    const controller = new AbortController();
    const { signal } = controller;
    const { addEventListener, removeEventListener } = signal;
    // Those that ask for one event only are gone with it.
    let once = 0;
    signal.addEventListener("abort", () => {
      this.listeners -= once;
      once = 0;
    });
    signal.addEventListener = (...args: unknown[]) => {
      this.listeners++;
      if ((args[2] as { once?: boolean } | undefined)?.once) once++;
      Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      this.listeners--;
      once = Math.max(0, once - 1);
      Reflect.apply(removeEventListener, signal, args);
    };
    return controller;
  }

  /** A signal that fired before anybody looked. */
  aborted(): AbortSignal {
    const controller = this.make();
    controller.abort(new Error("aborted before"));
    return controller.signal;
  }
}
