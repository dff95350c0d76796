/**
 * The module in the loops of the bench, in Deno and in Bun. Each line on stdin asks for a batch of so
 * many rounds, whose numbers go out as JSON.
 *
 *     contender.ts ROW KEY KEY
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { MessageQueue, type Permit, prepare, Semaphore, SemaphoreSet } from "../../mod.ts";
import { Mutex } from "../../sync/mod.ts";

/** The numbers of a batch, by their unit. */
export type Numbers = Record<string, number>;
type Batch = (count: number) => Numbers | Promise<Numbers>;

declare const gc: () => void;

const [row = "", ...keys] = process.argv.slice(2);
const [firstKey = 0, secondKey = 0] = keys.map(Number);
const text = new Uint8Array(64).fill(120);

const semaphore = () => Semaphore.open(firstKey);
const queue = () => MessageQueue.open(firstKey);

function timed(run: (count: number) => void): Batch {
  return (count) => {
    const start = performance.now();
    run(count);
    return { ns: (performance.now() - start) * 1e6 / count };
  };
}

function rank(numbers: number[], share: number): number {
  return numbers.sort((a, b) => a - b)[Math.floor(share * numbers.length)]!;
}

const batches: Record<string, () => Batch | Promise<Batch>> = {
  acquire() {
    const first = semaphore();
    return timed((count) => {
      for (let i = 0; i < count; i++) first.acquireSync().release();
    });
  },
  "try-acquire"() {
    const first = semaphore();
    return timed((count) => {
      for (let i = 0; i < count; i++) first.tryAcquire()!.release();
    });
  },
  increment() {
    const first = semaphore();
    return timed((count) => {
      for (let i = 0; i < count; i++) {
        first.increment();
        first.decrementSync();
      }
    });
  },
  "increment-undo"() {
    const first = semaphore();
    return timed((count) => {
      for (let i = 0; i < count; i++) {
        first.increment(1, { undo: true });
        first.decrementSync(1, { undo: true });
      }
    });
  },
  value() {
    const first = semaphore();
    return timed((count) => {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += first.value;
      if (sum === 0) throw new Error("The value was 0");
    });
  },
  mutex() {
    const mutex = new Mutex(SemaphoreSet.open(firstKey));
    return timed((count) => {
      for (let i = 0; i < count; i++) mutex.lockSync().release();
    });
  },
  message() {
    const messages = queue();
    return timed((count) => {
      for (let i = 0; i < count; i++) {
        messages.trySend(text);
        if (messages.tryReceive()!.bytes.length !== 64) throw new Error("A message was cut");
      }
    });
  },
  "message-into"() {
    const messages = queue();
    const buffer = new Uint8Array(64);
    return timed((count) => {
      for (let i = 0; i < count; i++) {
        messages.trySend(text);
        if (messages.tryReceiveInto(buffer)!.length !== 64) throw new Error("A message was cut");
      }
    });
  },
  "message-sync"() {
    const messages = queue();
    const buffer = new Uint8Array(64);
    return timed((count) => {
      for (let i = 0; i < count; i++) {
        messages.sendSync(text);
        if (messages.receiveIntoSync(buffer).length !== 64) throw new Error("A message was cut");
      }
    });
  },
  "stat-set"() {
    const set = SemaphoreSet.open(firstKey);
    return timed((count) => {
      for (let i = 0; i < count; i++) if (set.stat().size !== 3) throw new Error("A wrong size");
    });
  },
  "stat-queue"() {
    const messages = queue();
    return timed((count) => {
      for (let i = 0; i < count; i++) {
        if (messages.stat().messages !== 0) throw new Error("A message was left");
      }
    });
  },
  sync() {
    const [first, second] = [semaphore(), Semaphore.open(secondKey)];
    return (count) => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) {
        const start = performance.now();
        second.increment();
        first.decrementSync();
        times.push(performance.now() - start);
      }
      return { us: 1000 * rank(times, 0.5) };
    };
  },
  "answer-sync"() {
    const [first, second] = [semaphore(), Semaphore.open(secondKey)];
    return () => {
      for (;;) {
        second.decrementSync();
        first.increment();
      }
    };
  },
  async promise() {
    const [first, second] = [semaphore(), Semaphore.open(secondKey)];
    await prepare();
    return async (count) => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) {
        const start = performance.now();
        second.increment();
        await first.decrement();
        times.push(performance.now() - start);
      }
      return { us: 1000 * rank(times, 0.5), p99: 1000 * rank(times, 0.99) };
    };
  },
  async "answer-promise"() {
    const [first, second] = [semaphore(), Semaphore.open(secondKey)];
    await prepare();
    return async () => {
      for (;;) {
        await second.decrement();
        first.increment();
      }
    };
  },
  async pending() {
    const first = semaphore();
    await prepare();
    return async (count) => {
      const pending = new Array<Promise<Permit>>(count);
      gc();
      const empty = process.memoryUsage().heapUsed;
      for (let i = 0; i < count; i++) pending[i] = first.acquire();
      while (first.waiting.forIncrease === 0) await new Promise((resolve) => setTimeout(resolve));
      gc();
      const bytes = (process.memoryUsage().heapUsed - empty) / count;
      const threads = first.waiting.forIncrease;
      const start = performance.now();
      first.increment(count);
      const permits = await Promise.all(pending);
      const ms = performance.now() - start;
      // Their undo is taken back, all at once: it has a limit.
      for (const permit of permits) permit.release();
      first.decrementSync(count);
      return { bytes, threads, ms };
    };
  },
  async abort() {
    const first = semaphore();
    await prepare();
    return async (count) => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) {
        const controller = new AbortController();
        const wait = first.decrement(1, { signal: controller.signal }).catch(() => {});
        while (first.waiting.forIncrease === 0) await new Promise((resolve) => setTimeout(resolve));
        const start = performance.now();
        controller.abort();
        await wait;
        times.push(performance.now() - start);
      }
      return { us: 1000 * rank(times, 0.5), p99: 1000 * rank(times, 0.99) };
    };
  },
  gap() {
    const set = SemaphoreSet.open(firstKey);
    return async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const waits: Promise<void>[] = [];
      const starting = await longestGap(300, () => {
        for (let i = 0; i < 100; i++) {
          waits.push(set.operate([{ index: i, delta: -1 }], { signal }));
        }
      });
      const pending = await longestGap(300);
      controller.abort();
      await Promise.allSettled(waits);
      // The waiter threads leave a second later: the next batch starts them again.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const idle = await longestGap(300);
      return { pending, starting, idle };
    };
  },
};

/** The longest time between two turns of the event loop, in milliseconds. */
async function longestGap(milliseconds: number, start?: () => void): Promise<number> {
  const end = performance.now() + milliseconds;
  let longest = 0;
  let last = performance.now();
  start?.();
  while (last < end) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}

const make = batches[row];
if (make === undefined) throw new Error(`There is no row ${row}`);
const batch = await make();
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await batch(Number(line)))}\n`);
}
