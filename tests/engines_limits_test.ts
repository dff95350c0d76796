import { assert, assertEquals, assertRejects } from "@std/assert";
import { type BulkheadLimit, type BulkheadPermit, BulkheadTimeoutError } from "@sysv/ipc/sync";
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

/** Starts a process that holds a ticket until it is told anything. */
async function hold(
  engine: Engine,
  name: string,
  limit: BulkheadLimit,
  runs: Runtime = otherRuntime,
): Promise<Child> {
  const child = await runAt(
    engine,
    name,
    `const permit = await (await at.bulkhead(name, ${JSON.stringify(limit)})).acquire();
    say("in");
    await hear();
    await permit.release();
    await hear();`,
    runs,
  );
  await child.hear();
  return child;
}

/** Starts a process that is a worker until it is killed. */
async function register(
  engine: Engine,
  name: string,
  runs: Runtime = otherRuntime,
): Promise<Child> {
  const program = `const bulkhead = await at.bulkhead(name, { quota: 0.5 });
    await bulkhead.register();
    say("in");
    await hear();`;
  const child = await runAt(engine, name, program, runs);
  await child.hear();
  return child;
}

for (const how of ["acquire", "tryAcquire"] as const) {
  testEngines(
    `Bulkhead.${how}() takes a ticket, and releasing gives it back, once`,
    async (at, name) => {
      const bulkhead = await at.bulkhead(name, { tickets: 2 });
      const permits = [(await bulkhead[how]())!, (await bulkhead[how]())!];
      assert(permits.every(({ waited }) => waited >= 0));
      assertEquals(await bulkhead.tryAcquire(), undefined);
      assertEquals(await bulkhead.state(), { tickets: 2, inUse: 2, workers: 0 });
      await permits[0]!.release();
      await permits[0]!.release();
      assertEquals((await bulkhead.state()).inUse, 1);
      // It stays good when the handle is disposed.
      const other = await at.bulkhead(name, { tickets: 2 });
      bulkhead[Symbol.dispose]();
      await permits[1]!.release();
      assertEquals((await other.state()).inUse, 0);
      const last = (await other[how]())!;
      await other.remove();
      await last.release();
    },
  );
}

for (const runtime of runtimes) {
  testEngines(
    `Bulkhead gets back the tickets and shares of processes of ${runtime} that are killed`,
    async (at, name, engine) => {
      const bulkhead = await at.bulkhead(name, { quota: 0.5 });
      for (const end of ["release", "kill"]) {
        await using holder = await hold(engine, name, { quota: 0.5 }, runtime);
        const waiting = bulkhead.acquire();
        await untilWaiting(engine, bulkhead);
        if (end === "kill") await holder.kill();
        else holder.say("release");
        await (await waiting).release();
      }
      await bulkhead.register();
      await bulkhead.register();
      const workers = await Promise.all([1, 2, 3].map(() => register(engine, name, runtime)));
      await using _ = ending(...workers);
      assertEquals(await bulkhead.state(), { tickets: 2, inUse: 0, workers: 4 });
      const permits = [await bulkhead.acquire(), await bulkhead.acquire()];
      for (const worker of workers) await worker.kill();
      await untilIs(async () => (await bulkhead.state()).workers === 1);
      assertEquals(await bulkhead.state(), { tickets: 1, inUse: 2, workers: 1 });
      await permits[0]!.release();
      assertEquals(await bulkhead.tryAcquire(), undefined);
      await permits[1]!.release();
      await bulkhead.unregister();
      await bulkhead.unregister();
      assertEquals(await engine.values(bulkhead), [16384, 1, 0]);
    },
  );
}

testEngines(
  "Bulkhead: a quota gives each worker its share, rounded up, and at least one ticket",
  async (at, name) => {
    for (const [quota, tickets] of [[0.5, [1, 1, 1, 2, 2, 3]], [1, [1, 1, 2, 3, 4, 5]]] as const) {
      const bulkhead = await at.bulkhead(`${name}/${quota}`, { quota });
      const handles = [];
      for (const [workers, due] of tickets.entries()) {
        if (workers > 0) {
          const handle = await at.bulkhead(`${name}/${quota}`, { quota });
          await handle.register();
          handles.push(handle);
        }
        assertEquals(await bulkhead.state(), { tickets: due, inUse: 0, workers });
      }
      for (const handle of handles) await handle.unregister();
      assertEquals((await bulkhead.state()).workers, 0);
      await assertRejects(async () => await bulkhead.resize(2), TypeError);
    }
  },
);

