/**
 * Workers of all runtimes count their requests in shared memory, and a reader draws the counts. One
 * worker is killed in the middle: what it has counted stays, and nobody waits for it.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/metrics.ts
 *     bun examples/metrics.ts
 *     node examples/metrics.ts
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { f64, SharedCounters, SharedVariable, struct, u32, utf8 } from "@sysv/ipc/shared";
import { findRuntimes } from "./runtimes.ts";

const WORKERS = 4;
const REQUESTS = 400;
/** This worker is killed. */
const VICTIM = 2;

const counters = Object.fromEntries(
  Array.from({ length: WORKERS }, (_, worker) => [`requests ${worker}`, "u32" as const]),
);
/** What was served last, always read as a whole. */
const last = struct({ worker: u32, milliseconds: f64, path: utf8(32) });

function start(command: readonly string[], worker: number, ...ids: number[]): ChildProcess {
  const [path, ...args] = [...command, process.argv[1]!, "worker", ...[worker, ...ids].map(String)];
  return spawn(path!, args, { stdio: ["ignore", "ignore", "inherit"] });
}

async function work(worker: number, countersId: number, lastId: number): Promise<void> {
  using requests = SharedCounters.fromId(countersId);
  using served = SharedVariable.fromId(lastId, { codec: last });
  for (let request = 0; request < REQUESTS; request++) {
    await sleep(Math.random() * 2);
    requests.add(`requests ${worker}`, 1);
    served.setSync({ worker, milliseconds: Math.random() * 2, path: `/items/${request}` });
  }
}

async function main(): Promise<void> {
  using requests = SharedCounters.create({ counters });
  using served = SharedVariable.create({ codec: last, maxBytes: last.size });
  const commands = [...findRuntimes(["--allow-ffi", "--allow-env"]).values()];
  const workers = Array.from(
    { length: WORKERS },
    (_, worker) => start(commands[worker % commands.length]!, worker, requests.id, served.id),
  );
  const ended = Promise.all(workers.map((worker) => once(worker, "exit")));
  const countOf = (worker: number) => Number(requests.load(`requests ${worker}`));
  const isLive = process.stdout.isTTY;
  let killed = false;
  for (let round = 0; countOf(0) < REQUESTS || !killed; round++) {
    if (isLive) {
      const bars = workers.map((_, worker) => {
        const bar = "█".repeat(Math.ceil(countOf(worker) / REQUESTS * 40)).padEnd(40, "·");
        return `worker ${worker} ${bar} ${countOf(worker)}\n`;
      });
      process.stdout.write(`${round > 0 ? `\x1b[${WORKERS}A` : ""}${bars.join("")}`);
    }
    if (countOf(VICTIM) > REQUESTS / 4) killed = workers[VICTIM]!.kill("SIGKILL") || killed;
    await sleep(20);
  }
  await ended;
  const counts = workers.map((_, worker) => countOf(worker));
  assert(
    counts.every((count, worker) => worker === VICTIM ? count < REQUESTS : count === REQUESTS),
  );
  console.log(`Worker ${VICTIM} was killed after ${counts[VICTIM]} requests, which still count.`);
  const { value, version } = served.read()!;
  const total = counts.reduce((sum, count) => sum + count);
  assert(version >= total - 1 && version <= total);
  assert.match(value.path, /^\/items\/\d+$/);
  console.log(`All ${total} are counted, and the last record is whole: ${value.path}.`);
}

const [, , task, worker, countersId, lastId] = process.argv;
if (task === "worker") await work(Number(worker), Number(countersId), Number(lastId));
else await main();
