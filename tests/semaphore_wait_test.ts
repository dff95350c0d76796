import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import process from "node:process";
import { Semaphore } from "@sysv/ipc";
import { assertTimeout } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { until } from "./support/time.ts";

const waits = {
  "decrementSync()": { start: 1, wait: "decrementSync(3)", wake: "increment(2)", left: 0 },
  "acquireSync()": {
    start: 1,
    wait: "acquireSync(3, { undo: false })",
    wake: "increment(2)",
    left: 0,
  },
  "waitForAtLeastSync()": {
    start: 1,
    wait: "waitForAtLeastSync(3)",
    wake: "increment(2)",
    left: 3,
  },
  "waitForZeroSync()": { start: 2, wait: "waitForZeroSync()", wake: "decrementSync(2)", left: 0 },
};

for (const [method, { start, wait, wake, left }] of Object.entries(waits)) {
  test(`Semaphore.${method} waits until another process makes it possible`, async () => {
    using semaphore = Semaphore.create({ value: start });
    await using child = run(`Semaphore.fromId(Number(args[0])).${wait}; say("on");`, {
      args: [semaphore.id],
    });
    await until(() => isWaitedFor(semaphore));
    assertEquals(semaphore.value, start);
    if (wake === "increment(2)") semaphore.increment(2);
    else semaphore.decrementSync(2);
    assertEquals(await child.hear(), "on");
    assertEquals(semaphore.value, left);
    assert(!isWaitedFor(semaphore));
  });

  test(`Semaphore.${method} gives up when the time is up, with nothing changed`, () => {
    using semaphore = Semaphore.create({ value: start });
    const calls: Record<string, (timeout: number) => unknown> = {
      "decrementSync()": (timeout) => semaphore.decrementSync(3, { timeout }),
      "acquireSync()": (timeout) => semaphore.acquireSync(3, { timeout }),
      "waitForAtLeastSync()": (timeout) => semaphore.waitForAtLeastSync(3, { timeout }),
      "waitForZeroSync()": (timeout) => semaphore.waitForZeroSync({ timeout }),
    };
    for (const timeout of [0, 0.5, 20]) {
      const begin = performance.now();
      assertTimeout(() => calls[method]!(timeout));
      assert(performance.now() - begin >= timeout);
    }
    assertEquals(semaphore.value, start);
    assert(!isWaitedFor(semaphore));
  });

  test(`Semaphore.${method} ends with EIDRM when another process removes the semaphore`, async () => {
    using semaphore = Semaphore.create({ value: start });
    await using child = run(
      `
      try {
        Semaphore.fromId(Number(args[0])).${wait};
      } catch (error) {
        say(error.code);
      }
    `,
      { args: [semaphore.id] },
    );
    await until(() => isWaitedFor(semaphore));
    semaphore.remove();
    assertEquals(await child.hear(), "EIDRM");
  });

  test(`Semaphore.${method} ends with EINTR when the program handles a signal`, async () => {
    using semaphore = Semaphore.create({ value: start });
    await using child = run(
      `
      process.on("SIGUSR2", () => say("handled"));
      try {
        Semaphore.fromId(Number(args[0])).${wait};
      } catch (error) {
        say(error.code);
      }
      await hear();
    `,
      { args: [semaphore.id] },
    );
    await until(() => isWaitedFor(semaphore));
    process.kill(child.pid, "SIGUSR2");
    assertEquals(await child.hear(), "EINTR");
    assertEquals(await child.hear(), "handled");
    assertEquals(semaphore.value, start);
  });
}

test("Semaphore takes a timeout of Infinity for none, and a huge one for what it is", async () => {
  using semaphore = Semaphore.create({ value: 2 });
  semaphore.decrementSync(1, { timeout: Infinity });
  semaphore.decrementSync(1, { timeout: undefined });
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    semaphore.decrementSync(1, { timeout: Number.MAX_VALUE });
    say("on");
  `,
    { args: [semaphore.id] },
  );
  await until(() => isWaitedFor(semaphore));
  semaphore.increment();
  assertEquals(await child.hear(), "on");
});

test("Semaphore serves a small wait before a large one that came earlier", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  await using large = run(`Semaphore.fromId(Number(args[0])).decrementSync(3); say("on");`, {
    args: [semaphore.id],
  });
  await until(() => isWaitedFor(semaphore));
  assert(semaphore.tryDecrement());
  semaphore.increment(3);
  assertEquals(await large.hear(), "on");
});

test("Semaphore.waiting counts who waits for what", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  assertEquals(semaphore.waiting, { forIncrease: 0, forZero: 0 });
  const program = `
    const semaphore = Semaphore.fromId(Number(args[0]));
    if (args[1] === "zero") semaphore.waitForZeroSync();
    else semaphore.decrementSync(9);
  `;
  await using _zero = run(program, { args: [semaphore.id, "zero"] });
  await using one = run(program, { args: [semaphore.id, "increase"] });
  await using _two = run(program, { args: [semaphore.id, "increase"] });
  await until(() => semaphore.waiting.forIncrease === 2 && semaphore.waiting.forZero === 1);
  await one.kill();
  assertEquals(semaphore.waiting, { forIncrease: 1, forZero: 1 });
});

function isWaitedFor(semaphore: Semaphore): boolean {
  const { forIncrease, forZero } = semaphore.waiting;
  return forIncrease + forZero > 0;
}
