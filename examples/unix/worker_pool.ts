/**
 * A pool of worker processes, fed by a message queue: a free worker receives the next job.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/unix/worker_pool.ts
 *     bun examples/unix/worker_pool.ts
 *     node examples/unix/worker_pool.ts
 *
 * A job is lost with the worker that received it, and then this program ends with an error. For a queue
 * that loses none, see task_queue.ts in the folder above.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { MessageQueue, removeOnExit } from "@sysv/ipc";

const WORKERS = 3;
const JOBS = 40;
const STEP = 2500;

interface Result {
  readonly primes: number;
  readonly worker: string;
}

function countPrimes(from: number, to: number): number {
  let count = 0;
  for (let n = Math.max(from, 2); n < to; n++) {
    let divisor = 2;
    while (divisor * divisor <= n && n % divisor !== 0) divisor++;
    if (divisor * divisor > n) count++;
  }
  return count;
}

async function work(jobs: MessageQueue, results: MessageQueue, worker: string): Promise<void> {
  for await (const job of jobs) {
    if (job.bytes.length === 0) break; // no more jobs
    const from = Number(job.text());
    const result: Result = { primes: countPrimes(from, from + STEP), worker };
    await results.send(JSON.stringify(result));
  }
}

/** Sends all jobs, waiting while the queue is full, and then tells each worker to end. */
async function feed(jobs: MessageQueue): Promise<void> {
  for (let job = 0; job < JOBS; job++) await jobs.send(String(job * STEP));
  for (let worker = 0; worker < WORKERS; worker++) await jobs.send("");
}

async function collect(results: MessageQueue): Promise<Result[]> {
  const collected: Result[] = [];
  while (collected.length < JOBS) collected.push((await results.receive()).json<Result>());
  return collected;
}

async function manage(jobs: MessageQueue, results: MessageQueue): Promise<void> {
  const run = "Deno" in globalThis ? ["run", "--quiet", "--allow-ffi"] : [];
  const workers = Array.from({ length: WORKERS }, async (_, number) => {
    const given = [jobs.id, results.id, number].map(String);
    const worker = spawn(process.execPath, [...run, import.meta.filename!, ...given], {
      stdio: "inherit",
    });
    assert.deepEqual(await once(worker, "exit"), [0, null]);
  });
  const [collected] = await Promise.all([collect(results), feed(jobs), ...workers]);

  for (const [worker, done] of Map.groupBy(collected, ({ worker }) => worker)) {
    console.log(`Worker ${worker} did ${done.length} jobs.`);
  }
  const primes = collected.reduce((sum, result) => sum + result.primes, 0);
  assert.equal(primes, 9592);
  assert.equal(jobs.tryReceive(), undefined);
  assert.equal(results.tryReceive(), undefined);
  console.log(`${WORKERS} workers found ${primes} primes below ${JOBS * STEP} in ${JOBS} jobs.`);
}

const [jobsId, resultsId, worker] = process.argv.slice(2);
if (worker !== undefined) {
  const [jobs, results] = [jobsId, resultsId].map((id) => MessageQueue.fromId(Number(id)));
  await work(jobs!, results!, worker);
} else {
  using jobs = MessageQueue.create();
  using results = MessageQueue.create();
  removeOnExit(jobs, results); // Ctrl-C must not leave them in the kernel
  await manage(jobs, results);
}
