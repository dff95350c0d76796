/**
 * Checks all that a change has to pass: format, lint, types, documentation, what would be published, and
 * the tests. It installs nothing: tests that need Python, PHP, Perl, C or Gunicorn are skipped where those
 * are missing.
 *
 *     deno task check
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import manifest from "../deno.json" with { type: "json" };

const root = join(import.meta.dirname!, "..");
const entries = Object.values(manifest.exports);
const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).filter((
  name,
) => name.endsWith(".md")).map((name) => join("docs", name));
const deno = Deno.execPath();

const steps: readonly (readonly [title: string, command: string, ...args: string[]])[] = [
  ["Format", "npx", "-y", "dprint@0.57.4", "check"],
  ["Lint", deno, "lint"],
  ["Types", deno, "check"],
  ["Types elsewhere", deno, "run", "-A", "scripts/types.ts"],
  ["Types in documents", deno, "check", "--doc-only", "README.md", ...pages, ...entries],
  ["Documentation", deno, "doc", "--lint", ...entries],
  ["Publishing, tried", deno, "publish", "--dry-run", "--allow-dirty"],
  ["Tests", deno, "task", "test"],
];

for (const [title, command, ...args] of steps) {
  console.log(`\n== ${title}`);
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) process.exit(status ?? 1);
}
