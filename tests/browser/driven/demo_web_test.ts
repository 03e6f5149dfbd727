// The page of `deno task demo:web` in Chromium: what it shows is what its clients
// count and what the process has logged, and everybody can use it.

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { command } from "../../../bench/demo/runtimes.ts";
import { launch } from "../../../tools/browser/chromium.ts";
import { kill, listening, ROOT, start } from "../../../tools/process.ts";

/** The part of playwright-core's page that is used. */
interface Page {
  goto(url: string): Promise<unknown>;
  click(selector: string): Promise<void>;
  focus(selector: string): Promise<void>;
  textContent(selector: string): Promise<string>;
  getAttribute(selector: string, name: string): Promise<string | null>;
  evaluate<T>(expression: string): Promise<T>;
  addInitScript(script: { content: string }): Promise<void>;
  on(event: "request", seen: (request: { url(): string }) => void): void;
  on(event: "pageerror", seen: (error: Error) => void): void;
  on(event: "console", seen: (line: Line) => void): void;
  close(): Promise<void>;
  readonly keyboard: { press(key: string): Promise<void> };
}

interface Line {
  type(): string;
  text(): string;
}

interface Browser {
  newPage(options: object): Promise<Page>;
  close(): Promise<void>;
}

/** What a lane shows in the table of outcomes, and what its client counts. */
interface Lane {
  shown: Record<string, string>;
  settled: Record<string, number>;
  inFlight: number;
  queued: number;
  answered: string;
  rate: string;
  expectedRate: number;
  elapsed: number;
}

const LANES = ["sync", "tasks", "pipelined"];

let server: ChildProcess;
let url: string;
let browser: Browser;

before(async () => {
  const [program, args] = command("deno", join(ROOT, "bench", "web.ts"));
  server = start(program, [...args, "--port", "0"]);
  url = await listening(server);
  // This test uses more of playwright-core than the tools do.
  browser = await launch() as unknown as Browser;
});

after(async () => {
  await browser?.close();
  if (server !== undefined) kill(server);
});

/** Opens the page, and closes it after `use`. The page must report no fault. */
async function open(
  options: object,
  use: (page: Page) => Promise<void>,
): Promise<void> {
  const page = await browser.newPage(options);
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (line) => {
    if (line.type() === "error") faults.push(line.text());
  });
  try {
    await page.goto(url);
    await use(page);
  } finally {
    await page.close();
  }
  assertEquals(faults, []);
}

/** Waits until the expression is true: looks once per frame, as the page's policy forbids `eval`. */
function until(page: Page, expression: string): Promise<void> {
  return page.evaluate(`new Promise((resolve) => {
    const look = () => (${expression}) ? resolve() : requestAnimationFrame(look);
    look();
  })`);
}

const STARTED = "globalThis.sluiceDemo?.run !== undefined";
const OVER = "sluiceDemo.run.lanes.every(({ ran }) => ran !== undefined)";

/** Waits until the run is over, and the page shows it. */
async function over(page: Page, struck: boolean): Promise<void> {
  await until(
    page,
    `${STARTED} && ` +
      `(sluiceDemo.run.struck !== undefined) === ${struck} && ${OVER} && ` +
      `/^(Done|All|The)/.test(document.querySelector("#status").textContent)`,
  );
}

/** Moves sliders, by their positions. */
async function choose(
  page: Page,
  positions: Record<string, number>,
): Promise<void> {
  await until(page, "globalThis.sluiceDemo !== undefined");
  await page.evaluate(`
    for (const [name, value] of Object.entries(${JSON.stringify(positions)})) {
      const input = document.querySelector(\`input[name=\${name}]\`);
      input.value = String(value);
      input.dispatchEvent(new Event("input"));
    }
  `);
}

/** 20 calls over 5 ms, so that also one at a time is quick. */
const SMALL = { rtt: 3, handler: 2, calls: 0 };

async function runSmall(page: Page): Promise<void> {
  await until(page, STARTED);
  await choose(page, SMALL);
  await page.click("#run");
  await until(page, "sluiceDemo.run.settings.calls === 20");
  await over(page, false);
}

function lanes(page: Page): Promise<Lane[]> {
  return page.evaluate(`
    sluiceDemo.run.lanes.map((lane, k) => {
      const { settled, inFlight, queued } = lane.client.connection.stats();
      const section = document.querySelectorAll(".lane")[k];
      const text = (name) =>
        section.querySelector(\`[data-is=\${name}]\`).textContent;
      const cells = document.querySelectorAll("tbody tr")[k].cells;
      const shown = Object.fromEntries([...cells].slice(1).map((cell) =>
        [cell.dataset.column, cell.children[0].textContent]));
      const { last } = lane.log;
      return {
        shown, settled, inFlight, queued,
        answered: text("answered"), rate: text("rate"),
        expectedRate: settled.executed / last * 1000,
        elapsed: last,
      };
    })
  `);
}

/** Checks the outcomes that the page shows against what its clients count. */
function assertAgrees({ shown, settled, inFlight, queued }: Lane): void {
  for (const [outcome, count] of Object.entries(settled)) {
    assertEquals(shown[outcome], String(count), outcome);
  }
  assertEquals([inFlight, queued], [0, 0]);
}