testEngines(
  "Bulkhead.acquire() goes on when a worker registers, as there are more tickets then",
  async (at, name, engine) => {
    const bulkhead = await at.bulkhead(name, { quota: 0.5 });
    await bulkhead.register();
    const first = await bulkhead.acquire();
    const waiting = bulkhead.acquire();
    await untilWaiting(engine, bulkhead);
    await using one = await register(engine, name);
    await using other = await register(engine, name);
    void [one, other];
    const second = await waiting;
    assertEquals(await bulkhead.state(), { tickets: 2, inUse: 2, workers: 3 });
    await first.release();
    await second.release();
  },
);

testEngines(
  "Bulkhead.resize() lets those who wait go on, or gives none until enough have come back",
  async (at, name, engine) => {
    const bulkhead = await at.bulkhead(name, { tickets: 1 });
    const permits: { release(): void | Promise<void> }[] = [await bulkhead.acquire()];
    const waiting = [bulkhead.acquire(), bulkhead.acquire(), bulkhead.acquire()];
    await untilWaiting(engine, bulkhead);
    await (await at.bulkhead(name, { tickets: 1 })).resize(4);
    permits.push(...await Promise.all(waiting));
    await bulkhead.resize(2);
    await bulkhead.resize(2);
    for (const inUse of [4, 3, 2]) {
      assertEquals(await bulkhead.state(), { tickets: 2, inUse, workers: 0 });
      assertEquals(await bulkhead.tryAcquire(), undefined);
      await permits.pop()!.release();
    }
    await (await bulkhead.tryAcquire())!.release();
    for (const tickets of [0, -1, 1.5, 16384]) {
      await assertRejects(async () => await bulkhead.resize(tickets), RangeError);
    }
    await permits.pop()!.release();
    // What is held by those who are killed afterwards counts, too.
    const holders = [
      await hold(engine, name, { tickets: 2 }),
      await hold(engine, name, { tickets: 2 }),
    ];
    await using _ = ending(...holders);
    await bulkhead.resize(1);
    await holders[0]!.kill();
    await untilIs(async () => (await bulkhead.state()).inUse === 1);
    assertEquals(await bulkhead.tryAcquire(), undefined);
    await holders[1]!.kill();
    await untilIs(async () => String(await engine.values(bulkhead)) === "16384,1,0");
  },
);

testEngines(
  "Bulkhead.resize(): of several processes that resize at once one is last",
  async (at, name, engine) => {
    const bulkhead = await at.bulkhead(name, { tickets: 2 });
    const permit = await bulkhead.acquire();
    const resizers = await Promise.all(runtimes.map((runtime, i) =>
      runAt(
        engine,
        name,
        `const bulkhead = await at.bulkhead(name, { tickets: 2 });
      for (let i = 0; i < 40; i++) await bulkhead.resize(1 + i % 2 * 7 + ${i});
      say("done");
      await hear();`,
        runtime,
      )
    ));
    await using _ = ending(...resizers);
    for (const child of resizers) assertEquals(await child.hear(), "done");
    const { tickets, inUse } = await bulkhead.state();
    assert(tickets >= 8 && tickets < 8 + runtimes.length, `${tickets}`);
    assertEquals(inUse, 1);
    await permit.release();
    assertEquals(await engine.values(bulkhead), [16383 + tickets, tickets, 0]);
  },
);

