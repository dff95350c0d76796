/**
 * Ends a child that takes too long: whichever comes first, an alarm or the child's end.
 *
 *     deno run --allow-ffi --allow-run=sleep --allow-env examples/unix/slow_child.ts
 *     bun examples/unix/slow_child.ts
 *     node examples/unix/slow_child.ts
 *
 * A C program blocks SIGALRM and SIGCHLD, starts the child, and calls sigwait for both. Here `signals`
 * keeps what arrives until it is asked for. `sigwait(["SIGALRM", "SIGCHLD"])` would listen for the first
 * signal only: an alarm right after it would end the program.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { alarm, signals } from "@sysv/ipc/unix";

/** Runs a command for at most `seconds`, and returns its exit status or the signal that killed it. */
async function runAtMost(seconds: number, command: string, ...args: string[]): Promise<unknown> {
  // Before the child and the alarm: SIGALRM ends a process that does not listen to it.
  using news = signals("SIGALRM", "SIGCHLD");
  const child = spawn(command, args, { stdio: "inherit" });
  const exit = once(child, "exit");
  alarm(seconds);
  const first = await news.next();
  alarm(0);
  if (first === "SIGALRM") {
    child.kill("SIGKILL");
    await news.next(); // SIGCHLD, or the next call would take it for its own child's
  }
  const [status, signal] = await exit;
  return signal ?? status;
}

const quick = await runAtMost(10, "sleep", "0.1");
console.log("The quick child ended with", quick);
const slow = await runAtMost(0.2, "sleep", "60");
console.log("The slow child was ended by", slow);

assert.equal(quick, 0);
assert.equal(slow, "SIGKILL");
assert.equal(alarm(0), 0);
console.log("A quick child may end by itself, and a slow one is killed.");
