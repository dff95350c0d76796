/**
 * Runs one file of tests under one runtime, for scripts/test.ts.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { objects } from "./objects.ts";
import { type Report, reportOf } from "./report.ts";
import { findBun, findNode } from "./runtimes.ts";

/** The runtimes of the suite. */
export type Runtime = "deno" | "bun" | "node";

/** What a file of tests came to. */
export interface Result extends Report {
  /** All that it printed. */
  readonly output: string;
  /** How long it took. */
  readonly seconds: number;
}

const root = join(import.meta.dirname!, "..");
const bun = findBun();
const node = nodeIfAny();

/** The runtimes of the suite on this machine. */
export const runtimes: readonly Runtime[] = node === undefined
  ? ["deno", "bun"]
  : ["deno", "bun", "node"];

/**
 * Whether each file runs in an IPC namespace of its own: there it sees no object of other programs, and
 * they none of its.
 */
export const isAlone = spawnSync("unshare", ["--ipc", "true"]).status === 0;

/** How long a file may take before it counts as hanging, in seconds. */
const PATIENCE = process.env.IPC_TEST_SOAK === "1" ? 3600 : 300;

// What outlives the file, as the watchdog of guard() does, has a moment to remove what is its.
const within = `left=$1; shift
timeout --kill-after=5 ${PATIENCE} "$@"
status=$?
for moment in 1 2 3 4 5 6 7 8 9 10; do
  for kind in sem msg shm; do tail --lines=+2 /proc/sysvipc/$kind | sed "s/^/$kind/"; done > "$left"
  [ -s "$left" ] || break
  sleep 0.2
done
exit $status`;

/** Node, where this machine has one that can call C. */
function nodeIfAny(): string | undefined {
  try {
    return findNode();
  } catch (error) {
    if (process.env.IPC_TEST_REQUIRE_PEERS === "1") throw error;
    console.log(`Without Node: ${(error as Error).message}`);
    return undefined;
  }
}

/** Runs a file. All that it leaves among the temporary files goes with the folder, which is its own. */
export async function runFile(runtime: Runtime, file: string, folder: string): Promise<Result> {
  mkdirSync(folder);
  // Servers and children that become another user have to get into their own folders in it.
  chmodSync(folder, 0o711);
  const paths = { report: join(folder, "report"), left: join(folder, "left") };
  const before = isAlone ? undefined : objects(true);
  const start = performance.now();
  const command = commandOf(runtime, file, paths.report);
  const all = isAlone
    ? ["unshare", "--ipc", "sh", "-c", within, "sh", paths.left, ...command]
    : command;
  const { ended, output } = await perform(all, folder);
  const seconds = (performance.now() - start) / 1000;
  const report = reportOf(read(paths.report));
  // A run that crashes may have failed at no test, and reported nothing.
  if (ended !== "status 0" && report.failed.length === 0) report.failed.push(`ended with ${ended}`);
  const left = before === undefined
    ? read(paths.left).split("\n").filter(Boolean)
    : newSince(before);
  report.failed.push(...left.map((line) => `left in the kernel: ${line}`));
  rmSync(folder, { recursive: true, force: true });
  return { ...report, output, seconds };
}

function commandOf(runtime: Runtime, file: string, report: string): string[] {
  switch (runtime) {
    case "deno":
      return [
        Deno.execPath(),
        "test",
        "-A",
        "--quiet",
        "--no-check",
        `--junit-path=${report}`,
        file,
      ];
    case "bun":
      return [
        ...[bun, "test", "--timeout", "120000"],
        ...["--reporter=junit", `--reporter-outfile=${report}`, `./${file}`],
      ];
    case "node":
      return [
        ...[node!, "--disable-warning=ExperimentalWarning", "--import=./scripts/node/resolve.mjs"],
        ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
        ...["--test-reporter=junit", `--test-reporter-destination=${report}`, file],
      ];
  }
}

/** Runs a command with a folder for its temporary files, and tells how it ended and what it printed. */
async function perform([program, ...args]: string[], folder: string) {
  const path = join(folder, "output");
  const output = openSync(path, "w");
  const child = spawn(program!, args, {
    cwd: root,
    env: environment(folder),
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const ended = await new Promise<string>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(signal ?? `status ${code}`));
  });
  return { ended, output: read(path) };
}

function environment(folder: string): NodeJS.ProcessEnv {
  // Tests and examples start each runtime by its name.
  const folders = [Deno.execPath(), bun, ...(node === undefined ? [] : [node])].map(dirname);
  return {
    ...process.env,
    PATH: [...folders, process.env.PATH].join(delimiter),
    TMPDIR: folder,
    // The many programs of tests start sooner when Node need not strip their types again.
    NODE_COMPILE_CACHE: join(dirname(folder), "compiled"),
    ...(isAlone ? { IPC_TEST_NAMESPACE: "own" } : {}),
    ...(node === undefined ? { IPC_TEST_WITHOUT_NODE: "1" } : {}),
  };
}

function newSince(before: ReadonlyMap<string, string>): string[] {
  return [...objects(true)].filter(([id]) => !before.has(id)).map(([id, line]) => `${id} ${line}`);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
