import { assert, assertEquals, assertRejects } from "@std/assert";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import {
  type Child,
  ending,
  nthRuntime,
  otherRuntime,
  type Runtime,
  runtimes,
} from "./support/child.ts";
import { type Engine, runAt, testEngines, untilIs, untilWaiting } from "./support/engines.ts";
import { passed } from "./support/time.ts";

/** Starts a process that holds the mutex until it is told anything. */
async function hold(engine: Engine, name: string, runs: Runtime = otherRuntime): Promise<Child> {
  const child = await runAt(
    engine,
    name,
    `const guard = await (await at.mutex(name)).lock();
    say(String(guard.abandoned));
    await hear();
    await guard.release();
    say("released");
    await hear();`,
    runs,
  );
  await child.hear();
  return child;
}

/** Locks in a process of its own, and dies of SIGKILL. */
async function dieInside(engine: Engine, name: string, runs?: Runtime): Promise<void> {
  await using holder = await hold(engine, name, runs);
  await holder.kill();
}

for (const how of ["lock", "tryLock"] as const) {
  testEngines(`Mutex.${how}() locks, and releasing unlocks, once`, async (at, name) => {
    const mutex = await at.mutex(name);
    const guard = (await mutex[how]())!;
    assertEquals([guard.abandoned, await mutex.locked], [0, true]);
    assertEquals(await (await at.mutex(name)).tryLock(), undefined);
    await guard.release();
    assertEquals(await mutex.locked, false);
    const next = (await mutex[how]())!;
    await guard.release();
    assertEquals([next.abandoned, await mutex.locked], [0, true]);
    await next.release();
  });

  testEngines(
    `Mutex.${how}() tells how many holders have died, until one has released`,
    async (at, name, engine) => {
      const mutex = await at.mutex(name);
      for (const runtime of runtimes) await dieInside(engine, name, runtime);
      await untilIs(async () => !await mutex.locked);
      const guard = (await mutex[how]())!;
      assertEquals(guard.abandoned, runtimes.length);
      await guard.release();
      const next = (await mutex[how]())!;
      assertEquals(next.abandoned, 0);
      await next.release();
    },
  );

  testEngines(
    `Mutex.${how}() is refused once a holder has died, if asked to, until recover()`,
    async (at, name, engine) => {
      const mutex = await at.mutex(name, { onDeath: "refuse" });
      await dieInside(engine, name);
      await untilIs(async () => !await mutex.locked);
      for (let time = 0; time < 2; time++) {
        const error = await assertRejectsWith("EOWNERDEAD", (async () => await mutex[how]())());
        assert(error.message.includes("recover()"), error.message);
        assertEquals([await mutex.locked, await engine.values(mutex)], [false, [1, 1]]);
      }
      // One that reports is of the handle.
      const reporting = await at.mutex(name);
      assertEquals([mutex.onDeath, reporting.onDeath], ["refuse", "report"]);
      const guard = await mutex.recover();
      assertEquals([guard.abandoned, await reporting.tryLock()], [1, undefined]);
      await guard.release();
      const next = (await mutex[how]())!;
      assertEquals(next.abandoned, 0);
      await next.release();
      await (await mutex.recover()).release();
    },
  );

  testEngines(
    `Mutex.${how}()'s guard stays good when the handle is disposed or the mutex removed`,
    async (at, name) => {
      const mutex = await at.mutex(name);
      const handle = await at.mutex(name);
      const guard = (await handle[how]())!;
      handle[Symbol.dispose]();
      await assertRejects(async () => await handle[how](), ReferenceError);
      assertEquals(await mutex.locked, true);
      await guard.release();
      assertEquals(await mutex.locked, false);
      const last = (await mutex[how]())!;
      const { lost } = last;
      await mutex.remove();
      await untilIs(() => Promise.resolve(lost.aborted));
      assertEquals((lost.reason as { code: string }).code, "EIDRM");
      await last.release();
    },
  );
}

for (const runtime of runtimes) {
  testEngines(
    `Mutex.lock() waits for a holder of ${runtime} to release, or to be killed`,
    async (at, name, engine) => {
      const mutex = await at.mutex(name);
      for (const abandoned of [0, 1]) {
        await using holder = await hold(engine, name, runtime);
        const waiting = mutex.lock();
        await untilWaiting(engine, mutex);
        if (abandoned === 1) await holder.kill();
        else holder.say("release");
        const guard = await waiting;
        assertEquals([guard.abandoned, await mutex.tryLock()], [abandoned, undefined]);
        await guard.release();
      }
    },
  );
}

