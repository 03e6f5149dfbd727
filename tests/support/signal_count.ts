/**
 * Abort signals that count their listeners.
 *
 * @module
 */

/** Makes signals, and counts the listeners of all of them. */
export class SignalCount {
  /** Listeners that were added and not removed. */
  listeners = 0;

  /** Makes a controller whose signal is counted. */
  make(): AbortController {
    const controller = new AbortController();
    const { signal } = controller;
    const { addEventListener, removeEventListener } = signal;
    // Listeners with `once` are removed by the event.
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

  /** A signal that is aborted already. */
  aborted(): AbortSignal {
    const controller = this.make();
    controller.abort(new Error("aborted before"));
    return controller.signal;
  }
}
