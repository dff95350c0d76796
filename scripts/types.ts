/**
 * Checks the modules with the least TypeScript that will do, as a new project of Bun has it and as one with
 * the types of Node alone: without the DOM's. Fetches that TypeScript from npm into scripts/types.
 *
 *     deno run -A scripts/types.ts
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";

const folder = join(import.meta.dirname!, "types");

run("install", "--quiet");
for (const project of ["bun.json", "node.json"]) {
  run("run", "-A", "node_modules/typescript/bin/tsc", "--project", project);
}

function run(...args: string[]): void {
  const { status } = spawnSync(Deno.execPath(), args, { cwd: folder, stdio: "inherit" });
  if (status !== 0) Deno.exit(status ?? 1);
}
