import { assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { Semaphore, SemaphoreSet } from "@sysv/ipc";
import { type Child, type Exit, projectFile, run, runtimes, told } from "./support/child.ts";
import { until } from "./support/time.ts";

interface End {
  /** What the program does last. */
  program?: string;
  end: (child: Child) => Promise<Exit>;
  exit: Exit;
}

const ends: Record<string, End> = {
  "is killed by SIGKILL": { end: (child) => child.kill(), exit: { code: null, signal: "SIGKILL" } },
  "is ended by SIGTERM": {
    end: (child) => child.kill("SIGTERM"),
    exit: { code: null, signal: "SIGTERM" },
  },
  "crashes by an uncaught error": {
    program: `throw new Error("crash");`,
    end: told,
    exit: { code: 1, signal: null },
  },
  "crashes by a rejected promise": {
    program: `Promise.reject(new Error("crash"));`,
    end: told,
    exit: { code: 1, signal: null },
  },
  "calls process.exit()": {
    program: `process.exit(3);`,
    end: told,
    exit: { code: 3, signal: null },
  },
  "ends normally": { end: told, exit: { code: 0, signal: null } },
};

for (const runtime of runtimes) {
  for (const [how, { program = "", end, exit }] of Object.entries(ends)) {
    test(`The kernel reverses what ${runtime} did with undo when it ${how}`, async () => {
      using set = SemaphoreSet.create({ values: [0, 5, 5, 5] });
      await using child = run(
        `
        const set = SemaphoreSet.fromId(Number(args[0]));
        set.at(0).increment(2, { undo: true });
        set.at(1).decrementSync(1, { undo: true });
        globalThis.permits = [set.at(2).acquireSync(3), set.at(2).tryAcquire()];
        set.operateSync([{ index: 3, delta: -1, undo: true }, { index: 0, delta: 4, undo: true }]);
        say("busy");
        await hear();
        ${program}
      `,
        { args: [set.id], runtime },
      );
      assertEquals(await child.hear(), "busy");
      assertEquals(set.values, [6, 4, 1, 4]);
      assertEquals(await end(child), exit);
      assertEquals(set.values, [0, 5, 5, 5]);
    });
  }

  test(`The kernel keeps what ${runtime} did without undo when it is killed`, async () => {
    using set = SemaphoreSet.create({ values: [0, 5, 5] });
    await using child = run(
      `
      const set = SemaphoreSet.fromId(Number(args[0]));
      set.at(0).increment(2);
      set.at(1).decrementSync();
      globalThis.permits = [
        set.at(2).acquireSync(2, { undo: false }), set.at(2).tryAcquire(1, { undo: false }),
      ];
      set.operateSync([{ index: 1, delta: -1 }, { index: 0, delta: 1, undo: false }]);
      say("done");
      await hear();
    `,
      { args: [set.id], runtime },
    );
    assertEquals(await child.hear(), "done");
    await child.kill();
    assertEquals(set.values, [3, 3, 2]);
  });

  test(`The kernel hands a lock on to ${runtime} when its holder is killed`, async () => {
    using lock = Semaphore.create({ value: 1 });
    const program = `
      using _permit = Semaphore.fromId(Number(args[0])).acquireSync();
      say("mine");
      await hear();
    `;
    await using holder = run(program, { args: [lock.id] });
    assertEquals(await holder.hear(), "mine");
    await using next = run(program, { args: [lock.id], runtime });
    await until(() => lock.waiting.forIncrease === 1);
    await holder.kill();
    assertEquals(await next.hear(), "mine");
    await next.kill();
    assertEquals(lock.value, 1);
  });

  test(`The end of a thread of ${runtime} reverses nothing, the end of its process does`, async () => {
    using semaphore = Semaphore.create({ value: 5 });
    await using child = run(
      `
      import { Worker } from "node:worker_threads";
      const thread = (statement) => new Promise((resolve, reject) => {
        const worker = new Worker(\`
          import(\${JSON.stringify(args[1])}).then(({ Semaphore }) => {
            const semaphore = Semaphore.fromId(\${args[0]});
            \${statement};
          });
        \`, { eval: true });
        worker.on("error", reject);
        worker.on("exit", resolve);
      });
      const semaphore = Semaphore.fromId(Number(args[0]));
      await thread("semaphore.increment(3, { undo: true })");
      say(semaphore.value);
      await hear();
      await thread("semaphore.acquireSync(4)");
      say(semaphore.value);
      await hear();
      // What one thread took another gives back: they share the undo.
      semaphore.increment(4, { undo: true });
      say(semaphore.value);
      await hear();
    `,
      {
        args: [semaphore.id, projectFile("mod.ts")],
        runtime,
        permissions: ["--allow-ffi", "--allow-read"],
      },
    );
    for (const value of [8, 4, 8]) {
      assertEquals(await child.hear(), String(value));
      assertEquals(semaphore.value, value);
      child.say("go on");
    }
    child.end();
    await child.exit;
    assertEquals(semaphore.value, 5);
  });
}

test("A permit that was released leaves nothing to undo", async () => {
  using semaphore = Semaphore.create({ value: 5 });
  await ended(
    semaphore,
    `
    semaphore.acquireSync(2).release();
    { using _permit = semaphore.tryAcquire(); }
    semaphore.acquireSync(1, { undo: false }).release();
  `,
  );
  assertEquals(semaphore.value, 5);
});

test("A pair of which only one half has undo lets the value drift", async () => {
  using semaphore = Semaphore.create({ value: 5 });
  await ended(semaphore, `semaphore.increment(1, { undo: true }); semaphore.decrementSync();`);
  assertEquals(semaphore.value, 4);
  await ended(semaphore, `semaphore.decrementSync(1, { undo: true }); semaphore.increment();`);
  assertEquals(semaphore.value, 5);
  await ended(semaphore, `semaphore.increment(); semaphore.decrementSync(1, { undo: true });`);
  assertEquals(semaphore.value, 6);
});

test("The kernel reverses the sum of all that a process did", async () => {
  using semaphore = Semaphore.create({ value: 9 });
  await ended(
    semaphore,
    `
    semaphore.decrementSync(5, { undo: true });
    semaphore.increment(2, { undo: true });
    semaphore.decrementSync(3, { undo: true });
    say(semaphore.value);
  `,
    "3",
  );
  assertEquals(semaphore.value, 9);
});

test("An undo stops at zero and does not hold up the end of the process", async () => {
  using semaphore = Semaphore.create();
  await using child = held(semaphore, `semaphore.increment(3, { undo: true });`);
  assertEquals(await child.hear(), "held");
  semaphore.decrementSync(1);
  await child.kill();
  assertEquals(semaphore.value, 0);
});

test("An undo stops at 32767", async () => {
  using semaphore = Semaphore.create({ value: 32767 });
  await using child = held(semaphore, `globalThis.permit = semaphore.acquireSync(10);`);
  assertEquals(await child.hear(), "held");
  semaphore.increment(5);
  await child.kill();
  assertEquals(semaphore.value, 32767);
});

test("A try that failed leaves nothing to undo, nor does a wait whose time was up", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  await ended(
    semaphore,
    `
    semaphore.tryAcquire(2);
    semaphore.tryDecrement(2, { undo: true });
    try { semaphore.acquireSync(2, { timeout: 1 }); } catch {}
  `,
  );
  assertEquals(semaphore.value, 1);
});

