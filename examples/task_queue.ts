/**
 * A queue of tasks that loses none when a consumer is killed. Deno, Bun and Node produce and
 * consume together if they are installed.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/task_queue.ts
 *     bun examples/task_queue.ts
 *     node examples/task_queue.ts
 *
 * A message is received by one consumer, and dies with it. So each task also has a semaphore: 1 while
 * the task is to be done and no consumer works on it. A consumer that received the message subtracts
 * the 1 with undo, and makes that final when the task is done. If it is killed, the kernel adds the 1
 * again, and the parent sends all tasks whose semaphore is 1 once more. A message too many does no
 * harm, because only one consumer can subtract the 1.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { MessageQueue, removeOnExit, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { findRuntimes, here, type Runtime } from "./runtimes.ts";

const TASKS = 60;
const CONSUMERS = 4;
/** The first consumer of this task hangs in it, and is killed. */
const TRAP = 13;

interface Task {
  readonly number: number;
  readonly trap?: boolean;
}

interface Answer {
  readonly number: number;
  readonly square: number;
  readonly by: string;
}

interface Shared {
  readonly tasks: MessageQueue;
  readonly answers: MessageQueue;
  readonly todo: SemaphoreSet;
  /** How many consumers have started. */
  readonly started: Semaphore;
}

/** Sends every second task. */
async function produce({ tasks, todo, started }: Shared, first: number): Promise<void> {
  await started.waitForAtLeast(CONSUMERS);
  for (let number = first; number < TASKS; number += 2) {
    todo.at(number).increment();
    // This waits while the queue is full.
    await tasks.send(JSON.stringify({ number, trap: number === TRAP } satisfies Task));
  }
}

/** Does tasks until the queue is removed. */
async function consume({ tasks, answers, todo, started }: Shared): Promise<void> {
  started.increment();
  for await (const message of tasks) {
    const { number, trap } = message.json<Task>();
    const mine = todo.at(number);
    if (!mine.tryDecrement(1, { undo: true })) continue;
    if (trap) {
      console.log(`hangs in task ${number}`);
      await mine.decrement(); // waits for ever: this process has the 1 itself
    }
    await sleep(20 * Math.random());
    const answer: Answer = { number, square: number ** 2, by: here };
    await answers.send(JSON.stringify(answer));
    // The value stays 0, and the kernel has nothing left to reverse.
    await todo.operate([{ index: number, delta: +1, undo: true }, { index: number, delta: -1 }]);
  }
}

/** Yields the answers in the order of the tasks, each once, in whatever order they arrive. */
async function* inOrder({ answers }: Shared): AsyncGenerator<Answer> {
  const early = new Map<number, Answer>();
  for (let number = 0; number < TASKS; number++) {
    while (!early.has(number)) {
      // If a consumer is killed right after its answer, the answer arrives a second time.
      const answer = (await answers.receive()).json<Answer>();
      if (answer.number >= number) early.set(answer.number, answer);
    }
    yield early.get(number)!;
    early.delete(number);
  }
}

async function manage(shared: Shared): Promise<void> {
  const { tasks, answers, todo, started } = shared;
  const commands = findRuntimes(["--allow-ffi"]);
  const runtimes = [...commands.keys()];
  const start = (runtime: Runtime, role: string, first = 0) => {
    const [path, ...run] = commands.get(runtime)!;
    const given = [role, tasks.id, answers.id, todo.id, started.id, first].map(String);
    return spawn(path!, [...run, import.meta.filename!, ...given], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  };

  let killed = 0;
  const consumers = Array.from({ length: CONSUMERS }, async (_, i) => {
    const runtime = runtimes[i % runtimes.length]!;
    const consumer = start(runtime, "consume");
    consumer.stdout.on("data", (text) => {
      console.log(`A consumer in ${runtime} ${String(text).trim()} and is killed.`);
      consumer.kill("SIGKILL");
    });
    // The kernel reverses a process's operations before it reports the exit.
    const [code, signal] = await once(consumer, "exit");
    if (signal !== "SIGKILL") return assert.equal(code, 0);
    killed++;
    const left = todo.values.flatMap((value, number) => value > 0 ? [number] : []);
    assert.ok(left.includes(TRAP));
    console.log(`Task ${TRAP} is to be done again.`);
    for (const number of left) await tasks.send(JSON.stringify({ number }));
  });
  const producers = [0, 1].map(async (i) => {
    const producer = start(runtimes[i % runtimes.length]!, "produce", i);
    const [code] = await once(producer, "exit");
    assert.equal(code, 0);
  });

  const squares: number[] = [];
  const done: Record<string, number> = {};
  for await (const { square, by } of inOrder(shared)) {
    squares.push(square);
    done[by] = (done[by] ?? 0) + 1;
  }
  await Promise.all(producers);
  tasks.remove(); // ends the consumers
  await Promise.all(consumers);

  assert.equal(killed, 1);
  assert.deepEqual(squares, Array.from({ length: TASKS }, (_, number) => number ** 2));
  assert.equal(answers.tryReceive(), undefined);
  assert.ok(todo.values.every((value) => value === 0));
  const shares = Object.entries(done).sort().map(([runtime, tasks]) => `${tasks} by ${runtime}`);
  console.log(`All ${TASKS} tasks are done, ${shares.join(", ")}, and each answer came once.`);
}

const [role, tasks, answers, todo, started, first] = process.argv.slice(2);
if (role !== undefined) {
  const shared: Shared = {
    tasks: MessageQueue.fromId(Number(tasks)),
    answers: MessageQueue.fromId(Number(answers)),
    todo: SemaphoreSet.fromId(Number(todo)),
    started: Semaphore.fromId(Number(started)),
  };
  if (role === "consume") await consume(shared);
  else await produce(shared, Number(first));
} else {
  const shared: Shared = {
    tasks: MessageQueue.create(),
    answers: MessageQueue.create(),
    todo: SemaphoreSet.create({ values: new Array(TASKS).fill(0) }),
    started: Semaphore.create(),
  };
  const { tasks, answers, todo, started } = shared;
  // Ctrl-C must not leave them in the kernel.
  removeOnExit(tasks, answers, todo, started);
  await manage(shared);
  for (const object of [answers, todo, started]) object.remove();
  for (const object of [tasks, answers, todo, started]) {
    assert.throws(() => object.stat(), { code: "EIDRM" });
  }
  console.log("Nothing is left in the kernel.");
}
