/**
 * Children work in parallel and print their results in order: each opens a latch for the next.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/unix/ordered_by_latch.ts
 *     bun examples/unix/ordered_by_latch.ts
 *     node examples/unix/ordered_by_latch.ts
 *
 * The latch of a child stays open once it has printed its result, so any number of other processes
 * could wait for it, or come late.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { removeOnExit } from "@sysv/ipc";
import { Latch } from "@sysv/ipc/sync";
import { pipe } from "@sysv/ipc/unix";

const CHILDREN = 4;

async function work(number: number, shown: Latch, before: Latch | undefined): Promise<void> {
  await sleep(200 * Math.random()); // the work
  await before?.wait();
  console.log(`Result ${number}`);
  shown.countDown();
}

async function manage(latches: readonly Latch[]): Promise<void> {
  using results = pipe();
  const run = "Deno" in globalThis ? ["run", "--quiet", "--allow-ffi"] : [];
  const exits = latches.map(({ id }, number) => {
    const before = number > 0 ? [latches[number - 1]!.id] : [];
    const given = [number, id, ...before].map(String);
    const child = spawn(process.execPath, [...run, import.meta.filename!, ...given], {
      stdio: ["ignore", results.writer.fd, "inherit"],
    });
    return once(child, "exit");
  });
  results.writer.close(); // now only the children have it, so the file ends when they do

  await latches.at(-1)!.wait();
  const shown = await new Response(results.reader.readable).text();
  console.log(shown.trimEnd());
  assert.equal(shown, exits.map((_, number) => `Result ${number}\n`).join(""));
  for (const exit of exits) assert.deepEqual(await exit, [0, null]);
  console.log(`${CHILDREN} children worked side by side, and latches put their results in order.`);
}

const [number, ...ids] = process.argv.slice(2);
if (number === undefined) {
  using stack = new DisposableStack();
  const latches = Array.from({ length: CHILDREN }, () => stack.use(Latch.create({ count: 1 })));
  removeOnExit(...latches); // Ctrl-C must not leave them in the kernel
  await manage(latches);
} else {
  const [shown, before] = ids.map((id) => Latch.fromId(Number(id)));
  await work(Number(number), shown!, before);
}
