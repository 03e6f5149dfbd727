/// <reference lib="dom" />
/// <reference lib="dom.iterable" />

/**
 * The page: starts one run by itself, then does what its user chooses.
 *
 * Invariants:
 * - There is one run at a time: the next one starts when the one before has ended.
 * - While they change, bars are drawn at most {@linkcode FRAMES_PER_SECOND} times a
 *   second, so that drawing does not delay the calls; texts and charts at most
 *   {@linkcode TEXTS_PER_SECOND} times. With reduced motion, bars are drawn as
 *   rarely as texts.
 *
 * @module
 */

import { CallLog } from "./call_log.ts";
import { Chart } from "./charts.ts";
import { LabClient } from "./lab_client.ts";
import { Report } from "./report.ts";
import { type Action, Run, type Settings } from "./run.ts";
import { roundUp, viewOf } from "./scale.ts";
import { makeSliders } from "./settings.ts";
import { drawAxis, Paint, Timeline, type View } from "./timeline.ts";

const TEXTS_PER_SECOND = 8;
const FRAMES_PER_SECOND = 30;

/** How long slow motion takes to cross the timelines, in ms. */
const REPLAY = 10_000;

const STRUCK: Record<Action, string> = {
  abort: "aborted",
  cut: "cut",
  drain: "drain",
};

const KEYS: Record<string, number> = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
  Home: -Infinity,
  End: Infinity,
};

function get<E extends HTMLElement>(selector: string): E {
  return document.querySelector<E>(selector)!;
}

