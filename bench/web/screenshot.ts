/**
 * Takes the picture of the page in README:
 * `deno run -A bench/web/screenshot.ts docs/demo_web.png`.
 *
 * Needs Chromium, and drives it with playwright-core of tests/browser.
 *
 * @module
 */

import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  kill,
  listening,
  ROOT,
  start,
  tool,
  usage,
} from "../../tools/process.ts";
import { ensureInstalled } from "../../tools/setup.ts";

const USAGE = `Usage: screenshot.ts [options] FILE.png

Runs demo:web in Chromium, and takes its picture when all lanes are done: that
of the quickest run, with the smallest product of the lanes' times.

  --runs N          number of runs (3)
  --chromium FILE   the browser (/usr/bin/chromium)
  --scheme NAME     light or dark (light)
  --help            print this`;

function options() {
  try {
    const { values, positionals: [file] } = parseArgs({
      allowPositionals: true,
      options: {
        runs: { type: "string", default: "3" },
        chromium: { type: "string", default: "/usr/bin/chromium" },
        scheme: { type: "string", default: "light" },
        help: { type: "boolean", default: false },
      },
    });
    if (file === undefined && !values.help) throw new Error("No file is named");
    return { ...values, runs: Number(values.runs), file };
  } catch (error) {
    usage((error as Error).message, USAGE);
  }
}

async function main(): Promise<void> {
  const { chromium: executablePath, scheme, runs, file, help } = options();
  if (help) return console.log(USAGE);
  const packages = join(ROOT, "tests", "browser");
  await ensureInstalled(packages);
  const load = createRequire(join(packages, "package.json"));
  const { chromium } = load("playwright-core");
  const web = join(ROOT, "bench", "web.ts");
  const server = start(process.execPath, ["run", "-A", web, "--port", "0"]);
  const browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu"],
  });
  try {
    const page = await browser.newPage({
      viewport: { width: 1280, height: 800 },
      colorScheme: scheme,
    });
    await page.goto(await listening(server));
    let quickest = Infinity;
    for (let i = 0; i < runs; i++) {
      if (i > 0) await page.click("#run");
      // The run before is forgotten as soon as the next one starts.
      await page.getByText(/^(Connecting|Running)/).waitFor();
      await page.getByText(/^Done/).waitFor({ timeout: 120_000 });
      const time = await page.evaluate("sluiceDemo.run.product");
      if (time >= quickest) continue;
      quickest = time;
      const { y, height } = await page.locator("main").boundingBox();
      const clip = { x: 0, y: 0, width: 1280, height: y + height + 16 };
      await page.screenshot({ path: file, fullPage: true, clip });
    }
  } finally {
    await browser.close();
    kill(server);
  }
}

if (import.meta.main) await tool(main);
