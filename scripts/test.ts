/**
 * Runs the whole suite under Deno, and then under Bun.
 *
 *     deno task test [--only=deno|bun] [FILE...]
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "@std/cli/parse-args";
import { findBun } from "./bun.ts";

const { only, _: given } = parseArgs(Deno.args, { string: ["only"] });
const root = join(import.meta.dirname!, "..");
const files = given.length > 0
  ? given.map(String)
  : readdirSync(join(root, "tests")).filter((name) => name.endsWith("_test.ts"))
    .sort().map((name) => join("tests", name));

const bun = findBun();
const env = {
  ...Deno.env.toObject(),
  IPC_TEST_DENO: Deno.execPath(),
  IPC_TEST_BUN: bun,
};
const suites = {
  deno: [Deno.execPath(), "test", "-A", "--quiet", ...files],
  bun: [
    bun,
    "test",
    "--timeout",
    "120000",
    ...files.map((file) => `./${file}`),
  ],
};

for (const [runtime, [command, ...args]] of Object.entries(suites)) {
  if (only !== undefined && only !== runtime) continue;
  console.log(`\nThe suite under ${runtime}:`);
  const { status, signal } = spawnSync(command!, args, {
    cwd: root,
    env,
    stdio: "inherit",
  });
  if (status !== 0) {
    console.error(
      `The suite failed under ${runtime}: ${signal ?? `status ${status}`}`,
    );
    Deno.exit(1);
  }
}
