/**
 * The run that the README shows: two processes acquire a permit, one of them is killed with SIGKILL, and
 * its permit comes back.
 *
 *     deno run --allow-ffi --allow-run --allow-env scripts/killed.ts
 *     bun scripts/killed.ts
 *     node scripts/killed.ts
 *
 * The second process runs under another runtime if that is installed. tests/docs_test.ts compares what
 * this prints with the README.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { Semaphore } from "@sysv/ipc";
import { findRuntimes, type Runtime } from "../examples/runtimes.ts";

/** Takes a permit and keeps it until the parent kills this process or closes its input. */
async function work(connections: Semaphore): Promise<void> {
  using _permit = connections.acquireSync();
  console.log("acquired");
  await once(process.stdin.resume(), "end");
}

async function start([runtime, command]: [Runtime, readonly string[]], { id }: Semaphore) {
  const [path, ...args] = [...command, import.meta.filename!, String(id)];
  const child = spawn(path!, args, {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return { child, name: `${runtime} (pid ${child.pid})` };
}

async function show(connections: Semaphore): Promise<void> {
  const say = (event: string) => console.log(`${connections.value}   ${event}`);
  say("permits are free");
  const runtimes = [...findRuntimes(["--allow-ffi"])];
  const first = await start(runtimes[0]!, connections);
  say(`after ${first.name} acquired one`);
  const second = await start(runtimes[1] ?? runtimes[0]!, connections);
  say(`after ${second.name} acquired one`);

  first.child.kill("SIGKILL");
  await once(first.child, "exit");
  say(`after SIGKILL ended ${first.name}: the kernel gave its permit back`);

  second.child.stdin.end();
  await once(second.child, "exit");
  say(`after ${second.name} released its own and ended`);
}

const [id] = process.argv.slice(2);
if (id === undefined) {
  using connections = Semaphore.create({ value: 2 });
  await show(connections);
} else {
  await work(Semaphore.fromId(Number(id)));
}
