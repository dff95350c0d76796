import { assert, assertEquals, assertThrows } from "@std/assert";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { test } from "node:test";
import { configure, MessageQueue, prepare, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { otherRuntime, projectFile, run } from "./support/child.ts";
import { runObserved } from "./support/observe.ts";
import { becomes, until } from "./support/time.ts";

const zeros = (size: number) => SemaphoreSet.create({ values: Array<number>(size).fill(0) });

test("100 different waits leave the event loop and files alone", async () => {
  using set = zeros(100);
  await prepare();
  const abort = new AbortController();
  const waits = set.values.map((_, i) =>
    set.at(i).decrement(1, { signal: abort.signal }).then(() => "over", () => "left")
  );
  const longestGap = async () => {
    let longest = 0, last = performance.now();
    const tick = () => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    };
    const interval = setInterval(tick, 1);
    for (let i = 0; i < 100; i++) {
      await Promise.all(Array.from({ length: 20 }, () => readFile(projectFile("mod.ts"))));
    }
    clearInterval(interval);
    tick();
    return longest;
  };
  // What blocked the loop would do so each time; other programs on the machine do not.
  const gaps = [await longestGap(), await longestGap(), await longestGap()];
  assert(Math.min(...gaps) < 100, `gaps of ${gaps.map(Math.round).join(", ")} ms`);
  set.at(99).increment();
  assertEquals(await waits[99], "over");
  abort.abort();
  assertEquals(await Promise.all(waits.slice(0, 99)), Array(99).fill("left"));
});

for (const waiterThreads of [1, 3]) {
  test(`64 waits of which each can go on only after the next all do, with threads for ${waiterThreads}`, async () => {
    configure({ waiterThreads });
    try {
      using set = zeros(65);
      const waits = Array.from(
        { length: 64 },
        (_, i) => set.operate([{ index: i + 1, delta: -1 }, { index: i, delta: 1 }]),
      );
      await until(() => set.values.some((_, i) => set.at(i).waiting.forIncrease === 1));
      set.at(64).increment();
      await Promise.all(waits);
      assertEquals(set.values, [1, ...Array<number>(64).fill(0)]);
    } finally {
      configure({ waiterThreads: 8 });
    }
  });

  test(`With threads for ${waiterThreads} no more are in the kernel, and all are served`, async () => {
    using set = zeros(20);
    await using waiter = run(
      `
      const set = SemaphoreSet.fromId(Number(args[0]));
      ipc.configure({ waiterThreads: ${waiterThreads} });
      await Promise.all(set.values.map((_, i) => set.at(i).decrement()));
      say("served");
      await hear();
    `,
      { args: [set.id] },
    );
    const waiting = () =>
      set.values.reduce((count, _, i) => count + set.at(i).waiting.forIncrease, 0);
    await until(() => waiting() === waiterThreads);
    assertEquals(await becomes(() => waiting() > waiterThreads), false);
    set.values = Array<number>(20).fill(1);
    assertEquals(await waiter.hear(), "served");
    assertEquals(set.values, Array<number>(20).fill(0));
  });
}

test("configure() refuses wrong numbers of threads", () => {
  for (const waiterThreads of [-1, 1.5, 257, NaN, Infinity]) {
    assertThrows(() => configure({ waiterThreads }), RangeError, "from 0 to 256");
  }
  for (const options of [undefined, null, 8, "8", [8], { waiterThreads: "8" }]) {
    assertThrows(() => configure(options as never), TypeError);
  }
  configure({});
});

test("With threads for 0 none is started, and all is served", async () => {
  await using child = runObserved(`
    ipc.configure({ waiterThreads: 0 });
    await ipc.prepare();
    using set = SemaphoreSet.create({ values: [0, 0] });
    const waits = [set.at(0).decrement(), set.at(0).decrement(), set.at(1).waitForAtLeast(1)];
    await new Promise((resolve) => setTimeout(resolve, 50));
    tell(workers());
    set.values = [2, 1];
    await Promise.all(waits);
    tell(await set.at(0).acquire(1, { timeout: 20 }).catch(({ name }) => name));
  `);
  child.end();
  assertEquals(await child.hear(), "0");
  assertEquals(await child.hear(), "TimeoutError");
  assertEquals(await child.exit, { code: 0, signal: null });
});

