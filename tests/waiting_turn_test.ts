import { assert } from "@std/assert";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { Epoll, pipe, poll } from "@sysv/ipc/unix";
import { projectFile } from "./support/child.ts";

/** Loops that are never out of work: each step can happen at once. */
const loops: Record<string, () => { step: () => Promise<unknown>; end: () => void }> = {
  "acquires and releases"() {
    const semaphore = Semaphore.create({ value: 1 });
    const step = async () => (await semaphore.acquire()).release();
    return { step, end: () => semaphore[Symbol.dispose]() };
  },
  "waits for zero"() {
    const semaphore = Semaphore.create();
    return { step: () => semaphore.waitForZero(), end: () => semaphore[Symbol.dispose]() };
  },
  "operates on a set"() {
    const set = SemaphoreSet.create({ values: [1, 1] });
    const step = () => set.operate([{ index: 1, delta: -1 }, { index: 1, delta: 1 }]);
    return { step, end: () => set[Symbol.dispose]() };
  },
  "polls a semaphore with a timeout of 0"() {
    const semaphore = Semaphore.create();
    const step = () => semaphore.acquire(1, { timeout: 0 }).catch(() => {});
    return { step, end: () => semaphore[Symbol.dispose]() };
  },
  "sends and receives"() {
    const queue = MessageQueue.create();
    const step = () => queue.send("x").then(() => queue.receive());
    return { step, end: () => queue[Symbol.dispose]() };
  },
  "polls a queue with a timeout of 0"() {
    const queue = MessageQueue.create();
    const step = () => queue.receive({ timeout: 0 }).catch(() => {});
    return { step, end: () => queue[Symbol.dispose]() };
  },
  "iterates over messages"() {
    const queue = MessageQueue.create();
    const messages = queue.messages();
    const step = () => {
      queue.trySend("x");
      return messages.next();
    };
    return { step, end: () => queue[Symbol.dispose]() };
  },
  "reads and writes streams"() {
    const queue = MessageQueue.create();
    const reader = queue.readable.getReader();
    const writer = queue.writable.getWriter();
    const step = () => writer.write("x").then(() => reader.read());
    return { step, end: () => queue[Symbol.dispose]() };
  },
  "reads and writes a pipe"() {
    const ends = pipe();
    const step = () => ends.writer.write("x").then(() => ends.reader.read());
    return { step, end: () => ends[Symbol.dispose]() };
  },
  "polls a pipe"() {
    const ends = pipe();
    ends.writer.writeSync("x");
    const step = () => poll([{ fd: ends.reader.fd, events: "readable" }]);
    return { step, end: () => ends[Symbol.dispose]() };
  },
  "waits for an epoll"() {
    const ends = pipe();
    ends.writer.writeSync("x");
    const epoll = new Epoll();
    epoll.add(ends.reader.fd);
    const end = () => {
      epoll.close();
      ends[Symbol.dispose]();
    };
    return { step: () => epoll.wait(), end };
  },
};

/** Resolves once a timer, a file and a signal have had their turn. */
async function turns(): Promise<void> {
  const listened = Promise.withResolvers<void>();
  const listener = () => listened.resolve();
  process.on("SIGUSR2", listener);
  try {
    await new Promise((resolve) => setTimeout(resolve, 30));
    await readFile(projectFile("mod.ts"));
    process.kill(process.pid, "SIGUSR2");
    await listened.promise;
  } finally {
    process.off("SIGUSR2", listener);
  }
}

for (const [what, begin] of Object.entries(loops)) {
  test(`A program that ${what} without end leaves timers, files and signals their turn`, async () => {
    const { step, end } = begin();
    try {
      let turned = false;
      const turning = turns().then(() => turned = true);
      const start = performance.now();
      while (!turned) {
        await step();
        assert(performance.now() - start < 20_000, "the event loop starves");
      }
      await turning;
    } finally {
      end();
    }
  });
}

test("What is asked for while the event loop has its turn resolves in the order of the calls", async () => {
  using semaphore = Semaphore.create({ value: 32767 });
  const order: number[] = [];
  const waits: Promise<void>[] = [];
  const start = performance.now();
  for (let i = 0; performance.now() - start < 50; i++) {
    waits.push(semaphore.waitForAtLeast(1).then(() => void order.push(i)));
  }
  await Promise.all(waits);
  assert(order.every((number, i) => number === i));
});
