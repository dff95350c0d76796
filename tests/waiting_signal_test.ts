import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { MessageQueue, Semaphore } from "@sysv/ipc";
import { pipe, poll } from "@sysv/ipc/unix";
import { at, until } from "../wait/timer.ts";

/** Counts the listeners of a signal. */
function counted(): { stop: AbortController; count: () => number } {
  const stop = new AbortController();
  const { signal } = stop;
  let count = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...given: Parameters<typeof add>) => {
    count++;
    add(...given);
  };
  signal.removeEventListener = (...given: Parameters<typeof remove>) => {
    count--;
    remove(...given);
  };
  return { stop, count: () => count };
}

test("Any number of waits on one AbortSignal are one listener, which goes with the last", async () => {
  using semaphore = Semaphore.create();
  using queue = MessageQueue.create();
  using ends = pipe();
  const { stop: { signal }, count } = counted();
  const waits = [
    ...Array.from({ length: 50 }, () => semaphore.acquire(1, { signal, timeout: 50 })),
    ...Array.from({ length: 50 }, () => queue.receive({ signal, timeout: 50 })),
    poll([{ fd: ends.reader.fd, events: "readable" }], { signal, timeout: 50 }),
    until(performance.now() + 50, signal),
  ];
  assertEquals(count(), 1);
  await Promise.allSettled(waits);
  assertEquals(count(), 0);
});

test("An abort ends all waits on its signal, and those that begin as it ends them", async () => {
  using semaphore = Semaphore.create();
  using queue = MessageQueue.create();
  const { stop, count } = counted();
  const { signal } = stop;
  const again: Promise<unknown>[] = [];
  const reasons = Array.from({ length: 20 }, (_, i) => {
    const wait = i % 2 === 0 ? semaphore.acquire(1, { signal }) : queue.receive({ signal });
    return wait.catch((reason) => {
      again.push(semaphore.acquire(1, { signal }).catch((reason) => reason));
      return reason;
    });
  });
  stop.abort("left");
  assertEquals(await Promise.all(reasons), Array(20).fill("left"));
  assertEquals(await Promise.all(again), Array(20).fill("left"));
  assert(count() <= 1);
  assertEquals(await queue.receive({ signal }).catch((reason) => reason), "left");
});

test("A timer never rings early, and not once it is cleared", async () => {
  for (const delay of [0, 0.001, 1.5, 3]) {
    const time = performance.now() + delay;
    await until(time, undefined);
    assert(performance.now() >= time);
  }
  let rung = false;
  at(performance.now() + 1, () => rung = true).clear();
  const never = at(Infinity, () => rung = true);
  await until(performance.now() + 10, undefined);
  never.clear();
  assertEquals(rung, false);
});

test("Serving a long line takes no more for each than serving a short one", async () => {
  using semaphore = Semaphore.create();
  const perWait = async (count: number) => {
    const waits = Array.from({ length: count }, () => semaphore.decrement());
    const start = performance.now();
    semaphore.increment(count);
    await Promise.all(waits);
    return (performance.now() - start) / count;
  };
  await perWait(1000);
  const short = Math.min(await perWait(1000), await perWait(1000), await perWait(1000));
  const long = Math.min(await perWait(30_000), await perWait(30_000), await perWait(30_000));
  // A quadratic step would make it thirty times as much. The collector makes it some times as much.
  assert(long < 20 * short, `${long} ms each of 30,000, ${short} of 1,000`);
});