test("With no descriptors left no thread is started, and all is served", async () => {
  await using child = runObserved(`
    const { pipe } = await import(${JSON.stringify(projectFile("unix/mod.ts"))});
    using semaphore = Semaphore.create();
    const pipes = [];
    try { for (;;) pipes.push(pipe()); } catch ({ code }) { writeSync(1, code + "\\n"); }
    const wait = semaphore.decrement();
    await ipc.prepare();
    await new Promise((resolve) => setTimeout(resolve, 50));
    semaphore.increment();
    await wait;
    const again = semaphore.decrement();
    for (const ends of pipes) ends[Symbol.dispose]();
    // It asks for a thread again after a while.
    while (workers() === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    semaphore.increment();
    await again;
    tell("served");
  `);
  child.end();
  assertEquals(await child.hear(), "EMFILE");
  assertEquals(await child.hear(), "served");
  assertEquals(await child.exit, { code: 0, signal: null });
});

/** Has a program keep idle threads for no longer than this, in milliseconds. */
const keep = (milliseconds: number) => `
  (await import(${JSON.stringify(projectFile("wait/line.ts"))})).pool.keptMs = ${milliseconds};
`;

test("prepare() starts as many threads as it is told, which go again if nothing waits", async () => {
  await using child = runObserved(`
    ${keep(500)}
    await Promise.all([ipc.prepare(), ipc.prepare()]);
    await ipc.prepare();
    tell(workers());
    await ipc.prepare(3);
    tell(workers());
    await until(() => workers() === 0);
    tell("gone");
  `);
  child.end();
  assertEquals(await child.hear(), "1");
  assertEquals(await child.hear(), "3");
  assertEquals(await child.hear(), "gone");
});

test("prepare() starts no more threads than configured, and refuses wrong numbers", async () => {
  await using child = runObserved(`
    ipc.configure({ waiterThreads: 2 });
    await ipc.prepare(4);
    tell(workers());
    for (const count of [0, -1, 1.5, 257, NaN, "2"]) {
      await ipc.prepare(count).catch((error) => tell(error.name));
    }
  `);
  child.end();
  assertEquals(await child.hear(), "2");
  for (let i = 0; i < 5; i++) assertEquals(await child.hear(), "RangeError");
  assertEquals(await child.hear(), "TypeError");
});

test("Idle threads are kept for longer than a few seconds", async () => {
  await using child = runObserved(`
    await ipc.prepare();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    tell(workers());
  `);
  child.end();
  assertEquals(await child.hear(), "1");
});

test("Different waits have a thread each, which go when nothing waits, and come again", async () => {
  await using child = runObserved(`
    ${keep(500)}
    using set = SemaphoreSet.create({ values: [0, 0] });
    for (let round = 0; round < 2; round++) {
      const waits = set.values.map((_, i) => set.at(i).decrement());
      await until(() => set.values.every((_, i) => set.at(i).waiting.forIncrease === 1));
      const during = workers();
      set.values = [1, 1];
      await Promise.all(waits);
      await until(() => workers() === 0);
      tell(during);
    }
  `);
  child.end();
  assertEquals(await child.hear(), "2");
  assertEquals(await child.hear(), "2");
  await child.exit;
});

test("A process ends by itself soon after its last statement, though threads are idle", async () => {
  await using child = runObserved(`
    using semaphore = Semaphore.create();
    using queue = MessageQueue.create();
    const waits = [semaphore.decrement(), semaphore.decrement(2), queue.receive()];
    await until(() => semaphore.waiting.forIncrease === 2);
    semaphore.increment(3);
    queue.trySend("");
    await Promise.all(waits);
    tell(workers());
  `);
  child.end();
  // They would stay for half a minute.
  assert(Number(await child.hear()) > 0);
  assertEquals(await child.exit, { code: 0, signal: null });
});

