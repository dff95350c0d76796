/**
 * Children work side by side, and show what they found in order: each waits for a signal.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/unix/ordered_by_signals.ts
 *     bun examples/unix/ordered_by_signals.ts
 *
 * A signal is lost on a child that does not listen yet, and signals of the same kind that come
 * together are merged. So the parent starts the next child once one has sent SIGUSR2: it listens.
 * Then SIGCONT tells each that it is its turn, and SIGCHLD tells the parent that it has had it.
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
  const turn = sigwait(["SIGCONT"], { timeout: 60_000 }); // it never comes if the parent is dead
  kill(parent, "SIGUSR2"); // this child listens now
  await sleep(200 * Math.random()); // the work
  await turn;
  console.log(`Result ${number}`);
}

async function manage(): Promise<void> {
  using news = signals("SIGUSR2", "SIGCHLD"); // before there is anybody to send one
  using results = pipe();
  const run = "Bun" in globalThis ? [] : ["run", "--quiet", "--allow-ffi"];
  const children = [];
  for (let number = 0; number < CHILDREN; number++) {
    const given = [number, process.pid].map(String);
    const child = spawn(process.execPath, [...run, import.meta.filename!, ...given], {
      stdio: ["ignore", results.writer.fd, "inherit"],
    });
    children.push({ pid: child.pid!, exit: once(child, "exit") });
    assert.equal(await news.next(), "SIGUSR2");
  }
  results.writer.close(); // only the children have it now: their end is the end of file

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