testEngines(
  "Mutex: who dies while it puts right what others left is told of too",
  async (at, name, engine) => {
    for (let deaths = 0; deaths < 3; deaths++) {
      const program = `say(String((await (await at.mutex(name)).lock()).abandoned)); await hear();`;
      await using holder = await runAt(engine, name, program, nthRuntime(deaths));
      assertEquals(await holder.hear(), String(deaths));
      await holder.kill();
    }
    const guard = await (await at.mutex(name)).lock();
    assertEquals(guard.abandoned, 3);
    await guard.release();
  },
);

testEngines(
  "Mutex.recover(): who dies while it recovers is told of to the next who does",
  async (at, name, engine) => {
    const mutex = await at.mutex(name, { onDeath: "refuse" });
    await dieInside(engine, name);
    const program = `const mutex = await at.mutex(name, { onDeath: "refuse" });
    say(String((await mutex.recover()).abandoned));
    await hear();`;
    await using recoverer = await runAt(engine, name, program, otherRuntime);
    assertEquals(await recoverer.hear(), "1");
    await recoverer.kill();
    await untilIs(async () => !await mutex.locked);
    await assertRejectsWith("EOWNERDEAD", (async () => await mutex.tryLock())());
    const guard = await mutex.recover();
    assertEquals(guard.abandoned, 2);
    await guard.release();
  },
);

testEngines(
  "Mutex.lock(): all who wait are refused when the holder dies, if they asked to",
  async (at, name, engine) => {
    const mutex = await at.mutex(name, { onDeath: "refuse" });
    await using holder = await hold(engine, name);
    const program = `try { await (await at.mutex(name, { onDeath: "refuse" })).lock(); }
    catch (error) { say(error.code); }
    await hear();`;
    await using child = await runAt(engine, name, program, otherRuntime);
    const waiting = [mutex.lock(), mutex.lock()].map((lock) =>
      assertRejectsWith("EOWNERDEAD", lock)
    );
    await untilWaiting(engine, mutex, 2);
    await holder.kill();
    await Promise.all(waiting);
    assertEquals(await child.hear(), "EOWNERDEAD");
    assertEquals(await engine.values(mutex), [1, 1]);
  },
);

testEngines(
  "Mutex.lock(): a waiter that dies is told of to no one, and served nothing",
  async (at, name, engine) => {
    const mutex = await at.mutex(name);
    const guard = await mutex.lock();
    await using waiter = await runAt(engine, name, `await (await at.mutex(name)).lock();`);
    await untilWaiting(engine, mutex);
    await waiter.kill();
    // A server that does not know of the death yet would let it have the mutex, and tell of it.
    await untilIs(async () => await engine.waiters(mutex) === 0);
    await guard.release();
    const next = await mutex.lock();
    assertEquals(next.abandoned, 0);
    await next.release();
  },
);

testEngines(
  "Mutex.lock(): who waits longest is next, in whatever process",
  async (at, name, engine) => {
    const mutex = await at.mutex(name);
    const guard = await mutex.lock();
    const program = `const guard = await (await at.mutex(name)).lock();
    say("got it");
    await hear();
    await guard.release();
    await hear();`;
    const children: Child[] = [];
    for (let i = 0; i < 4; i++) {
      children.push(await runAt(engine, name, program, nthRuntime(i)));
      await untilWaiting(engine, mutex, i + 1);
    }
    await using _ = ending(...children);
    const order: number[] = [];
    const heard = children.map(async (child, i) => {
      await child.hear();
      order.push(i);
      child.say("release");
    });
    await guard.release();
    await Promise.all(heard);
    assertEquals(order, [0, 1, 2, 3]);
  },
);

