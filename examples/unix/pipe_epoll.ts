/**
 * Reads what two children say through pipes, as it comes: `epoll` tells who has said something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_epoll.ts
 *     bun examples/unix/pipe_epoll.ts
 *
 * The kernel is told once about all of them, so the cost does not grow with how many are silent (Linux).
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { prepare } from "@sysv/ipc";
import { Epoll, pipe } from "@sysv/ipc/unix";

/** Starts a child that says some words, with a pause after each. */
function start(name: string, words: string, pause: number) {
  const { reader, writer } = pipe();
  const script = `for word in ${words}; do echo $word; sleep ${pause}; done`;
  const child = spawn("sh", ["-c", script], { stdio: ["ignore", writer.fd, "inherit"] });
  writer.close(); // only the child has it now: its end is the end of file
  return { name, reader, decoder: new TextDecoder(), said: "", exit: once(child, "exit") };
}

let ticks = 0;
const ticking = setInterval(() => ticks++, 10);

const tortoise = start("tortoise", "slow and steady", 0.2);
const hare = start("hare", "run run run rest", 0.1);
const talking = new Map([tortoise, hare].map((child) => [child.reader.fd, child]));

/** Reads what is there. */
function hear(fd: number): void {
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

using epoll = new Epoll();
for (const fd of talking.keys()) epoll.add(fd);
await prepare(); // starts the thread that waits: that is not what is measured
const begin = performance.now();
const before = process.cpuUsage();
for await (const { fd } of epoll) {
  hear(fd); // which closes at the end, and so takes it out of the set
  if (talking.size === 0) break;
}
const { user, system } = process.cpuUsage(before);
const used = (user + system) / 10 / (performance.now() - begin);
clearInterval(ticking);

assert.equal(tortoise.said, "slow\nand\nsteady\n");
assert.equal(hare.said, "run\nrun\nrun\nrest\n");
assert.ok(ticks > 0);
assert.ok(used < 20, `${used} % of a processor`);
for (const { exit } of [tortoise, hare]) assert.deepEqual(await exit, [0, null]);
console.log(`Waiting took ${used.toFixed(1)} % of a processor, and the event loop went on.`);
