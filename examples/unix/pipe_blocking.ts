/**
 * Reads what a child writes to a pipe, blocking: this costs no processor time, and stops the event loop.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_blocking.ts
 *     bun examples/unix/pipe_blocking.ts
 *     node examples/unix/pipe_blocking.ts
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { pipe } from "@sysv/ipc/unix";

let ticks = 0;
const ticking = setInterval(() => ticks++, 10);

using words = pipe();
const script = "for word in to be or not; do echo $word; sleep 0.1; done";
const child = spawn("sh", ["-c", script], { stdio: ["ignore", words.writer.fd, "inherit"] });
const exit = once(child, "exit");
words.writer.close(); // now only the child has it, so the file ends when it does

const start = performance.now();
const before = process.cpuUsage();
const decoder = new TextDecoder();
let said = "";
for (let bytes; (bytes = words.reader.readSync()) !== null;) {
  const text = decoder.decode(bytes, { stream: true });
  console.log("The child says", text.trim());
  said += text;
}
const { user, system } = process.cpuUsage(before);
const used = (user + system) / 10 / (performance.now() - start);

assert.equal(said, "to\nbe\nor\nnot\n");
assert.equal(ticks, 0);
assert.ok(used < 20, `${used} % of a processor`);
clearInterval(ticking);
assert.deepEqual(await exit, [0, null]);
console.log(`Waiting took ${used.toFixed(1)} % of a processor, and nothing else could happen.`);
