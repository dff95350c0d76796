/**
 * Processes for tests that look at their own threads and signals, and that start Workers.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { type Child, run, type RunOptions } from "./child.ts";
import { until } from "./time.ts";

/** Runs a program that reads /proc, with functions to do so. */
export function runObserved(program: string, options: RunOptions = {}): Child {
  return run(
    `
    import { readdirSync, readFileSync, writeSync } from "node:fs";
    /** The threads that are Workers, as all runtimes name them. */
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
        "import * as ipc from '${new URL("../../mod.ts", import.meta.url)}';" +
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

/** The numbers of epoll_wait and epoll_pwait, as the libcs of x86_64 and aarch64 make them. */
const epollWaits = ["232", "281", "22"];

/** Whether a thread of this process waits in the kernel for a descriptor. */
function isWatched(fd: number): boolean {
  return readdirSync("/proc/self/task").some((task) => {
    try {
      const [call, epoll] = readFileSync(`/proc/self/task/${task}/syscall`, "utf8").split(" ");
      if (!epollWaits.includes(call!)) return false;
      const watched = readFileSync(`/proc/self/fdinfo/${Number(epoll)}`, "utf8");
      return new RegExp(`^tfd:\\s*${fd}\\s`, "m").test(watched);
    } catch {
      // The thread has ended, or the descriptor is closed.
      return false;
    }
  });
}

/** Waits until a thread of this process waits in the kernel for a descriptor. */
export async function untilWatched(fd: number): Promise<void> {
  await until(() => isWatched(fd));
}
