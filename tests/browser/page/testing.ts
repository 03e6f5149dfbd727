/**
 * `node:test` for a page: the part of it that the portable tests use.
 *
 * A test file registers its tests when it is loaded. `run` then runs them in
 * that order, one at a time, and reports each when it begins and when it has
 * ended. A test that takes too long fails, and the next one starts.
 *
 * @module
 */

import "./readable_stream_from.ts";

// Tests replace the page's clock and timers for a while; those that are used here stay real.
const { setTimeout, clearTimeout, performance } = globalThis;

/** How a test ended. */
export interface Ended {
  readonly name: string;
  readonly state: "passed" | "failed" | "skipped";
  /** The error's stack, if it failed. */
  readonly fault?: string;
}

/** What the program that drives the page has set in it. */
interface Driver {
  /** Receives the name of a test that begins. */
  testBegan(name: string): Promise<void>;
  /** Receives, as JSON, how a test ended. */
  testEnded(json: string): Promise<void>;
}

const driver = globalThis as unknown as Driver;

type Body = (t: TestContext) => unknown;

/** The options of a test that are heeded. */
export interface TestOptions {
  readonly skip?: boolean | string;
  readonly todo?: boolean | string;
  /** Milliseconds. */
  readonly timeout?: number;
}

interface Hooks {
  readonly before: Body[];
  readonly after: Body[];
  readonly beforeEach: Body[];
  readonly afterEach: Body[];
}

/** A test, or a suite of them. */
interface Entry {
  readonly name: string;
  readonly options: TestOptions;
  readonly body?: Body;
  readonly suite?: Suite;
}

interface Suite {
  readonly entries: Entry[];
  readonly hooks: Hooks;
}

const root = newSuite();
let current = root;

function newSuite(): Suite {
  return {
    entries: [],
    hooks: { before: [], after: [], beforeEach: [], afterEach: [] },
  };
}

/** The name, options and function of a call, of which each may be left out. */
function argumentsOf<Fn>(given: unknown[]): {
  name: string;
  options: TestOptions;
  fn: Fn | undefined;
} {
  const fn = given.find((value) => typeof value === "function") as Fn;
  const name = given.find((value) => typeof value === "string") as string;
  const options = given.find((value) => typeof value === "object");
  return {
    name: name ?? (fn as { name?: string } | undefined)?.name ?? "",
    options: (options ?? {}) as TestOptions,
    fn,
  };
}

function register(...given: unknown[]): Promise<void> {
  const { name, options, fn } = argumentsOf<Body>(given);
  current.entries.push({ name, options, body: fn });
  return Promise.resolve();
}

function registerSuite(...given: unknown[]): Promise<void> {
  const { name, options, fn } = argumentsOf<() => void>(given);
  const outer = current;
  const suite = newSuite();
  outer.entries.push({ name, options, suite });
  current = suite;
  try {
    fn?.();
  } finally {
    current = outer;
  }
  return Promise.resolve();
}

const skipped = (add: (...given: unknown[]) => Promise<void>) =>
(
  ...given: unknown[]
) => {
  const { name, options, fn } = argumentsOf(given);
  return add(name, { ...options, skip: true }, fn);
};

/** Registers a test. */
export const test = Object.assign(register, { skip: skipped(register) });
/** Registers a test. */
export const it = test;
/** Registers a suite, whose function registers tests. */
export const describe = Object.assign(registerSuite, {
  skip: skipped(registerSuite),
});
/** Registers a suite, whose function registers tests. */
export const suite = describe;
export default test;

/** Runs before the tests of the suite. */
export const before = (fn: Body) => void current.hooks.before.push(fn);
/** Runs after the tests of the suite. */
export const after = (fn: Body) => void current.hooks.after.push(fn);
/** Runs before each test of the suite. */
export const beforeEach = (fn: Body) => void current.hooks.beforeEach.push(fn);
/** Runs after each test of the suite. */
export const afterEach = (fn: Body) => void current.hooks.afterEach.push(fn);

