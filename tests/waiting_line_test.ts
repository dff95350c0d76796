import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { prepare, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { assertTimesOut } from "./support/assert.ts";
import { run, runtimes } from "./support/child.ts";
import { runObserved, runWorkers } from "./support/observe.ts";
import { passed, until } from "./support/time.ts";

/** Keeps the event loop from running until something is the case. */
function blockUntil(condition: () => boolean): void {
  while (!condition());
}

test("All who wait for zero go on, though it is zero for no more than a moment", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  const first = semaphore.waitForZero();
  await until(() => semaphore.waiting.forZero === 1);
  const others = [semaphore.waitForZero(), semaphore.waitForZero()];
  // Until the thread has entered its call anew for them, which nobody can see.
  await passed(100);
  semaphore.decrementSync();
  semaphore.increment();
  await Promise.all([first, ...others]);
});

test("All who wait for enough go on, though it is enough for no more than a moment", async () => {
  using semaphore = Semaphore.create();
  const first = semaphore.waitForAtLeast(2);
  await until(() => semaphore.waiting.forIncrease === 1);
  const others = [semaphore.waitForAtLeast(2), semaphore.waitForAtLeast(2)];
  await passed(100);
  semaphore.increment(2);
  semaphore.decrementSync();
  await Promise.all([first, ...others]);
});

test("A wait for zero that begins while others wait goes on at once if it is zero", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  const first = semaphore.waitForZero();
  await until(() => semaphore.waiting.forZero === 1);
  semaphore.decrementSync();
  const other = semaphore.waitForZero();
  semaphore.increment();
  await Promise.all([first, other]);
});

test("A wait for zero is not told of a zero from before it began", async () => {
  await prepare();
  using semaphore = Semaphore.create({ value: 1 });
  const controller = new AbortController();
  const first = semaphore.waitForZero({ signal: controller.signal });
  await until(() => semaphore.waiting.forZero === 1);
  semaphore.decrementSync();
  // The kernel has served the first, whose answer waits for the event loop.
  blockUntil(() => semaphore.waiting.forZero === 0);
  semaphore.increment();
  controller.abort("left");
  const second = semaphore.waitForZero({ timeout: 100 });
  assertEquals(await first.catch((reason) => reason), "left");
  await assertTimesOut(second);
});