testEngines(
  "Bulkhead.run() holds a ticket while its function runs, whatever comes of it",
  async (at, name) => {
    const bulkhead = await at.bulkhead(name, { tickets: 1 });
    const inUse = async () => (await bulkhead.state()).inUse;
    assertEquals([await bulkhead.run(inUse), await inUse()], [1, 0]);
    assertEquals(await bulkhead.run(() => "at once"), "at once");
    const failure = new Error("failure");
    assertEquals(await assertRejects(() => bulkhead.run(() => Promise.reject(failure))), failure);
    await bulkhead.run((permit: BulkheadPermit) => permit.release());
    assertEquals(await inUse(), 0);
    const permit = await bulkhead.acquire();
    let runs = 0;
    await assertRejects(() => bulkhead.run(() => runs++, { timeout: 5 }), BulkheadTimeoutError);
    // One of the task is its own.
    await permit.release();
    const late = new DOMException("late", "TimeoutError");
    assertEquals(await assertRejects(() => bulkhead.run(() => Promise.reject(late))), late);
    await bulkhead.remove();
    await assertRejectsWith("EIDRM", bulkhead.run(() => runs++));
    assertEquals(runs, 0);
  },
);

/** Starts a process that enters until it is told to leave. */
async function enter(
  engine: Engine,
  name: string,
  by: number,
  runs: Runtime = otherRuntime,
): Promise<Child> {
  const program = `const entry = await (await at.gauge(name)).enter(${by});
    say("in");
    await hear();
    await entry.release();
    await hear();`;
  const child = await runAt(engine, name, program, runs);
  await child.hear();
  return child;
}

testEngines("Gauge counts those who are at it until they leave, once", async (at, name, engine) => {
  const gauge = await at.gauge(name);
  const handle = await at.gauge(name);
  const entries = [await gauge.enter(), await handle.enter(4)];
  assertEquals(await gauge.value, 5);
  await entries[0]!.release();
  await entries[0]!.release();
  handle[Symbol.dispose]();
  assertEquals(await gauge.value, 4);
  await entries[1]!.release();
  for (const by of [0, -1, 1.5, 32768, NaN]) {
    await assertRejects(async () => await gauge.enter(by), RangeError);
  }
  const all = await gauge.enter(32767);
  await assertRejects(async () => await gauge.enter(), RangeError);
  await all.release();
  for (const least of [0, 32768, 1.5]) {
    await assertRejects(() => gauge.waitForAtLeast(least), RangeError);
  }
  for (const most of [-1, 32767, 1.5]) {
    await assertRejects(() => gauge.waitForAtMost(most), RangeError);
  }
  assertEquals(await engine.values(gauge), [0, 32767]);
  const last = await gauge.enter();
  await gauge.remove();
  await last.release();
});

testEngines("Gauge: waits go on at once where there is nothing to wait for", async (at, name) => {
  const gauge = await at.gauge(name);
  await gauge.waitForIdle({ timeout: 0 });
  const entry = await gauge.enter(3);
  await gauge.waitForAtLeast(3, { timeout: 0 });
  await gauge.waitForAtMost(3, { timeout: 0 });
  await assertTimesOut(gauge.waitForIdle({ timeout: 0 }));
  await entry.release();
});

for (const runtime of runtimes) {
  testEngines(
    `Gauge: the waits of ${runtime} go on as others enter, leave and are killed`,
    async (at, name, engine) => {
      const gauge = await at.gauge(name);
      const program = `const gauge = await at.gauge(name);
      for (const wait of [() => gauge.waitForAtLeast(5), () => gauge.waitForAtMost(2), () => gauge.waitForIdle()]) {
        await wait();
        say("on");
        await hear();
      }`;
      await using waiter = await runAt(engine, name, program, runtime);
      await untilWaiting(engine, gauge);
      await using four = await enter(engine, name, 4, runtime);
      const one = await gauge.enter();
      assertEquals([await waiter.hear(), await gauge.value], ["on", 5]);
      waiter.say("on");
      await untilWaiting(engine, gauge);
      await four.kill();
      await waiter.hear();
      waiter.say("on");
      await untilWaiting(engine, gauge);
      await one.release();
      await waiter.hear();
      assertEquals(await engine.values(gauge), [0, 32767]);
    },
  );
}

testEngines(
  "Gauge: waiters do not disturb the count, not even as they are killed",
  async (at, name, engine) => {
    const gauge = await at.gauge(name);
    const entry = await gauge.enter(2);
    for (const wait of ["waitForIdle()", "waitForAtLeast(9)", "waitForAtMost(1)"]) {
      await using child = await runAt(engine, name, `await (await at.gauge(name)).${wait};`);
      await untilWaiting(engine, gauge);
      await child.kill();
      assertEquals(await engine.values(gauge), [2, 32765]);
    }
    await entry.release();
  },
);

