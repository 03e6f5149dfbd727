// The documentation: its links lead to files and headings, and its page of error
// codes is complete.

import { assertEquals } from "@std/assert";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ERROR_CODES } from "../../mod.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** All pages. */
async function pages(): Promise<string[]> {
  const docs = await readdir(join(ROOT, "docs"), { recursive: true });
  return ["README.md", "CONTRIBUTING.md", ...docs.map((f) => join("docs", f))]
    .filter((file) => file.endsWith(".md")).map((file) => join(ROOT, file));
}

/** The text without code blocks, whose brackets are no links. */
function prose(text: string): string {
  return text.replace(/^( *)```[\s\S]*?^\1```$/gm, "").replace(
    /`[^`\n]*`/g,
    "",
  );
}

/** The anchors of a page's headings, as GitHub derives them. */
function anchors(text: string): Set<string> {
  const code = text.replace(/^( *)```[\s\S]*?^\1```$/gm, "");
  const headings = [...code.matchAll(/^#{1,6} (.+)$/gm)].map(([, h]) => h);
  return new Set(
    headings.map((heading) =>
      heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
        .replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-")
    ),
  );
}

/** What is wrong with a link; undefined if nothing is. */
async function fault(page: string, link: string): Promise<string | undefined> {
  const [path, anchor] = link.split("#");
  const target = path === "" ? page : join(dirname(page), path);
  const found = await stat(target).catch(() => undefined);
  const where = `${relative(ROOT, page)}: ${link}`;
  if (found === undefined) return `${where}: no such file`;
  if (anchor === undefined || !target.endsWith(".md")) return undefined;
  const text = await readFile(target, "utf8");
  return anchors(text).has(anchor) ? undefined : `${where}: no such heading`;
}

test("every relative link in the documentation leads to a file and a heading", async () => {
  const faults: string[] = [];
  for (const page of await pages()) {
    const text = prose(await readFile(page, "utf8"));
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const wrong = await fault(page, link);
      if (wrong !== undefined) faults.push(wrong);
    }
  }
  assertEquals(faults, []);
});

test("docs/errors.md has a heading for every code of the library, and for no other", async () => {
  const text = await readFile(join(ROOT, "docs/errors.md"), "utf8");
  const listed = [...text.matchAll(/^### `(\w+)`$/gm)].map(([, code]) => code);
  assertEquals(listed, [...ERROR_CODES]);
});
