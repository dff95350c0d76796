/**
 * Counts busy workers, and the count stays right when workers are killed.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/busy_workers.ts
 *     bun examples/busy_workers.ts
 *     node examples/busy_workers.ts
 *
 * Eight worker processes add 1 to a semaphore while they work on a job. Some are killed with SIGKILL
 * in the middle of one, some crash, some finish and leave. Whenever no worker is between two states,
 * the semaphore has to equal the number of busy workers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { styleText } from "node:util";
import { removeOnExit, Semaphore } from "@sysv/ipc";

/** Runs a worker: one order begins a job, the next one ends it. */
async function work(busy: Semaphore): Promise<void> {
  const orders = createInterface(process.stdin)[Symbol.asyncIterator]();
  console.log("ready");
  while (!(await orders.next()).done) {
    busy.increment(1, { undo: true });
    console.log("busy");
    const { value: order } = await orders.next();
    if (order === "crash") throw new Error("The job has a bug");
    // With undo again: otherwise the kernel would still subtract 1 when this process ends.
    busy.decrementSync(1, { undo: true });
    console.log("idle");
  }
}

type Fate = "killed" | "crashed" | "left";
type State = "busy" | "idle" | Fate;

interface Worker {
  readonly child: ChildProcess;
  readonly answers: AsyncIterator<string>;
  readonly fate: Fate;
  jobs: number;
  state: State;
}

async function start(id: number, fate: Fate, jobs: number): Promise<Worker> {
  const run = "Deno" in globalThis ? ["run", "--allow-ffi"] : [];
  const child = spawn(process.execPath, [...run, import.meta.filename!, String(id)], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  await answers.next();
  return { child, answers, fate, jobs, state: "idle" };
}

/** Makes a worker begin or finish a job; in its last job it meets its fate. */
async function advance(worker: Worker): Promise<void> {
  const { child, answers, fate, jobs, state } = worker;
  const begins = state !== "busy" && jobs > 0;
  const finishes = state === "busy" && (jobs > 0 || fate === "left");
  if (begins || finishes) {
    child.stdin!.write(begins ? "begin\n" : "finish\n");
    if (begins) worker.jobs--;
    worker.state = (await answers.next()).value as State;
    return;
  }
  if (fate === "killed") child.kill("SIGKILL");
  else child.stdin!.end(fate === "crashed" ? "crash\n" : "");
  // The kernel reverses a process's operations before it reports the exit: now the count is right.
  await once(child, "exit");
  worker.state = fate;
}

async function manage(busy: Semaphore): Promise<void> {
  const fates = "killed left crashed killed left killed crashed left".split(" ") as Fate[];
  const workers = await Promise.all(fates.map((fate, i) => start(busy.id, fate, 2 + i % 3)));
  const count = (state: State) => workers.filter((worker) => worker.state === state).length;

  const marks: Record<State, string> = {
    busy: styleText("green", "●"),
    idle: "○",
    killed: styleText("red", "✗"),
    crashed: styleText("yellow", "!"),
    left: styleText("dim", "·"),
  };
  const legend = Object.entries(marks).map(([state, mark]) => `${mark} ${state}`);
  const row = () => workers.map(({ state }) => marks[state]).join(" ");
  const line = () => `${row()}   ${busy.value} busy`;

  const live = process.stdout.isTTY;
  console.log(legend.join("   "));
  let quietPoints = 0;
  do {
    await Promise.all(workers.map(async (worker) => {
      if (worker.state === worker.fate || Math.random() < 0.2) return;
      await new Promise((resolve) => setTimeout(resolve, 250 * Math.random()));
      await advance(worker);
      if (live) process.stdout.write(`\r${line()}`);
    }));
    quietPoints++;
    if (!live) console.log(line());
    assert.equal(busy.value, count("busy"));
  } while (workers.some(({ state, fate }) => state !== fate));
  if (live) console.log();

  assert.equal(busy.value, 0);
  console.log(
    `${count("killed")} workers were killed and ${count("crashed")} crashed ` +
      `in the middle of a job, ${count("left")} finished and left.`,
  );
  console.log(`The count was right at all ${quietPoints} quiet points.`);
}

const [given] = process.argv.slice(2);
if (given !== undefined) {
  await work(Semaphore.fromId(Number(given)));
} else {
  const busy = Semaphore.create();
  // A semaphore outlives its program: Ctrl-C must not leave it in the kernel.
  removeOnExit(busy);
  await manage(busy);
  busy.remove();
  assert.throws(() => Semaphore.fromId(busy.id), { code: "EIDRM" });
  console.log("It ended at 0, and nothing is left in the kernel.");
}