test("Where no thread can be had, waits are served all the same", async () => {
  await using child = runObserved(`
    import { createRequire } from "node:module";
    // Where each runtime has its workers from.
    const threads = "Bun" in globalThis
      ? globalThis
      : createRequire(import.meta.url)("node:worker_threads");
    const { Worker } = threads;
    let refused = 0;
    threads.Worker = class {
      constructor() {
        refused++;
        throw new Error("no more threads");
      }
    };
    using set = SemaphoreSet.create({ values: [0, 0] });
    await ipc.prepare();
    const waits = [set.at(0).decrement(), set.at(0).decrement(), set.at(1).decrement()];
    const late = set.at(1).decrement(2, { timeout: 10 }).catch(({ name }) => name);
    set.at(0).increment(2);
    set.at(1).increment();
    await Promise.all(waits);
    tell(await late);
    const again = set.at(0).decrement();
    threads.Worker = Worker;
    // It asks for a thread again after a while.
    await until(() => set.at(0).waiting.forIncrease === 1);
    set.at(0).increment();
    await again;
    tell(refused > 0);
  `);
  child.end();
  assertEquals(await child.hear(), "TimeoutError");
  assertEquals(await child.hear(), "true");
  assertEquals(await child.exit, { code: 0, signal: null });
});

const pending: Record<string, string> = {
  "one wait": "semaphore.decrement()",
  "a wait with a timeout": "semaphore.decrement(1, { timeout: 1e6 })",
  "more waits than threads":
    "(ipc.configure({ waiterThreads: 1 }), set.at(1).decrement(), set.at(0).decrement())",
  "a wait after idle threads are gone": "gone().then(() => semaphore.decrement())",
  "a message that comes": "queue.receive()",
};

for (const [what, expression] of Object.entries(pending)) {
  test(`A process stays alive for ${what}`, async () => {
    using set = zeros(2);
    using queue = MessageQueue.create();
    await using child = runObserved(
      `
      const set = SemaphoreSet.fromId(Number(args[0]));
      const semaphore = set.at(0);
      const queue = MessageQueue.fromId(Number(args[1]));
      const gone = async () => {
        ${keep(500)}
        await ipc.prepare();
        await until(() => workers() === 0);
      };
      void [semaphore, queue, gone];
      ${expression}.then(() => tell("served"));
      tell("last");
    `,
      { args: [set.id, queue.id] },
    );
    child.end();
    assertEquals(await child.hear(), "last");
    // Another process starts and ends meanwhile.
    await using other = run("");
    other.end();
    await other.exit;
    set.at(0).increment();
    queue.trySend("");
    assertEquals(await child.hear(), "served");
  });
}

test("A process that is killed in the middle of 16 different waits leaves what its undo says", async () => {
  using set = SemaphoreSet.create({ values: [9, ...Array<number>(16).fill(0)] });
  await using child = run(
    `
    const set = SemaphoreSet.fromId(Number(args[0]));
    const permit = await set.at(0).acquire(4);
    const undone = await set.at(0).decrement(2, { undo: true });
    await set.at(0).decrement(1);
    for (let i = 1; i <= 16; i++) set.at(i).acquire(3).then(() => say(String(i)));
    say("waits");
    await hear();
    void [permit, undone];
  `,
    { args: [set.id], runtime: otherRuntime },
  );
  assertEquals(await child.hear(), "waits");
  for (const index of [16, 5]) {
    set.at(index).increment(4);
    assertEquals(await child.hear(), String(index));
  }
  assertEquals(set.values[0], 2);
  await child.kill();
  const expected = [8, ...Array<number>(16).fill(0)];
  expected[16] = expected[5] = 4;
  assertEquals(set.values, expected);
  const waiting = set.values.map((_, i) => set.at(i).waiting.forIncrease);
  assertEquals(waiting, Array<number>(17).fill(0));
});

