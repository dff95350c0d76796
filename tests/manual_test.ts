import { assert, assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";
import { errors } from "../ffi/constants.ts";
import { command, projectFile, runtime } from "./support/child.ts";
import { documents, examples, modules, pages } from "./support/documents.ts";

const read = (path: string) => readFileSync(projectFile(path), "utf8");
const linesOf = (path: string) => read(path).trimEnd().split("\n");

/** A document without its blocks of code, which may hold what looks like a link or a heading. */
const proseOf = (path: string) => read(path).replaceAll(/^```.*?^```$/gms, "");

/** The anchors of a document, as GitHub makes them of headings. */
function anchorsOf(path: string): Set<string> {
  const headings = [...proseOf(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) =>
      heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
    ),
  );
}

test("the README has at most 120 lines, and no page of the manual more than 300", () => {
  assert(linesOf("README.md").length <= 120);
  for (const page of pages) assert(linesOf(page).length <= 300, page);
});

test("no link within the documents is broken", () => {
  for (const path of documents) {
    for (const [, target] of proseOf(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue;
      const [file, anchor] = target!.split("#");
      const linked = file === "" ? path : join(dirname(path), file!);
      assert(existsSync(projectFile(linked)), `${path} links to ${target}`);
      if (anchor === undefined) continue;
      assert(anchorsOf(linked).has(anchor), `${path} links to ${target}`);
    }
  }
});

test("every named link of a document is defined in it, and used", () => {
  for (const path of documents) {
    const prose = proseOf(path);
    const defined = [...prose.matchAll(/^\[([^\]]+)\]: /gm)].map(([, name]) => name!);
    const used = [...prose.matchAll(/\]\[([^\]]+)\]/g)].map(([, name]) => name!);
    const alone = defined.filter((name) => prose.includes(`[${name}].`) || used.includes(name));
    assertEquals(alone.sort(), defined.sort(), path);
    for (const name of used) assert(defined.includes(name), `${path} defines no [${name}]`);
  }
});

test("the index of the manual names every page", () => {
  const index = read("docs/README.md");
  for (const page of pages.filter((page) => page !== "docs/README.md")) {
    assert(index.includes(`](${page.slice("docs/".length)})`), page);
  }
});

test("the page on errors has every code that the module knows", () => {
  const page = read("docs/errors.md");
  for (const code of Object.keys(errors)) assert(new RegExp(`\\b${code}\\b`).test(page), code);
});

test("the files that documents name are there", () => {
  for (const path of documents) {
    for (const [, file] of read(path).matchAll(/`((?:examples|tests|scripts|docs)\/[\w./]+)`/g)) {
      assert(existsSync(projectFile(file!)), `${path} names ${file}`);
    }
  }
});

test("the page on the design names tests that exist", () => {
  const named = [...read("docs/design.md").matchAll(/`(tests\/\w+\.ts)`: "([^"]+)"/g)];
  assert(named.length > 20);
  for (const [, file, name] of named) assert(read(file!).includes(name!), `${file}: ${name}`);
});

test("the README shows what scripts/killed.ts prints", async () => {
  const [, shown] = /```text\n\$ [^\n]*\n(.*?)```/s.exec(read("README.md"))!;
  const permissions = ["--allow-ffi", "--allow-run", "--allow-env"];
  const [path, ...args] = command(projectFile("scripts/killed.ts"), undefined, permissions);
  const { stdout } = await promisify(execFile)(path!, args, { env: process.env });
  const comparable = (text: string) => text.replaceAll(/pid \d+/g, "pid");
  // It shows how Deno runs it: this runtime comes first, and then one of the others.
  const names: Record<string, string> = { deno: runtime, bun: runtime === "deno" ? "bun" : "deno" };
  const here = shown!.replaceAll(/deno(?= \()|bun(?= \()/g, (name) => names[name]!);
  assertEquals(comparable(stdout), comparable(here));
});

/** Phrases that make a second reading necessary; plain words say the same. */
const hard = /\b(whoever|whom|is the case|was the case|tells of|at it|those of|that of)\b/i;

test("documents, examples and modules are in plain words", () => {
  const found = [...documents, ...examples, ...modules].flatMap((path) =>
    linesOf(path).flatMap((line, index) => hard.test(line) ? [`${path}:${index + 1} ${line}`] : [])
  );
  assertEquals(found, []);
});
