/**
 * Counts the busy workers of Gunicorn, and the count stays right when workers are killed.
 *
 *     deno run --allow-ffi --allow-run --allow-env --allow-net=127.0.0.1 examples/gunicorn/watch.ts
 *     bun examples/gunicorn/watch.ts
 *     node examples/gunicorn/watch.ts
 *
 * Gunicorn's hooks add 1 to a semaphore when a request begins and subtract it when it ends. Workers
 * are killed with SIGKILL in between, and Gunicorn replaces them. Whenever no request begins or ends, the
 * semaphore has to equal the number of requests in progress.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { removeOnExit, Semaphore } from "@sysv/ipc";

const WORKERS = 4;
const CLIENTS = 2 * WORKERS;

using busy = Semaphore.create({ key: `busy-workers-${process.pid}` });
removeOnExit(busy);

const gunicorn = spawn("gunicorn", [
  `--workers=${WORKERS}`,
  // A worker that gets SIGTERM before it listens to signals is killed after this many seconds.
  "--graceful-timeout=3",
  "--bind=127.0.0.1:0",
  "--config=gunicorn.conf.py",
  "app:app",
], {
  cwd: import.meta.dirname,
  env: { ...process.env, BUSY_KEY: String(busy.key), PYTHONDONTWRITEBYTECODE: "1" },
  stdio: ["ignore", "ignore", "pipe"],
});
process.on("exit", () => gunicorn.kill());
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) {
  process.once(signal, () => process.exit(1));
}

interface Request {
  /** The pid of the worker that answered, undefined if the worker was killed. */
  readonly answer: Promise<number | undefined>;
  end(): void;
}

/** The requests in progress, as their clients see them. */
const requests = new Set<Request>();
const killed = new Set<number>();
let answered = 0;
let lost = 0;

/** Begins a request that is in progress until it is ended: the application reads its whole body. */
function begin(): Request {
  const { readable, writable } = new TransformStream();
  const body = writable.getWriter();
  const init = { method: "POST", body: readable, duplex: "half" };
  const answer = fetch(url, init).then((response) => response.text()).then((pid) => {
    answered++;
    return Number(pid);
  }, () => {
    lost++;
    return undefined;
  }).finally(() => requests.delete(request));
  // Node sends the head of a request with the first bytes of its body.
  body.write(new Uint8Array(1)).catch(() => {});
  const request = { answer, end: () => void body.close().catch(() => {}) };
  requests.add(request);
  return request;
}

function kill(worker: number): void {
  if (killed.has(worker)) return;
  process.kill(worker, "SIGKILL");
  killed.add(worker);
}

/** Waits until the semaphore equals the number of requests in progress, and stays equal for a while. */
async function quiet(what: string): Promise<void> {
  const start = performance.now();
  while (busy.value !== requests.size && performance.now() - start < 10_000) {
    await sleep(1);
  }
  for (let i = 0; i < 20; i++) {
    assert.equal(busy.value, requests.size, `${what}: a wrong count`);
    await sleep(2);
  }
  say(`${dots()}  ${what}`);
}

/** Runs a slow client that kills a worker now and then. */
async function client(): Promise<void> {
  for (let i = 1; i <= 50; i++) {
    const request = begin();
    await sleep(20 * Math.random());
    request.end();
    const worker = await request.answer;
    assert.ok(busy.value <= WORKERS);
    if (worker !== undefined && i % 25 === 0) kill(worker);
  }
}

function dots(): string {
  return "●".repeat(busy.value).padEnd(WORKERS, "○");
}

function draw(): void {
  if (process.stdout.isTTY) {
    process.stdout.write(
      `\r\x1b[K${dots()}  ${answered} answered, ${lost} lost, ${killed.size} killed`,
    );
  }
}

function say(text: string): void {
  console.log(process.stdout.isTTY ? `\r\x1b[K${text}` : text);
}

/** Waits until Gunicorn accepts requests, and returns its address. */
function listening(): Promise<string> {
  let log = "";
  return new Promise((resolve, reject) => {
    gunicorn.stderr.on("data", (data) => {
      log += data;
      const found = /Listening at: (\S+)/.exec(log);
      if (found !== null) resolve(found[1]!);
    });
    gunicorn.on("error", reject);
    gunicorn.on("close", () => reject(new Error(`Gunicorn has ended:\n${log}`)));
  });
}

const url = await listening();
const drawing = setInterval(draw, 40);
say(`Gunicorn ${gunicorn.pid} at ${url} counts in semaphore ${busy.id}\n`);
await quiet("idle");

for (let count = 1; count <= WORKERS; count++) {
  while (requests.size < count) {
    begin();
    await quiet(`${requests.size} in progress`);
  }
  // All others wait for their clients, so the last process that operated is in the middle of a request.
  const worker = busy.lastPid;
  kill(worker);
  assert.equal(await Promise.race([...requests].map(({ answer }) => answer)), undefined);
  await quiet(`worker ${worker} killed`);
  begin();
  await quiet("another in its place");
  const answers = [...requests].map(({ answer, end }) => (end(), answer));
  assert.ok((await Promise.all(answers)).every((worker) => worker !== undefined));
  await quiet("all answered");
}

await Promise.all(Array.from({ length: CLIENTS }, client));
await quiet(`after the rush of ${CLIENTS} clients`);

clearInterval(drawing);
const ended = once(gunicorn, "exit");
gunicorn.kill();
await ended;
assert.equal(busy.value, 0);
say(
  `\n${answered} requests answered, ${lost} lost with ${killed.size} killed workers, and the count is right.`,
);