/** The page and its current run. */
class Page {
  /** The latest run. */
  run: Run | undefined;
  readonly #lab: LabClient;
  readonly #report = new Report();
  readonly #settings: () => Settings;
  readonly #canvases = [
    ...document.querySelectorAll<HTMLCanvasElement>(".lane canvas"),
  ];
  readonly #timelines = this.#canvases.map((canvas) => new Timeline(canvas));
  readonly #axis = get<HTMLCanvasElement>("#axis canvas");
  readonly #charts = [
    Chart.rate(get("#rate")),
    Chart.latency(get("#latency")),
  ];
  readonly #whole = get<HTMLInputElement>("#whole");
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");
  #paint = new Paint();
  #starting = false;
  #frame = 0;
  /** When bars and texts were drawn last. */
  #bars = -Infinity;
  #texts = -Infinity;
  /** When slow motion began, by the page's clock; undefined while it is off. */
  #replay: number | undefined;

  constructor() {
    const { protocol, host } = location;
    this.#lab = new LabClient(`${protocol.replace("http", "ws")}//${host}`);
    this.#lab.closed.then(() => this.#report.gone());
    const form = get<HTMLFormElement>("#settings");
    this.#settings = makeSliders(
      (name) => form.elements.namedItem(name) as HTMLInputElement,
      () => this.#report.changed(),
    );
    this.#listen();
  }

  /** Draws the page as it is before the first call. */
  drawEmpty(): void {
    const log = new CallLog(1, 1);
    const view = {
      width: viewOf(this.#settings()),
      now: 0,
      struck: undefined,
      replayed: false,
    };
    for (const line of this.#timelines) line.draw(log, view, this.#paint);
    for (const chart of this.#charts) chart.draw([log, log, log]);
    drawAxis(this.#axis, view, this.#paint);
    this.#report.starting(this.#settings());
  }

  /** Starts a run, and plans what is to happen to it. */
  async start(settings = this.#settings(), action?: Action): Promise<void> {
    if (this.#starting) return;
    this.#starting = true;
    this.#stopReplay();
    this.#report.starting(settings);
    try {
      await this.run?.stop();
      const run = this.run = await Run.start(this.#lab, settings);
      for (const timeline of this.#timelines) timeline.selected = undefined;
      if (action !== undefined) this.#plan(run, action);
      this.#texts = performance.now(); // The first texts can wait, calls cannot.
      this.#frame ||= requestAnimationFrame(this.#draw);
      run.over.then(() => this.#redraw());
      this.#report.started(run);
    } catch (error) {
      this.#report.failed(error);
    } finally {
      this.#starting = false;
    }
  }

  /** Strikes the run while every lane has calls in flight; else a new one, in the middle. */
  strike(action: Action): void {
    const { run } = this;
    const busy = run?.lanes.every(({ running }) => running);
    if (run !== undefined && busy && run.struck === undefined) {
      return this.#act(run, action);
    }
    const settings = this.#settings();
    // A third of the calls at a time, so that some wait when it happens.
    const third = Math.ceil(settings.calls / 3);
    const window = Math.min(settings.window, third);
    this.start({ ...settings, window }, action);
  }

  /** Strikes a run whose window is a third of its calls when half of the second third has arrived at the server. */
  async #plan(run: Run, action: Action): Promise<void> {
    const { window, rtt, handler } = run.settings;
    await run.lane("pipelined").reaches(Math.ceil(window / 2));
    setTimeout(() => this.#act(run, action), rtt / 2 + handler / 5);
  }

  #act(run: Run, action: Action): void {
    run.act(action).catch((error) => this.#report.failed(error));
  }

  #listen(): void {
    const press = (id: string, action: () => void) =>
      get(`#${id}`).addEventListener("click", action);
    press("run", () => this.start());
    press("abort", () => this.strike("abort"));
    press("cut", () => this.strike("cut"));
    press("drain", () => this.strike("drain"));
    press("replay", () => this.#toggleReplay());
    get("#settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    this.#whole.addEventListener("change", () => this.#redraw());
    for (const [k, canvas] of this.#canvases.entries()) this.#read(k, canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener(
      "change",
      () => {
        this.#paint = new Paint();
        for (const chart of this.#charts) chart.restyle();
        this.#redraw();
      },
    );
    new ResizeObserver(() => this.#redraw()).observe(get("main"));
  }

  /** Lets the user choose a call of lane `k`, by pointer or keys. */
  #read(k: number, canvas: HTMLCanvasElement): void {
    const timeline = this.#timelines[k];
    const choose = (i: number | undefined) => {
      const lane = this.run?.lanes[k];
      if (lane === undefined) return;
      for (const each of this.#timelines) each.selected = undefined;
      timeline.selected = i;
      const text = this.#report.call(lane, i);
      if (i !== undefined) {
        canvas.setAttribute("aria-valuemax", String(lane.log.count));
        canvas.setAttribute("aria-valuenow", String(i + 1));
        canvas.setAttribute("aria-valuetext", text);
      }
      this.#redraw();
    };
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "slider");
    canvas.setAttribute(
      "aria-label",
      `${canvas.parentElement!.ariaLabel}: call`,
    );
    canvas.setAttribute("aria-valuemin", "1");
    canvas.setAttribute("aria-valuemax", "1");
    canvas.setAttribute("aria-valuenow", "1");
    canvas.setAttribute("aria-valuetext", "no call chosen");
    canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      const i = timeline.at(offsetX, offsetY);
      if (i !== timeline.selected) choose(i);
    });
    canvas.addEventListener("pointerleave", () => choose(undefined));
    canvas.addEventListener("blur", () => choose(undefined));
    canvas.addEventListener("keydown", (event) => {
      const step = KEYS[event.key];
      const count = this.run?.lanes[k].log.count ?? 0;
      if (step === undefined || count === 0) return;
      event.preventDefault();
      const next = (timeline.selected ?? (step > 0 ? -1 : 0)) + step;
      choose(Math.min(Math.max(next, 0), count - 1));
    });
  }

  #toggleReplay(): void {
    if (this.#replay !== undefined) return this.#stopReplay();
    if (this.run === undefined) return;
    this.#replay = performance.now();
    this.#report.replaying(true);
    this.#redraw();
  }

  #stopReplay(): void {
    this.#replay = undefined;
    this.#report.replaying(false);
    this.#redraw();
  }

  #redraw(): void {
    this.#texts = -Infinity;
    if (this.#frame === 0) this.#frame = requestAnimationFrame(this.#draw);
  }

  readonly #draw = (): void => {
    this.#frame = 0;
    const { run } = this;
    if (run === undefined) return;
    const time = performance.now();
    const due = time - this.#texts >= 1000 / TEXTS_PER_SECOND;
    const moving = run.running || this.#replay !== undefined;
    const frame = time - this.#bars >= 1000 / FRAMES_PER_SECOND;
    if (due || frame && !this.#still.matches) {
      this.#bars = time;
      this.#drawBars(run);
    }
    if (due) {
      this.#texts = time;
      this.#report.show(run);
      const logs = run.lanes.map(({ log }) => log);
      for (const chart of this.#charts) chart.draw(logs);
    }
    if (moving) this.#frame ||= requestAnimationFrame(this.#draw);
  };

  #drawBars(run: Run): void {
    const view = this.#view(run);
    for (const [k, { log }] of run.lanes.entries()) {
      this.#timelines[k].draw(log, view, this.#paint);
    }
    drawAxis(this.#axis, view, this.#paint);
  }

  #view(run: Run): View {
    const now = run.now();
    const { struck, settings } = run;
    const last = Math.max(...run.lanes.map((lane) => lane.elapsed(now)));
    const width = this.#whole.checked
      ? roundUp(Math.max(last, 1))
      : viewOf(settings, leastView(run));
    const mark = struck && { at: struck.at, name: STRUCK[struck.action] };
    const replayed = this.#replay === undefined
      ? undefined
      : (performance.now() - this.#replay) / REPLAY * width;
    if (replayed !== undefined && replayed > width) this.#stopReplay();
    return {
      width,
      now: replayed ?? now,
      struck: mark,
      replayed: replayed !== undefined,
    };
  }
}

/** What must be in view: the end of the lane of 64 tasks; of a run that was struck, all bars, and what is written beside them. */
function leastView({ struck, lanes }: Run): number {
  const [, tasks] = lanes;
  if (struck === undefined) return tasks.running ? 0 : tasks.log.last * 1.05;
  const last = Math.max(...lanes.map(({ log }) => log.last));
  return 1.35 * Math.max(struck.at, last);
}

const page = new Page();
// Everything is drawn once before the first call, which it would delay.
page.drawEmpty();
await new Promise((resolve) => requestAnimationFrame(resolve));
await new Promise((resolve) => setTimeout(resolve, 100));
// For tests, and for users who want to look closer in the console.
Object.assign(globalThis, { sluiceDemo: page });
page.start();