testEngines(
  "Gauge never drifts, however many processes are killed at whatever moment",
  async (at, name, engine) => {
    const gauge = await at.gauge(name);
    const program = `const gauge = await at.gauge(name);
    say("ready");
    for (;;) {
      const [a, b] = [await gauge.enter(3), await gauge.enter()];
      await a.release();
      await b.release();
      await new Promise((resolve) => setTimeout(resolve));
    }`;
    const children = await Promise.all(
      Array.from({ length: 6 }, (_, i) => runAt(engine, name, program, nthRuntime(i))),
    );
    await Promise.all(children.map(async (child) => {
      await child.hear();
      await passed(Math.random() * 100);
      await child.kill();
    }));
    await untilIs(async () => await gauge.value === 0);
    assertEquals(await engine.values(gauge), [0, 32767]);
  },
);

testEngines("Latch counts down to 0 and no further, and begins anew", async (at, name, engine) => {
  const latch = await at.latch(name, { count: 3 });
  assertEquals([await latch.countDown(), await latch.count], [true, 2]);
  assertEquals([await latch.countDown(3), await latch.tryWait()], [false, false]);
  const waiting = [latch.wait(), latch.wait()];
  await untilWaiting(engine, latch);
  assertEquals([await latch.countDown(2), await latch.tryWait()], [true, true]);
  await Promise.all(waiting);
  assertEquals([await latch.countDown(), await latch.count], [false, 0]);
  await latch.wait({ timeout: 0 });
  await latch.reset();
  assertEquals([await latch.count, await latch.tryWait()], [3, false]);
  await latch.reset(1);
  await assertTimesOut(latch.wait({ timeout: 0 }));
  await latch.reset(0);
  assertEquals(await latch.tryWait(), true);
  for (const by of [0, -1, 1.5, 32768]) {
    await assertRejects(async () => await latch.countDown(by), RangeError);
  }
  for (const count of [-1, 0.5, 32768]) {
    await assertRejects(async () => await latch.reset(count), RangeError);
    await assertRejects(() => at.latch(`${name}/wrong`, { count }), RangeError);
  }
});

for (const runtime of runtimes) {
  testEngines(
    `Latch and Event: what a process of ${runtime} did stays when it is killed, and those who wait go on`,
    async (at, name, engine) => {
      const latch = await at.latch(name, { count: 1 });
      const event = await at.event(`${name}/event`);
      const waits =
        `await Promise.all([(await at.latch(name, { count: 1 })).wait(), (await at.event(name + "/event")).wait()]);
      say("on");
      await hear();`;
      await using waiter = await runAt(engine, name, waits, otherRuntime);
      await untilWaiting(engine, latch);
      await untilWaiting(engine, event);
      await using child = await runAt(
        engine,
        name,
        `await (await at.latch(name, { count: 1 })).countDown();
      await (await at.event(name + "/event")).set();
      say("done");
      await hear();`,
        runtime,
      );
      await child.hear();
      await child.kill();
      assertEquals(await waiter.hear(), "on");
      assertEquals([await latch.count, await event.isSet], [0, true]);
    },
  );
}

testEngines(
  "Event is set and reset, tells whether that changed anything, and lets all go on",
  async (at, name, engine) => {
    const event = await at.event(name);
    assertEquals([await event.isSet, await event.tryWait(), await event.reset()], [
      false,
      false,
      false,
    ]);
    const waits = [event.wait(), event.wait()];
    await untilWaiting(engine, event);
    assertEquals([await event.set(), await event.set()], [true, false]);
    await Promise.all(waits);
    assertEquals([await event.isSet, await event.tryWait()], [true, true]);
    assertEquals([await event.reset(), await event.reset(), await event.isSet], [
      true,
      false,
      false,
    ]);
    await assertTimesOut(event.wait({ timeout: 0 }));
    const other = await at.event(`${name}/set`, { set: true });
    await other.wait({ timeout: 0 });
  },
);