test("the page shows what the clients count", async () => {
  await open({}, async (page) => {
    await runSmall(page);
    const all = await lanes(page);
    for (const lane of all) {
      assertAgrees(lane);
      assertEquals(lane.settled.executed, 20);
      assertEquals(lane.answered, "20 of 20");
      const rate = Number(lane.rate.replace(/[,/s]/g, ""));
      assert(
        Math.abs(rate - lane.expectedRate) <= 0.5,
        `shows ${lane.rate}, expected ${lane.expectedRate}`,
      );
    }
    const shown = parseFloat(await page.textContent("#times"));
    const expected = all[0].elapsed / all[2].elapsed;
    assert(Math.abs(shown - expected) <= 0.5, `${shown}, not ${expected}`);
    assert(expected > 2, `pipelining was only ${expected} times as fast`);
  });
});

for (const action of ["abort", "cut", "drain"]) {
  test(`after ${action} the page shows the true outcomes`, async () => {
    await open({}, async (page) => {
      await runSmall(page);
      await choose(page, { calls: 3 });
      await page.click(`#${action}`);
      await over(page, true);
      const all = await lanes(page);
      for (const lane of all) assertAgrees(lane);
      const [sync, , pipelined] = all;
      // The sync lane makes no further call, the pipelined one has made all.
      assert(Number(sync.shown.not_made) > 0);
      assertEquals(pipelined.shown.not_made, "0");
      const { executed, not_sent, refused, unknown } = pipelined.settled;
      assert(executed > 0);
      if (action === "cut") assert(unknown > 0);
      // A drain serves all calls that were made before.
      if (action === "drain") {
        assertEquals([not_sent, refused, unknown], [0, 0, 0]);
      } else assert(not_sent > 0);
      const proof = await page.textContent("#proof");
      assertMatch(proof, /^The server’s log agrees/);
    });
  });
}

test("a new run works after the server was drained", async () => {
  await open({}, async (page) => {
    await until(page, STARTED);
    await page.click("#drain");
    await over(page, true);
    await runSmall(page);
    assertEquals((await lanes(page))[2].settled.executed, 20);
  });
});

test("arrow keys read one call after the other", async () => {
  await open({}, async (page) => {
    await runSmall(page);
    const canvas = "[data-lane=pipelined] canvas";
    await page.focus(canvas);
    for (const call of [1, 2]) {
      await page.keyboard.press("ArrowRight");
      const text = await page.textContent("#call");
      assertMatch(text, new RegExp(`^Pipelined, call ${call}: waited .* ms`));
      assertEquals(await page.getAttribute(canvas, "aria-valuetext"), text);
    }
    await page.keyboard.press("End");
    assertMatch(await page.textContent("#call"), /^Pipelined, call 20:/);
  });
});

const PLACES = `JSON.stringify([
  document.documentElement.scrollWidth,
  ...[...document.querySelectorAll(
    "header, #headline, button, canvas, table, footer",
  )].map((each) => {
    const { x, y, width, height } = each.getBoundingClientRect();
    return [each.id || each.tagName, x, y, width, height];
  }),
])`;

for (const width of [390, 1280]) {
  test(`at ${width} px all fits, and nothing moves`, async () => {
    const viewport = { width, height: 844 };
    await open({ viewport, colorScheme: "dark" }, async (page) => {
      await runSmall(page);
      const places = await page.evaluate<string>(PLACES);
      assertEquals(JSON.parse(places)[0], width);
      await page.click("#cut");
      await over(page, true);
      assertEquals(await page.evaluate<string>(PLACES), places);
    });
  });
}

test("with reduced motion the timelines are drawn a few times a second", async () => {
  const options = { reducedMotion: "reduce" };
  const page = await browser.newPage(options);
  await page.addInitScript({
    content: `
      globalThis.draws = 0;
      const { clearRect } = CanvasRenderingContext2D.prototype;
      CanvasRenderingContext2D.prototype.clearRect = function (...args) {
        // A drawing begins with an empty canvas.
        const all = args[0] === 0 && args[1] === 0;
        if (all && this.canvas.parentElement?.dataset.lane === "sync") draws++;
        return clearRect.apply(this, args);
      };
    `,
  });
  await page.goto(url);
  await until(page, STARTED);
  // The sync lane runs for seconds with what the page starts with.
  const perSecond = await page.evaluate<number>(`new Promise((resolve) => {
    const [before, began] = [draws, performance.now()];
    setTimeout(() => {
      resolve((draws - before) / (performance.now() - began) * 1000);
    }, 1500);
  })`);
  await page.close();
  assert(perSecond > 0.5 && perSecond < 9, `${perSecond} a second`);
});

test("the page asks nobody but its own server", async () => {
  const page = await browser.newPage({});
  const asked: string[] = [];
  page.on("request", (request) => asked.push(new URL(request.url()).origin));
  await page.goto(url);
  await until(page, STARTED);
  await page.close();
  assert(asked.length >= 3, "the page, its script and its style sheet");
  const foreign = asked.filter((origin) =>
    origin !== url && origin !== "null" && !origin.startsWith("data:")
  );
  assertEquals(foreign, []);
});

test("all lanes are there, each with a text for screen readers", async () => {
  await open({}, async (page) => {
    await runSmall(page);
    for (const lane of LANES) {
      const summary = await page.textContent(
        `[data-lane=${lane}] [aria-live=polite]`,
      );
      assertMatch(summary, /: 20 of 20 calls answered in .* ms, .*\/s\.$/);
    }
  });
});
