/**
 * Children work in parallel and print their results in order: each hands the turn to the next.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/unix/ordered_by_semaphores.ts
 *     bun examples/unix/ordered_by_semaphores.ts
 *     node examples/unix/ordered_by_semaphores.ts
 *
 * Semaphore i is 1 while it is the turn of child i. A semaphore keeps its value until the child asks;
 * a signal to a child that does not listen yet is lost.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { removeOnExit, SemaphoreSet } from "@sysv/ipc";
import { pipe } from "@sysv/ipc/unix";

const CHILDREN = 4;

async function work(turns: SemaphoreSet, number: number): Promise<void> {
  await sleep(200 * Math.random()); // the work
  await turns.at(number).decrement();
  console.log(`Result ${number}`);
  turns.at((number + 1) % CHILDREN).increment();
}

async function manage(turns: SemaphoreSet): Promise<void> {
  using results = pipe();
  const run = "Deno" in globalThis ? ["run", "--quiet", "--allow-ffi"] : [];
  const exits = turns.values.map((_, number) => {
    const child = spawn(process.execPath, [
      ...run,
      import.meta.filename!,
      String(turns.id),
      String(number),
    ], { stdio: ["ignore", results.writer.fd, "inherit"] });
    return once(child, "exit");
  });
  results.writer.close(); // now only the children have it, so the file ends when they do

  turns.at(0).increment();
  const shown = await new Response(results.reader.readable).text();
  console.log(shown.trimEnd());
  assert.equal(shown, exits.map((_, number) => `Result ${number}\n`).join(""));
  for (const exit of exits) assert.deepEqual(await exit, [0, null]);
  assert.deepEqual(turns.values, [1, 0, 0, 0]); // round and back to the first
  console.log(
    `${CHILDREN} children worked side by side, and semaphores put their results in order.`,
  );
}

const [id, number] = process.argv.slice(2);
if (id === undefined) {
  using turns = SemaphoreSet.create({ values: new Array(CHILDREN).fill(0) });
  removeOnExit(turns); // Ctrl-C must not leave it in the kernel
  await manage(turns);
} else {
  await work(SemaphoreSet.fromId(Number(id)), Number(number));
}
