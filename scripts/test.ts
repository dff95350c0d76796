/**
 * Runs the whole suite under Deno, and then under Bun. Objects that the suite leaves in the kernel
 * are failures, too. It ends with a list of what failed and the totals of both runtimes.
 *
 *     deno task test [--only=deno|bun] [FILE...]
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { findBun } from "./bun.ts";
import { objects } from "./objects.ts";
import { type Report, reportOf } from "./report.ts";

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
// Whatever a test leaves among the temporary files goes with this folder.
const folder = mkdtempSync(join(tmpdir(), "sysv-ipc-suite-"));
// Servers and children that become another user have to get into their own folders in it.
chmodSync(folder, 0o711);
// Tests and examples start either runtime by its name.
const PATH = [dirname(Deno.execPath()), dirname(bun), process.env.PATH].join(delimiter);
const env = { ...process.env, PATH, TMPDIR: folder };
const reportPath = join(folder, "report.xml");

/** One run of a runtime: what it runs, for messages, and its command. */
interface Run {
  readonly what: string;
  readonly command: readonly string[];
}

// Deno isolates files from each other. Bun runs all of a command in one program: each has its own.
const suites: Record<string, Run[]> = {
  deno: [{
    what: "deno test",
    command: [Deno.execPath(), "test", "-A", "--quiet", `--junit-path=${reportPath}`, ...files],
  }],
  bun: files.map((file) => ({
    what: file,
    command: [
      ...[bun, "test", "--timeout", "120000"],
      ...["--reporter=junit", `--reporter-outfile=${reportPath}`, `./${file}`],
    ],
  })),
};

const totals: [runtime: string, report: Report][] = [];
for (const [runtime, runs] of Object.entries(suites)) {
  if (only !== undefined && only !== runtime) continue;
  console.log(`\nThe suite under ${runtime}:`);
  totals.push([runtime, runAll(runs)]);
}
rmSync(folder, { recursive: true, force: true });

console.log();
for (const [runtime, { failed }] of totals) {
  for (const name of failed) console.log(`FAILED under ${runtime}: ${name}`);
}
for (const [runtime, { passed, failed, skipped }] of totals) {
  console.log(`${runtime}: ${passed} passed, ${failed.length} failed, ${skipped} skipped`);
}
const passed = totals.reduce((sum, [, report]) => sum + report.passed, 0);
const failed = totals.reduce((sum, [, report]) => sum + report.failed.length, 0);
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0) Deno.exit(1);

/** Runs a suite, and counts as failures what its runs leave in the kernel, too. */
function runAll(runs: readonly Run[]): Report {
  const total: Report = { passed: 0, skipped: 0, failed: [] };
  const before = objects(!isAlone);
  for (const run of runs) {
    const report = perform(run);
    total.passed += report.passed;
    total.skipped += report.skipped;
    total.failed.push(...report.failed);
  }
  for (const [id, line] of objects(!isAlone)) {
    if (!before.has(id)) total.failed.push(`left ${id} in the kernel: ${line}`);
  }
  return total;
}

function perform({ what, command: [program, ...args] }: Run): Report {
  rmSync(reportPath, { force: true });
  const { status, signal } = spawnSync(program!, args, { cwd: root, env, stdio: "inherit" });
  const report = read();
  // A run that crashes may have failed at no test, and reported nothing.
  if (status !== 0 && report.failed.length === 0) {
    report.failed.push(`${what}: ended with ${signal ?? `status ${status}`}`);
  }
  return report;
}

function read(): Report {
  try {
    return reportOf(readFileSync(reportPath, "utf8"));
  } catch {
    return { passed: 0, skipped: 0, failed: [] };
  }
}
