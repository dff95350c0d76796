/**
 * Runs the whole suite under Deno, Bun and Node. Objects that a file of tests leaves in the kernel are
 * failures, too. It ends with a list of what failed and the totals of each runtime.
 *
 *     deno task test [--only=deno|bun|node] [--jobs=N] [FILE...]
 *
 * @module
 */

import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "@std/cli/parse-args";
import { isAlone, type Result, runFile, type Runtime, runtimes } from "./test_file.ts";

const { only, jobs, _: given } = parseArgs(Deno.args, { string: ["only", "jobs"] });
if (only !== undefined && !runtimes.includes(only as Runtime)) {
  console.error(`Cannot run the suite under ${only}: expected one of ${runtimes.join(", ")}`);
  Deno.exit(2);
}

const root = join(import.meta.dirname!, "..");
const all = readdirSync(join(root, "tests")).filter((name) => name.endsWith("_test.ts")).sort();
const files: string[] = given.length > 0
  ? given.map(String)
  : all.map((name) => join("tests", name));
const chosen = runtimes.filter((runtime) => only === undefined || only === runtime);
// Models call nothing of their runtime and take long: one explores them, unless files are named or in a soak.
const isModel = (file: string) => /\b(?:shared_)?model_\w+_test\.ts$/.test(file);
const everywhere = given.length > 0 || Deno.env.get("IPC_TEST_SOAK") === "1";
const plan = chosen.flatMap((runtime, index) =>
  files.filter((file) => everywhere || index === 0 || !isModel(file))
    .map((file) => ({ runtime, file }))
);

// One more than there are cores, as tests often wait. Without namespaces of their own files would meet.
const lanes = isAlone ? Number(jobs ?? availableParallelism() + 1) : 1;

const folder = mkdtempSync(join(tmpdir(), "sysv-ipc-suite-"));
chmodSync(folder, 0o711);
const totals = new Map(
  chosen.map((runtime) => [runtime, { passed: 0, skipped: 0, failed: [] as string[] }]),
);
const results: Result[] = [];
let begun = 0;
let printed = 0;
await Promise.all(Array.from({ length: lanes }, runLane));
rmSync(folder, { recursive: true, force: true });
finish();

/** Runs what nobody has begun yet, until there is none. */
async function runLane(): Promise<void> {
  while (begun < plan.length) {
    const index = begun++;
    const { runtime, file } = plan[index]!;
    results[index] = await runFile(runtime, file, join(folder, String(index)));
    while (results[printed] !== undefined) print(printed++);
  }
}

/** Prints the results in the order of the plan, whatever ended first. */
function print(index: number): void {
  const { runtime, file } = plan[index]!;
  const { output, seconds, passed, skipped, failed } = results[index]!;
  if (plan[index - 1]?.runtime !== runtime) console.log(`\nThe suite under ${runtime}:`);
  console.log(`\n== ${file} under ${runtime}, ${seconds.toFixed(1)} s\n${output.trim()}`);
  const total = totals.get(runtime)!;
  total.passed += passed;
  total.skipped += skipped;
  total.failed.push(...failed.map((name) => `${file}: ${name}`));
}

function finish(): void {
  console.log();
  for (const [runtime, { failed }] of totals) {
    for (const name of failed) console.log(`FAILED under ${runtime}: ${name}`);
  }
  let [passed, failed] = [0, 0];
  for (const [runtime, total] of totals) {
    console.log(
      `${runtime}: ${total.passed} passed, ${total.failed.length} failed, ${total.skipped} skipped`,
    );
    passed += total.passed;
    failed += total.failed.length;
  }
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0) Deno.exit(1);
}
