/**
 * Processes for tests that look at their own threads and signals, and that start Workers.
 *
 * @module
 */

import { type Child, run, type RunOptions, until } from "./child.ts";

/** Runs a program that reads /proc, with functions to do so. */
export function runObserved(program: string, options: RunOptions = {}): Child {
  return run(
    `
    import { readdirSync, readFileSync, writeSync } from "node:fs";
    /** The threads that are Workers, as both runtimes name them. */
    const workers = () => readdirSync("/proc/self/task").filter((task) => {
      try { return /^worker/i.test(readFileSync("/proc/self/task/" + task + "/comm", "utf8")); }
      catch { return false; }
    }).length;
    /** Whether anything handles SIGURG. */
    const handled = () => {
      const [, mask] = readFileSync("/proc/self/status", "utf8").match(/^SigCgt:\\s*(\\w+)$/m);
      return (BigInt("0x" + mask) >> 22n & 1n) === 1n;
    };
    const until = async (condition) => {
      while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const tell = (text) => writeSync(1, text + "\\n");
    void [workers, handled, until, tell];
    ${program}
  `,
    { permissions: ["-A"], ...options },
  );
}

/** A program that starts Workers, whose code knows the module's names and \`parentPort\`. */
export function runWorkers(program: string, options: RunOptions = {}): Child {
  return runObserved(
    `
    import { Worker } from "node:worker_threads";
    const start = (code) => {
      const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(
        "import { parentPort } from 'node:worker_threads';" +
        "import * as ipc from '${new URL("../mod.ts", import.meta.url)}';" +
        "const { Semaphore, SemaphoreSet, MessageQueue, configure, prepare } = ipc;" + code
      )));
      worker.on("error", (error) => tell("error: " + error));
      return worker;
    };
    const message = (worker) => new Promise((resolve) => worker.once("message", resolve));
    ${program}
  `,
    options,
  );
}

/** Whether something becomes true within a tenth of a second. */
export async function becomes(condition: () => boolean): Promise<boolean> {
  return await until(condition, 100).then(() => true, () => false);
}