/** What a test's function receives. */
export class TestContext {
  readonly name: string;
  #skipped = false;
  readonly #after: Body[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Whether the test counts as skipped. */
  get skipped(): boolean {
    return this.#skipped;
  }

  skip(): void {
    this.#skipped = true;
  }

  diagnostic(message: string): void {
    console.info(message);
  }

  /** Runs when the test has ended, however it ended. */
  after(fn: Body): void {
    this.#after.push(fn);
  }

  /** Runs a test within this one, which fails with it. */
  async test(...given: unknown[]): Promise<void> {
    const { name, options, fn } = argumentsOf<Body>(given);
    const full = `${this.name} > ${name}`;
    const entry = { name: full, options, body: fn };
    const ended = await runTest(entry, []);
    if (ended.state === "failed") throw new Error(`${full} failed`);
  }

  /** Runs what `after` was given. */
  async finish(): Promise<void> {
    for (const fn of this.#after) await fn(this);
  }
}

/** Milliseconds that a test may take. */
let limit = 60_000;

/** Runs everything that was registered. Each test may take so many milliseconds. */
export async function run(testLimit: number): Promise<void> {
  limit = testLimit;
  await runSuite("", root, []);
  // A rejection that nobody handles is reported when its turn of the event loop has ended.
  await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Returns what it has reported. */
function report(ended: Ended): Ended {
  driver.testEnded(JSON.stringify(ended));
  return ended;
}

async function runSuite(
  prefix: string,
  { entries, hooks }: Suite,
  outer: Hooks[],
): Promise<void> {
  const scope = [...outer, hooks];
  const context = new TestContext(prefix);
  const ready = await hook(`${prefix}before`, hooks.before, context);
  for (const entry of ready ? entries : []) {
    const name = prefix + entry.name;
    if (entry.suite === undefined) {
      await runTest({ ...entry, name }, scope);
    } else if (entry.options.skip) {
      report({ name, state: "skipped" });
    } else await runSuite(`${name} > `, entry.suite, scope);
  }
  await hook(`${prefix}after`, hooks.after, context);
}

/** Runs the hooks of a suite; one that throws counts as a failed test. */
async function hook(
  name: string,
  fns: Body[],
  context: TestContext,
): Promise<boolean> {
  try {
    for (const fn of fns) await within(limit, fn, context);
    return true;
  } catch (error) {
    report({ name, state: "failed", fault: describeError(error) });
    return false;
  }
}

async function runTest(
  { name, options, body }: Entry,
  scope: Hooks[],
): Promise<Ended> {
  const end = (state: Ended["state"], fault?: string) =>
    report({ name, state, ...fault !== undefined && { fault } });
  if (options.skip || options.todo || body === undefined) return end("skipped");
  await driver.testBegan(name);
  const context = new TestContext(name);
  const faults: string[] = [];
  const attempt = async (fn: Body) => {
    try {
      await within(options.timeout ?? limit, fn, context);
    } catch (error) {
      faults.push(describeError(error));
    }
  };
  for (const { beforeEach } of scope) {
    for (const fn of beforeEach) await attempt(fn);
  }
  if (faults.length === 0) await attempt(body);
  for (const { afterEach } of scope.toReversed()) {
    for (const fn of afterEach) await attempt(fn);
  }
  await attempt(() => context.finish());
  if (faults.length > 0) return end("failed", faults.join("\n"));
  return end(context.skipped ? "skipped" : "passed");
}

/** Rejects if the function has not ended after so many milliseconds. */
async function within(ms: number, fn: Body, context: TestContext) {
  const began = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      const seconds = (performance.now() - began) / 1000;
      reject(new Error(`the test did not end within ${seconds.toFixed(1)} s`));
    }, ms);
  });
  try {
    await Promise.race([fn(context), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error as the report shows it, with its causes. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stack = String(error), cause } = error;
  return cause === undefined
    ? stack
    : `${stack}\nCaused by: ${describeError(cause)}`;
}