test("A process that is killed while it waits reverses only what it had done", async () => {
  using set = SemaphoreSet.create({ values: [1, 0] });
  await using child = run(
    `
    const set = SemaphoreSet.fromId(Number(args[0]));
    const permit = set.at(0).acquireSync();
    set.operateSync([{ index: 0, delta: 5, undo: true }, { index: 1, delta: -1, undo: true }]);
  `,
    { args: [set.id] },
  );
  await until(() => set.at(1).waiting.forIncrease === 1);
  assertEquals(set.values, [0, 0]);
  await child.kill();
  assertEquals(set.values, [1, 0]);
  assertEquals(set.at(1).waiting, { forIncrease: 0, forZero: 0 });
});

test("Setting Semaphore.value wipes the undo of every process, for that semaphore only", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  await using child = run(
    `
    const set = SemaphoreSet.fromId(Number(args[0]));
    set.at(0).increment(2, { undo: true });
    set.at(1).increment(3, { undo: true });
    say("held");
    await hear();
  `,
    { args: [set.id] },
  );
  assertEquals(await child.hear(), "held");
  set.at(0).value = 7;
  await child.kill();
  assertEquals(set.values, [7, 0]);
});

test("Setting SemaphoreSet.values wipes the undo of every process for the set", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  await using child = run(
    `
    const set = SemaphoreSet.fromId(Number(args[0]));
    set.at(0).increment(2, { undo: true });
    set.at(1).increment(3, { undo: true });
    say("held");
    await hear();
  `,
    { args: [set.id] },
  );
  assertEquals(await child.hear(), "held");
  set.values = [7, 8];
  await child.kill();
  assertEquals(set.values, [7, 8]);
});

