import { assert, assertEquals } from "@std/assert";
import { getEventListeners } from "node:events";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { otherRuntime, run } from "./support/child.ts";
import { until } from "./support/time.ts";

/** How many waits are ended at random moments: more of them with IPC_TEST_SOAK=1. */
const ROUNDS = process.env.IPC_TEST_SOAK === "1" ? 20_000 : 2_000;

const random = (below: number) => Math.floor(Math.random() * below);

/** Lets something between nothing and a few milliseconds pass. */
function randomPause(): Promise<void> {
  return new Promise((resolve) => {
    const kind = random(4);
    if (kind === 0) queueMicrotask(resolve);
    else if (kind === 1) setImmediate(resolve);
    else setTimeout(resolve, random(3));
  });
}

/** Runs waits, so many at once, each with a signal that is aborted at a random moment. */
async function abortAtRandom(
  atOnce: number,
  wait: (signal: AbortSignal, round: number) => Promise<void>,
): Promise<{ served: number; left: number }> {
  let started = 0, served = 0, left = 0;
  const runner = async () => {
    while (started < ROUNDS) {
      const abort = new AbortController();
      const reason = {};
      const end = wait(abort.signal, started++).then(() => served++, (error) => {
        assert(error === reason, String(error));
        left++;
      });
      await randomPause();
      abort.abort(reason);
      await end;
      assertEquals(getEventListeners(abort.signal, "abort").length, 0);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, runner));
  return { served, left };
}

/** A process that increments, so many times, in random bunches and moments. */
const incrementer = (id: number) =>
  run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    let given = 0, told = false;
    say("ready");
    hear().then(() => told = true);
    while (!told) {
      const count = 1 + Math.floor(Math.random() * 3);
      if (semaphore.value < 4) { semaphore.increment(count); given += count; }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
    }
    say(given);
    await hear();
  `,
    { args: [id], runtime: otherRuntime },
  );

for (const atOnce of [1, 10]) {
  test(`Aborts at random moments take nothing from a semaphore, ${atOnce} at a time`, async () => {
    using semaphore = Semaphore.create();
    await using child = incrementer(semaphore.id);
    await child.hear();
    let taken = 0;
    const { served, left } = await abortAtRandom(atOnce, async (signal, round) => {
      const count = round % 2 + 1;
      await semaphore.decrement(count, { signal });
      taken += count;
    });
    assertEquals(served + left, ROUNDS);
    assert(served > 0 && left > 0, `${served} served, ${left} left`);
    child.say("stop");
    const given = Number(await child.hear());
    await until(() => semaphore.waiting.forIncrease === 0);
    assertEquals(semaphore.value, given - taken);
  });
}

test("Aborts at random moments leave nothing for the kernel to undo", async () => {
  using semaphore = Semaphore.create();
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    let taken = 0;
    for (let i = 0; i < Number(args[1]); i++) {
      const abort = new AbortController();
      const wait = semaphore.acquire(1, { signal: abort.signal }).then(() => taken++, () => {});
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
      if (i % 2 === 0) semaphore.increment();
      abort.abort();
      await wait;
    }
    say(taken);
    await hear();
  `,
    { args: [semaphore.id, ROUNDS / 10] },
  );
  const taken = Number(await child.hear());
  assertEquals(semaphore.value, ROUNDS / 20 - taken);
  await child.kill();
  assertEquals(semaphore.value, ROUNDS / 20);
});

test("Aborts at random moments of different waits on one set leave every sum exact", async () => {
  using set = SemaphoreSet.create({ values: [0, 0, 0] });
  let moved = 0;
  let given = 0;
  const feeder = setInterval(() => {
    if (set.at(0).value < 5) {
      set.at(0).increment(2);
      given += 2;
    }
  }, 1);
  try {
    await abortAtRandom(12, async (signal, round) => {
      const to = 1 + round % 2;
      await set.operate([{ delta: -1 }, { index: to, delta: 1 }], { signal });
      moved++;
    });
  } finally {
    clearInterval(feeder);
  }
  const [source, first, second] = set.values;
  assertEquals(first! + second!, moved);
  assertEquals(source, given - moved);
});

test("Aborts at random moments lose no message and give none twice", async () => {
  using queue = MessageQueue.create();
  await using child = run(
    `
    const queue = MessageQueue.fromId(Number(args[0]));
    let sent = 0, told = false;
    hear().then(() => told = true);
    while (!told) {
      for (let i = Math.floor(Math.random() * 3); i >= 0; i--) {
        if (queue.trySend(String(sent), { type: 1 + sent % 3 })) sent++;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
    }
    say(sent);
    await hear();
  `,
    { args: [queue.id], runtime: otherRuntime },
  );
  const received: number[] = [];
  const { left } = await abortAtRandom(8, async (signal, round) => {
    const type = round % 4;
    const message = await queue.receive(type === 0 ? { signal } : { signal, type });
    received.push(Number(message.text()));
  });
  assert(left > 0);
  child.say("stop");
  const sent = Number(await child.hear());
  for (let message; (message = queue.tryReceive());) received.push(Number(message.text()));
  received.sort((a, b) => a - b);
  assertEquals(received, Array.from({ length: sent }, (_, i) => i));
});

test("Aborts at random moments send each message once or not at all, as the promise says", async () => {
  using queue = MessageQueue.create({ maxBytes: 16 });
  await using child = run(
    `
    const queue = MessageQueue.fromId(Number(args[0]));
    for (;;) {
      const message = await queue.receive();
      if (message.type === 2) break;
      say(message.text());
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
    }
    say("end");
    await hear();
  `,
    { args: [queue.id], runtime: otherRuntime },
  );
  const sent: string[] = [];
  const { left } = await abortAtRandom(5, async (signal, round) => {
    const text = String(round).padStart(8, "0");
    await queue.send(text, { signal });
    sent.push(text);
  });
  assert(left > 0);
  await queue.send("", { type: 2 });
  const received: string[] = [];
  for (let line; (line = await child.hear()) !== "end";) received.push(line);
  assertEquals(received.toSorted(), sent.toSorted());
});

test("Ended waits leave no listeners behind, and no memory", async () => {
  using semaphore = Semaphore.create();
  using queue = MessageQueue.create();
  const abort = new AbortController();
  const bunch = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const own = new AbortController();
      const signal = AbortSignal.any([own.signal, abort.signal]);
      const waits = [
        semaphore.decrement(1, { signal: abort.signal, timeout: 1e6 }),
        semaphore.acquire(1 + i % 5, { signal }),
        queue.receive({ signal: own.signal }),
      ].map((wait) => wait.then(() => {}, () => {}));
      own.abort();
      semaphore.increment();
      await Promise.all(waits);
      assertEquals(getEventListeners(own.signal, "abort").length, 0);
    }
  };
  await bunch(300);
  const settled = process.memoryUsage().rss;
  await bunch(ROUNDS / 4);
  const grown = process.memoryUsage().rss - settled;
  assert(grown < 100 * 2 ** 20, `${Math.round(grown / 2 ** 20)} MiB more`);
  assertEquals(getEventListeners(abort.signal, "abort").length, 0);
  assertEquals(semaphore.value, 0);
});
