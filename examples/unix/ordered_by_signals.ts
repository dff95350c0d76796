/**
 * Children work in parallel and print their results in order: each waits for a signal.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/unix/ordered_by_signals.ts
 *     bun examples/unix/ordered_by_signals.ts
 *     node examples/unix/ordered_by_signals.ts
 *
 * A signal to a child that does not listen yet is lost, and equal signals that arrive together are
 * merged. So each child sends SIGUSR2 when it listens, and only then the parent starts the next one.
 * SIGCONT gives a child its turn, and SIGCHLD tells the parent that the child has ended.
 *
 * SIGUSR1 would do as well, but a Deno that runs for half a second also opens its debugger on it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { kill, pipe, signals, sigwait } from "@sysv/ipc/unix";

const CHILDREN = 4;

async function work(number: number, parent: number): Promise<void> {
  const turn = sigwait(["SIGCONT"], { timeout: 60_000 }); // the parent may have died
  kill(parent, "SIGUSR2"); // this child listens now
  await sleep(200 * Math.random()); // the work
  await turn;
  console.log(`Result ${number}`);
}

async function manage(): Promise<void> {
  using news = signals("SIGUSR2", "SIGCHLD"); // before any child can send one
  using results = pipe();
  const run = "Deno" in globalThis ? ["run", "--quiet", "--allow-ffi"] : [];
  const children = [];
  for (let number = 0; number < CHILDREN; number++) {
    const given = [number, process.pid].map(String);
    const child = spawn(process.execPath, [...run, import.meta.filename!, ...given], {
      stdio: ["ignore", results.writer.fd, "inherit"],
    });
    children.push({ pid: child.pid!, exit: once(child, "exit") });
    assert.equal(await news.next(), "SIGUSR2");
  }
  results.writer.close(); // now only the children have it, so the file ends when they do

  for (const { pid, exit } of children) {
    kill(pid, "SIGCONT");
    assert.equal(await news.next(), "SIGCHLD");
    assert.deepEqual(await exit, [0, null]);
  }
  const shown = await new Response(results.reader.readable).text();
  console.log(shown.trimEnd());
  assert.equal(shown, children.map((_, number) => `Result ${number}\n`).join(""));
  console.log(`${CHILDREN} children worked side by side, and signals put their results in order.`);
}

const [number, parent] = process.argv.slice(2);
if (number === undefined) await manage();
else await work(Number(number), Number(parent));