test("A process that blocks and waits at once ends on SIGTERM, and removes its objects", async () => {
  await using child = run(`
    const set = SemaphoreSet.create({ values: [0, 0], owner: false });
    const queue = MessageQueue.create({ owner: false });
    removeOnExit(set, queue);
    set.at(1).decrement();
    queue.receive();
    await ipc.prepare();
    say(set.id + " " + queue.id);
    setTimeout(() => set.at(0).decrementSync(), 20);
  `);
  const [setId, queueId] = (await child.hear()).split(" ").map(Number);
  const set = SemaphoreSet.fromId(setId!);
  await until(() => set.at(0).waiting.forIncrease === 1);
  const { code, signal } = await child.kill("SIGTERM");
  assert(signal === "SIGTERM" || code !== 0, `code ${code}`);
  assertIpcError(() => SemaphoreSet.fromId(setId!), "EIDRM", "semctl");
  assertIpcError(() => MessageQueue.fromId(queueId!), "EIDRM", "msgctl");
});

test("A program's own SIGURG listener works before, during and after waits, and so do aborts", async () => {
  await using child = runObserved(`
    using semaphore = Semaphore.create();
    let heard = 0;
    const listener = () => heard++;
    const signalled = async () => {
      const before = heard;
      process.kill(process.pid, "SIGURG");
      await until(() => heard > before);
    };
    const wait = async (during) => {
      const abort = new AbortController();
      const end = semaphore.decrement(1, { signal: abort.signal }).then(() => "over", () => "left");
      await until(() => semaphore.waiting.forIncrease === 1);
      await during();
      abort.abort();
      return await end;
    };
    process.on("SIGURG", listener);
    await signalled();
    tell(await wait(signalled));
    await signalled();
    tell(await wait(() => { process.off("SIGURG", listener); }));
    tell(await wait(async () => { process.on("SIGURG", listener); await signalled(); }));
    await signalled();
    tell(await wait(async () => { process.off("SIGURG", listener); process.on("SIGURG", listener); await signalled(); }));
    try { semaphore.decrementSync(1, { timeout: 1 }); } catch {}
    await signalled();
    process.off("SIGURG", listener);
    tell("end");
  `);
  child.end();
  for (const line of ["left", "left", "left", "left", "end"]) {
    assertEquals(await child.hear(), line);
  }
  await child.exit;
});

test("SIGURG has a handler once something has waited, which stays", async () => {
  await using child = runObserved(`
    using semaphore = Semaphore.create();
    await ipc.prepare();
    tell(handled());
    const listener = () => {};
    for (let i = 0; i < 3; i++) {
      await semaphore.decrement(1, { timeout: 20 }).catch(({ name }) => tell(name));
      tell(handled());
      // A runtime resets it when a listener goes.
      process.on("SIGURG", listener);
      process.off("SIGURG", listener);
    }
  `);
  child.end();
  assertEquals(await child.hear(), "false");
  for (let i = 0; i < 3; i++) {
    assertEquals(await child.hear(), "TimeoutError");
    assertEquals(await child.hear(), "true");
  }
  // Its semaphore goes as it ends.
  await child.exit;
});

test("A wait keeps its place in the line of the kernel while threads are started for others", async () => {
  for (let round = 0; round < 3; round++) {
    await using child = runObserved(`
      using semaphore = Semaphore.create();
      const first = semaphore.decrement(2).then(() => "first");
      await until(() => semaphore.waiting.forIncrease === 1);
      const second = semaphore.decrement(3).then(() => "second");
      await until(() => semaphore.waiting.forIncrease === 2);
      semaphore.increment(3);
      tell(await Promise.race([first, second]));
      semaphore.increment(2);
      await second;
    `);
    child.end();
    assertEquals(await child.hear(), "first");
    assertEquals((await child.exit).code, 0);
  }
});

test("A stray SIGURG ends no wait", async () => {
  using semaphore = Semaphore.create();
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    process.on("SIGURG", () => say("heard"));
    await semaphore.decrement();
    say("served");
    await hear();
  `,
    { args: [semaphore.id] },
  );
  await until(() => semaphore.waiting.forIncrease === 1);
  for (let i = 0; i < 5; i++) {
    process.kill(child.pid, "SIGURG");
    assertEquals(await child.hear(), "heard");
  }
  await until(() => semaphore.waiting.forIncrease === 1);
  semaphore.increment();
  assertEquals(await child.hear(), "served");
});