testEngines(
  "Mutex.lock() excludes many callers of one program from each other, in their order",
  async (at, name) => {
    const mutex = await at.mutex(name);
    let inside = 0;
    const order: number[] = [];
    await Promise.all(Array.from({ length: 30 }, async (_, i) => {
      const guard = await mutex.lock();
      assertEquals(++inside, 1);
      await Promise.resolve();
      order.push(i);
      inside--;
      await guard.release();
    }));
    assertEquals(order, Array.from({ length: 30 }, (_, i) => i));
    assertEquals(await mutex.locked, false);
  },
);

testEngines(
  "Mutex.run() holds the mutex while its function runs, whatever comes of it",
  async (at, name) => {
    const mutex = await at.mutex(name);
    const inside = async () => {
      await passed(1);
      return await mutex.locked;
    };
    assertEquals([await mutex.run(inside), await mutex.locked], [true, false]);
    const failure = new Error("failure");
    assertEquals(await assertRejects(() => mutex.run(() => Promise.reject(failure))), failure);
    assertEquals(await mutex.locked, false);
    const guard = await mutex.lock();
    for (const run of [5, undefined, "run"]) {
      await assertRejects(() => mutex.run(run as never, { timeout: 0 }), TypeError);
    }
    await assertTimesOut(mutex.run(() => {}, { timeout: 1 }));
    await guard.release();
  },
);

/** Starts a process that takes the lock somehow until it is told anything. */
async function takeLock(
  engine: Engine,
  name: string,
  how: "read" | "write",
  runs: Runtime = otherRuntime,
): Promise<Child> {
  return await runAt(
    engine,
    name,
    `const guard = await (await at.rwlock(name)).${how}();
    say("in");
    await hear();
    await guard.release();
    await hear();`,
    runs,
  );
}

testEngines("RwLock lets many read or one write", async (at, name, engine) => {
  const lock = await at.rwlock(name);
  await using other = await takeLock(engine, name, "read");
  assertEquals(await other.hear(), "in");
  for (const how of ["read", "tryRead"] as const) {
    const guard = (await lock[how]())!;
    assertEquals(await lock.state(), { readers: 2, writing: false, queued: 0 });
    assertEquals(await lock.tryWrite(), undefined);
    await guard.release();
    await guard.release();
    assertEquals((await lock.state()).readers, 1);
  }
  other.say("release");
  await untilIs(async () => (await lock.state()).readers === 0);
  for (const how of ["write", "tryWrite"] as const) {
    const guard = (await lock[how]())!;
    assertEquals(await lock.state(), { readers: 0, writing: true, queued: 0 });
    for (const prefer of ["writers", "readers"] as const) {
      const other = await at.rwlock(name, { prefer });
      assertEquals([await other.tryRead(), await other.tryWrite()], [undefined, undefined]);
    }
    await guard.release();
    await guard.release();
    assertEquals(await engine.values(lock), [0, 0, 0]);
  }
  assertEquals(await lock.runRead(async ({ mode }) => [mode, (await lock.state()).readers]), [
    "read",
    1,
  ]);
  assertEquals(await lock.runWrite(async ({ mode }) => [mode, (await lock.state()).writing]), [
    "write",
    true,
  ]);
});

for (const runtime of runtimes) {
  testEngines(
    `RwLock: readers and writers of ${runtime} that are killed let others in`,
    async (at, name, engine) => {
      const lock = await at.rwlock(name);
      await using reader = await takeLock(engine, name, "read", runtime);
      await reader.hear();
      const writing = lock.write();
      await untilWaiting(engine, lock);
      assertEquals(await lock.state(), { readers: 1, writing: false, queued: 1 });
      await reader.kill();
      await (await writing).release();
      await using writer = await takeLock(engine, name, "write", runtime);
      await writer.hear();
      const reading = [lock.read(), lock.read()];
      await untilWaiting(engine, lock);
      await writer.kill();
      for (const guard of await Promise.all(reading)) await guard.release();
      // One that is killed as it waits holds nobody up.
      const first = await lock.read();
      await using waiter = await takeLock(engine, name, "write", runtime);
      await untilIs(async () => (await lock.state()).queued === 1);
      const next = lock.read();
      await untilWaiting(engine, lock, 2);
      await waiter.kill();
      await (await next).release();
      await first.release();
      assertEquals(await engine.values(lock), [0, 0, 0]);
    },
  );
}