test("A wait for zero is not told of an older zero while another process waits, too", async () => {
  await prepare();
  using semaphore = Semaphore.create({ value: 2 });
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    say("ready");
    for (;;) {
      await hear();
      while (semaphore.value !== 1);
      semaphore.waitForZeroSync();
      say("zero");
    }
  `,
    { args: [semaphore.id] },
  );
  assertEquals(await child.hear(), "ready");
  for (let round = 0; round < 10; round++) {
    const first = semaphore.waitForZero();
    await until(() => semaphore.waiting.forZero === 1);
    child.say("wait");
    await passed(5);
    semaphore.decrementSync(2);
    // The kernel has served the first, whose answer waits for the event loop.
    blockUntil(() => semaphore.waiting.forZero === 0);
    semaphore.increment();
    blockUntil(() => semaphore.waiting.forZero === 1);
    const second = semaphore.waitForZero({ timeout: 20 });
    await assertTimesOut(second);
    semaphore.decrementSync();
    await first;
    assertEquals(await child.hear(), "zero");
    semaphore.increment(2);
  }
});

test("A wait for enough is not told of an older moment while others wait for more", async () => {
  using semaphore = Semaphore.create();
  const more = semaphore.acquire(100).catch((error) => error.code);
  for (let round = 0; round < 10; round++) {
    const first = semaphore.waitForAtLeast(1);
    await until(() => semaphore.waiting.forIncrease === 2);
    semaphore.increment();
    semaphore.decrementSync();
    await assertTimesOut(semaphore.waitForAtLeast(1, { timeout: 20 }));
    semaphore.increment();
    await first;
    semaphore.decrementSync();
  }
  semaphore.remove();
  assertEquals(await more, "EIDRM");
});

for (const runs of runtimes) {
  test(`Equal operations that change nothing but what is undone all happen, in ${runs}`, async () => {
    using set = SemaphoreSet.create({ values: [0, 1] });
    await using child = run(
      `
      const set = SemaphoreSet.fromId(Number(args[0]));
      // Adds 1 to the first semaphore when this process ends.
      const armed = [{ index: 1, delta: 0 }, { delta: 1 }, { delta: -1, undo: true }];
      await Promise.all([set.operate(armed), set.operate(armed), set.operate(armed)]);
      say("armed");
      await hear();
    `,
      { args: [set.id], runtime: runs },
    );
    await until(() => set.at(1).waiting.forZero === 1);
    set.at(1).decrementSync();
    assertEquals(await child.hear(), "armed");
    assertEquals(set.values, [0, 0]);
    await child.kill();
    assertEquals(set.values, [3, 0]);
  });
}

test("A wait ends however short its timeout is", async () => {
  using semaphore = Semaphore.create();
  for (const timeout of [5e-324, 1e-9, 0.001, 0.01, 0.5]) {
    await assertTimesOut(semaphore.acquire(1, { timeout }));
  }
});

test("Short waits one after the other keep their thread", async () => {
  await using child = runObserved(`
    using semaphore = Semaphore.create();
    const wait = (timeout) => semaphore.acquire(1, { timeout }).catch(() => {});
    // Only a line that has waited for a while is given a thread.
    while (workers() === 0) await wait(50);
    for (let i = 0; i < 20; i++) {
      await wait(5);
      if (workers() !== 1) tell(workers() + " threads after wait " + i);
    }
    tell("end");
  `);
  child.end();
  assertEquals(await child.hear(), "end");
  assertEquals((await child.exit).code, 0);
});

test("Waits end early and time out in a program that was started with SIGURG blocked", async () => {
  await using child = run(`
    const { openLibc } = await import(${
    JSON.stringify(new URL("../ffi/calls.ts", import.meta.url).href)
  });
    const { pthread_sigmask } = openLibc({
      pthread_sigmask: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
    });
    const [SIG_BLOCK, SIGURG] = [0, 23];
    const signals = new Uint8Array(128);
    signals[(SIGURG - 1) >> 3] = 1 << (SIGURG - 1 & 7);
    pthread_sigmask(SIG_BLOCK, signals, null);
    using semaphore = Semaphore.create();
    using queue = MessageQueue.create();
    const controller = new AbortController();
    const aborted = semaphore.acquire(1, { signal: controller.signal }).catch((reason) => reason);
    const late = queue.receive({ timeout: 50 }).catch(({ name }) => name);
    while (semaphore.waiting.forIncrease === 0) await new Promise((then) => setTimeout(then, 1));
    controller.abort("left");
    say(await aborted);
    say(await late);
    try {
      queue.receiveSync({ timeout: 50 });
    } catch ({ name }) {
      say(name);
    }
  `);
  for (const line of ["left", "TimeoutError", "TimeoutError"]) {
    assertEquals(await child.hear(), line);
  }
  child.end();
  // Its objects go as it ends.
  await child.exit;
  assertEquals((await child.exit).code, 0);
});

test("Workers that block with a timeout leave no timer in the kernel", async () => {
  await using child = runWorkers(`
    const code = \`
      using queue = MessageQueue.create();
      try { queue.receiveSync({ timeout: 1 }); } catch ({ name }) { parentPort.postMessage(name); }
    \`;
    for (let i = 0; i < 3; i++) tell(await message(start(code)));
    tell(readFileSync("/proc/self/timers", "utf8").match(/^ID:/gm)?.length ?? 0);
  `);
  for (let i = 0; i < 3; i++) assertEquals(await child.hear(), "TimeoutError");
  assertEquals(await child.hear(), "0");
  child.end();
  assertEquals((await child.exit).code, 0);
});
