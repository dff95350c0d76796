/**
 * Reads what a child writes to a pipe without ever waiting: nothing is blocked, and the loop takes a
 * whole processor. The other programs beside this one do better.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_nonblocking.ts
 *     bun examples/unix/pipe_nonblocking.ts
 *     node examples/unix/pipe_nonblocking.ts
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { pipe } from "@sysv/ipc/unix";

using words = pipe();
const script = "for word in to be or not; do echo $word; sleep 0.1; done";
const child = spawn("sh", ["-c", script], { stdio: ["ignore", words.writer.fd, "inherit"] });
const exit = once(child, "exit");
words.writer.close(); // now only the child has it, so the file ends when it does

const start = performance.now();
const before = process.cpuUsage();
const decoder = new TextDecoder();
let said = "";
let inVain = 0;
for (let bytes; (bytes = words.reader.tryRead()) !== null;) {
  if (bytes === undefined) {
    inVain++; // the program could do something else here
    continue;
  }
  const text = decoder.decode(bytes, { stream: true });
  console.log("The child says", text.trim());
  said += text;
}
const { user, system } = process.cpuUsage(before);
const used = (user + system) / 10 / (performance.now() - start);

assert.equal(said, "to\nbe\nor\nnot\n");
assert.ok(inVain > 1000);
assert.deepEqual(await exit, [0, null]);
console.log(`Looking ${inVain} times in vain took ${used.toFixed(1)} % of a processor.`);