testEngines(
  "RwLock.read() lets writers that wait go first, unless its handle prefers readers",
  async (at, name, engine) => {
    const lock = await at.rwlock(name);
    const readers = await at.rwlock(name, { prefer: "readers" });
    assertEquals([lock.prefer, readers.prefer], ["writers", "readers"]);
    const first = await lock.read();
    await using writer = await takeLock(engine, name, "write");
    await untilIs(async () => (await lock.state()).queued === 1);
    assertEquals([await lock.tryRead(), await lock.tryWrite()], [undefined, undefined]);
    await assertTimesOut(lock.read({ timeout: 5 }));
    const passes = [(await readers.tryRead())!, await readers.read()];
    const reading = lock.read();
    await untilWaiting(engine, lock, 2);
    for (const guard of [first, ...passes]) await guard.release();
    assertEquals(await writer.hear(), "in");
    assertEquals(await readers.tryRead(), undefined);
    writer.say("release");
    const guard = await reading;
    assertEquals(await lock.state(), { readers: 1, writing: false, queued: 0 });
    await guard.release();
  },
);

testEngines(
  "RwLock.write() lets one writer in at a time, and readers after all of them",
  async (at, name, engine) => {
    const lock = await at.rwlock(name);
    const first = await lock.read();
    const events: string[] = [];
    const write = async (what: string) => {
      const guard = await lock.write();
      events.push(what);
      await passed(1);
      events.push(what);
      await guard.release();
    };
    const writers = [write("a"), write("b")];
    await untilIs(async () => (await lock.state()).queued === 2);
    const reading = lock.read().then((guard) => {
      events.push("read");
      return guard;
    });
    await untilWaiting(engine, lock, 2);
    await first.release();
    await Promise.all(writers);
    await (await reading).release();
    assertEquals(events, ["a", "a", "b", "b", "read"]);
  },
);

for (const happens of ["is aborted", "times out", "is disposed"]) {
  testEngines(
    `RwLock.write() that ${happens} withdraws: readers that waited for it go on`,
    async (at, name, engine) => {
      const lock = await at.rwlock(name);
      const handle = await at.rwlock(name);
      const reader = await lock.read();
      const controller = new AbortController();
      const { signal } = controller;
      const writing = assertRejects(() =>
        handle.write({ signal, timeout: happens === "times out" ? 300 : Infinity })
      );
      await untilIs(async () => (await lock.state()).queued === 1);
      const reading = lock.read();
      if (happens === "is aborted") controller.abort();
      if (happens === "is disposed") handle[Symbol.dispose]();
      await writing;
      await (await reading).release();
      assertEquals(await lock.state(), { readers: 1, writing: false, queued: 0 });
      await reader.release();
      assertEquals(await engine.values(lock), [0, 0, 0]);
    },
  );
}

testEngines(
  "RwLockGuard: a reader upgrades if it reads alone, and a writer downgrades",
  async (at, name, engine) => {
    const lock = await at.rwlock(name);
    const guard = await lock.read();
    const other = await lock.read();
    assertEquals([await guard.tryUpgrade(), guard.mode], [false, "read"]);
    await other.release();
    const writing = lock.write();
    await untilWaiting(engine, lock);
    // Even before a writer that waits.
    assertEquals([await guard.tryUpgrade(), await guard.tryUpgrade(), guard.mode], [
      true,
      true,
      "write",
    ]);
    assertEquals([await lock.tryRead(), (await lock.state()).queued], [undefined, 1]);
    await guard.downgrade();
    await guard.downgrade();
    assertEquals([guard.mode, (await lock.state()).readers], ["read", 1]);
    await guard.release();
    const writer = await writing;
    assertEquals([writer.mode, await guard.tryUpgrade()], ["write", false]);
    await writer.downgrade();
    await (await lock.read()).release();
    await writer.release();
    assertEquals(await engine.values(lock), [0, 0, 0]);
    for (
      const program of [
        "await (await lock.read()).tryUpgrade()",
        "await (await lock.write()).downgrade()",
      ]
    ) {
      await using child = await runAt(
        engine,
        name,
        `const lock = await at.rwlock(name); ${program}; say("in"); await hear();`,
        otherRuntime,
      );
      assertEquals(await child.hear(), "in");
      await child.kill();
      await untilIs(async () => String(await engine.values(lock)) === "0,0,0");
    }
  },
);
