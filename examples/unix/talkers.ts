/**
 * Starts two children that write words, and collects them: what `pipe_select.ts`, `pipe_poll.ts` and
 * `pipe_epoll.ts` share.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { prepare } from "@sysv/ipc";
import { pipe } from "@sysv/ipc/unix";

/** Starts a child that writes some words, with a pause after each. */
function start(name: string, words: string, pause: number) {
  const { reader, writer } = pipe();
  const script = `for word in ${words}; do echo $word; sleep ${pause}; done`;
  const child = spawn("sh", ["-c", script], { stdio: ["ignore", writer.fd, "inherit"] });
  writer.close(); // now only the child has it, so the file ends when it does
  return { name, reader, decoder: new TextDecoder(), said: "", exit: once(child, "exit") };
}

const tortoise = start("tortoise", "slow and steady", 0.2);
const hare = start("hare", "run run run rest", 0.1);

/** The children whose pipes are open, by descriptor. */
export const talking = new Map([tortoise, hare].map((child) => [child.reader.fd, child]));

/** Reads what a child has written, and closes its pipe at the end. */
export function hear(fd: number): void {
  const child = talking.get(fd)!;
  const bytes = child.reader.tryRead();
  if (bytes === null) {
    talking.delete(fd);
    child.reader.close();
  } else {
    const text = child.decoder.decode(bytes, { stream: true });
    console.log("The", child.name, "says", text.trim());
    child.said += text;
  }
}

/** Runs a loop that reads everything, and asserts that it costs little and lets the event loop run. */
export async function measure(hearAll: () => Promise<void>): Promise<void> {
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 10);
  await prepare(); // starting the thread that waits is not measured
  const begin = performance.now();
  const before = process.cpuUsage();
  await hearAll();
  const { user, system } = process.cpuUsage(before);
  const used = (user + system) / 10 / (performance.now() - begin);
  clearInterval(ticking);

  assert.equal(tortoise.said, "slow\nand\nsteady\n");
  assert.equal(hare.said, "run\nrun\nrun\nrest\n");
  assert.ok(ticks > 0);
  assert.ok(used < 20, `${used} % of a processor`);
  for (const { exit } of [tortoise, hare]) assert.deepEqual(await exit, [0, null]);
  console.log(`Waiting took ${used.toFixed(1)} % of a processor, and the event loop went on.`);
}