test("Opening a semaphore, by any way, wipes no undo", async () => {
  const key = `opening ${Date.now()} ${Math.random()}`;
  using semaphore = Semaphore.create({ key });
  await using child = held(semaphore, `semaphore.increment(2, { undo: true });`);
  assertEquals(await child.hear(), "held");
  Semaphore.open(key);
  Semaphore.openOrCreate(key, { value: 9 });
  Semaphore.fromId(semaphore.id);
  semaphore.setPermissions({ mode: 0o640 });
  assertEquals(semaphore.value, 2);
  await child.kill();
  assertEquals(semaphore.value, 0);
});

test("A disposed handle keeps the undo, which belongs to the process", async () => {
  using semaphore = Semaphore.create();
  await using child = held(
    semaphore,
    `semaphore.increment(2, { undo: true }); semaphore[Symbol.dispose]();`,
  );
  assertEquals(await child.hear(), "held");
  assertEquals(semaphore.value, 2);
  await child.kill();
  assertEquals(semaphore.value, 0);
});

test("The undo of a process counts as an operation of it", async () => {
  using semaphore = Semaphore.create();
  await using child = held(semaphore, `semaphore.increment(1, { undo: true });`);
  assertEquals(await child.hear(), "held");
  semaphore.increment();
  assertNotEquals(semaphore.lastPid, child.pid);
  await child.kill();
  assertEquals([semaphore.value, semaphore.lastPid], [1, child.pid]);
});

test("A process that crashes says why, and loses nothing by it", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  await using child = run(
    `
    using permit = Semaphore.fromId(Number(args[0])).acquireSync();
    throw new Error("a reason to crash");
  `,
    { args: [semaphore.id] },
  );
  child.end();
  assertEquals((await child.exit).code, 1);
  assertStringIncludes(child.stderr, "a reason to crash");
  assertEquals(semaphore.value, 1);
});

/** Runs statements on `semaphore` in a process of their own, to its end. */
async function ended(semaphore: Semaphore, statements: string, says?: string): Promise<void> {
  await using child = run(`const semaphore = Semaphore.fromId(Number(args[0]));\n${statements}`, {
    args: [semaphore.id],
  });
  if (says !== undefined) assertEquals(await child.hear(), says);
  assertEquals((await told(child)).code, 0, child.stderr);
}

/** Runs statements on `semaphore` in a process that then stays. */
function held(semaphore: Semaphore, statements: string): Child {
  return run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    ${statements}
    say("held");
    await hear();
  `,
    { args: [semaphore.id] },
  );
}
