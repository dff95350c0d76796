/**
 * Runs the whole suite under Deno, and then under Bun. It fails too when the suite leaves a semaphore
 * set, a queue or a segment in the kernel.
 *
 *     deno task test [--only=deno|bun] [FILE...]
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { findBun } from "./bun.ts";

const NAMESPACE = "IPC_TEST_NAMESPACE";

// In an IPC namespace of its own the suite sees no object of other programs, and they none of its.
if (process.env[NAMESPACE] === undefined && spawnSync("unshare", ["--ipc", "true"]).status === 0) {
  const { status } = spawnSync("unshare", [
    "--ipc",
    Deno.execPath(),
    "run",
    "-A",
    import.meta.filename!,
    ...Deno.args,
  ], { stdio: "inherit", env: { ...process.env, [NAMESPACE]: "own" } });
  Deno.exit(status ?? 1);
}

const isAlone = process.env[NAMESPACE] !== undefined;
const { only, _: given } = parseArgs(Deno.args, { string: ["only"] });
const root = join(import.meta.dirname!, "..");
const files: string[] = given.length > 0
  ? given.map(String)
  : readdirSync(join(root, "tests")).filter((name) => name.endsWith("_test.ts")).sort().map((
    name,
  ) => join("tests", name));

const bun = findBun();
// Tests and examples start either runtime by its name.
const env = { ...process.env };
env.PATH = [dirname(Deno.execPath()), dirname(bun), env.PATH].join(delimiter);
// Deno isolates files from each other. Bun runs all of a command in one program: each has its own.
const suites: Record<string, string[][]> = {
  deno: [[Deno.execPath(), "test", "-A", "--quiet", ...files]],
  bun: files.map((file) => [bun, "test", "--timeout", "120000", `./${file}`]),
};

let failed = false;
for (const [runtime, commands] of Object.entries(suites)) {
  if (only !== undefined && only !== runtime) continue;
  console.log(`\nThe suite under ${runtime}:`);
  const before = objects();
  for (const [command, ...args] of commands) {
    const { status, signal } = spawnSync(command!, args, { cwd: root, env, stdio: "inherit" });
    if (status === 0) continue;
    console.error(`The suite failed under ${runtime}: ${signal ?? `status ${status}`}`);
    failed = true;
  }
  for (const [id, line] of objects()) {
    if (before.has(id)) continue;
    console.error(`The suite left ${id} in the kernel: ${line}`);
    failed = true;
  }
}
if (failed) Deno.exit(1);

/**
 * The objects that the suite may have made, by kind and id: all in a namespace of its own, else those
 * of this user; none where the system lists none.
 */
function objects(): Map<string, string> {
  const found = new Map<string, string>();
  for (const [kind, name] of [["sem", "semid"], ["msg", "msqid"], ["shm", "shmid"]] as const) {
    const [header = [], ...rows] = table(`/proc/sysvipc/${kind}`);
    const id = header.indexOf(name);
    const creator = header.indexOf("cuid");
    for (const row of rows) {
      if (!isAlone && row[creator] !== String(process.getuid?.())) continue;
      found.set(`${kind} ${row[id]}`, row.join(" "));
    }
  }
  return found;
}

function table(path: string): string[][] {
  try {
    return readFileSync(path, "utf8").trim().split("\n").map((line) => line.trim().split(/\s+/));
  } catch {
    return [];
  }
}
