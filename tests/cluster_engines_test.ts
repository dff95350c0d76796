import { assert, assertEquals, assertRejects } from "@std/assert";
import { BrokenBarrierError } from "@sysv/ipc/sync";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import { otherRuntime, runtimes } from "./support/child.ts";
import { runAt, testEngines } from "./support/engines.ts";
import { passed } from "./support/time.ts";

/** Waits until a question is answered with yes. */
async function untilIs(ask: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !await ask(); tries++) {
    assert(tries < 2000, `Not within 20 s: ${ask}`);
    await passed(10);
  }
}

/** Whether a promise is still pending after a moment. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => false, () => false), passed(30).then(() => true)]);
}

testEngines("Mutex.lock() excludes, and releasing unlocks, once", async (at, name) => {
  const mutex = await at.mutex(name);
  const guard = await mutex.lock();
  assertEquals([guard.abandoned, await mutex.locked, await mutex.tryLock()], [0, true, undefined]);
  const next = mutex.lock();
  assert(await isPending(next));
  await guard.release();
  await guard.release();
  const taken = await next;
  assertEquals(await mutex.locked, true);
  await taken.release();
  assertEquals(await mutex.locked, false);
});

testEngines("Mutex.lock() serves in order, of all parties", async (at, name, engine) => {
  const mutex = await at.mutex(name);
  const first = await mutex.lock();
  const order: number[] = [];
  const all = [];
  for (let i = 0; i < 6; i++) {
    const party = i % 2 === 0 ? mutex : await (await engine.opener()).mutex(name);
    all.push(
      party.lock().then(async (guard) => {
        order.push(i);
        await guard.release();
      }),
    );
    await passed(30);
  }
  await first.release();
  await Promise.all(all);
  if (engine.name === "on a server") assertEquals(order, [0, 1, 2, 3, 4, 5]);
  else assertEquals(order.toSorted(), [0, 1, 2, 3, 4, 5]);
});

for (const runtime of runtimes) {
  testEngines(
    `Mutex.lock() is told of holders of ${runtime} that die`,
    async (at, name, engine) => {
      const mutex = await at.mutex(name);
      const program = `await (await at.mutex(name)).lock(); say("held"); await hear();`;
      for (const deaths of [1, 2]) {
        await using child = await runAt(engine, name, program, runtime);
        // The second dies while it holds what the first has left.
        assertEquals(await child.hear(), "held");
        const next = deaths === 2 ? mutex.lock() : undefined;
        await child.kill();
        if (next === undefined) continue;
        const guard = await next;
        assertEquals(guard.abandoned, 2);
        await guard.release();
      }
      const clean = await mutex.lock();
      assertEquals(clean.abandoned, 0);
      await clean.release();
    },
  );
}

testEngines(
  "Mutex.lock() refuses after a death if asked to, until recover()",
  async (at, name, engine) => {
    const mutex = await at.mutex(name, { onDeath: "refuse" });
    const program = `await (await at.mutex(name)).lock(); say("held"); await hear();`;
    await using child = await runAt(engine, name, program, otherRuntime);
    await child.hear();
    await child.kill();
    await assertRejectsWith("EOWNERDEAD", mutex.lock());
    await assertRejectsWith("EOWNERDEAD", (async () => await mutex.tryLock())());
    const guard = await mutex.recover();
    assertEquals(guard.abandoned, 1);
    await guard.release();
    await (await mutex.lock()).release();
  },
);

testEngines("Mutex.lock() that is aborted or timed out has changed nothing", async (at, name) => {
  const mutex = await at.mutex(name);
  const guard = await mutex.lock();
  await assertTimesOut(mutex.lock({ timeout: 20 }));
  await assertTimesOut(mutex.lock({ timeout: 0 }));
  const controller = new AbortController();
  const aborted = mutex.lock({ signal: controller.signal });
  assert(await isPending(aborted));
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await assertRejects(() => aborted), reason);
  assertEquals(await assertRejects(() => mutex.lock({ signal: controller.signal })), reason);
  await guard.release();
  await (await mutex.lock({ timeout: 5000 })).release();
});

testEngines("Mutex.remove() has pending and later calls reject with EIDRM", async (at, name) => {
  const mutex = await at.mutex(name);
  const guard = await mutex.lock();
  const lost = "lost" in guard ? guard.lost : undefined;
  const pending = mutex.lock();
  assert(await isPending(pending));
  await mutex.remove();
  await assertRejectsWith("EIDRM", pending);
  await assertRejectsWith("EIDRM", mutex.lock());
  if (lost !== undefined) await untilIs(() => Promise.resolve(lost.aborted));
  await guard.release();
});

testEngines("RwLock lets many read or one write, writers first", async (at, name) => {
  const lock = await at.rwlock(name);
  const one = await lock.read();
  const other = await lock.tryRead();
  assertEquals(await lock.tryWrite(), undefined);
  const writing = lock.write();
  await untilIs(async () => (await lock.state()).queued === 1);
  assertEquals(await lock.tryRead(), undefined);
  await one.release();
  await other!.release();
  const writer = await writing;
  assertEquals(await lock.state(), { readers: 0, writing: true, queued: 0 });
  await assertTimesOut(lock.write({ timeout: 20 }));
  assertEquals(await lock.state(), { readers: 0, writing: true, queued: 0 });
  await writer.release();
  await (await lock.read()).release();
});

testEngines("RwLock: a guard is upgraded if it reads alone, and downgraded", async (at, name) => {
  const lock = await at.rwlock(name);
  const guard = await lock.read();
  const other = await lock.read();
  assertEquals([await guard.tryUpgrade(), guard.mode], [false, "read"]);
  await other.release();
  assertEquals([await guard.tryUpgrade(), guard.mode], [true, "write"]);
  assertEquals(await lock.tryRead(), undefined);
  await guard.downgrade();
  assertEquals([guard.mode, (await lock.state()).readers], ["read", 1]);
  await guard.release();
  assertEquals(await lock.state(), { readers: 0, writing: false, queued: 0 });
});

testEngines(
  "RwLock: a writer that dies while it waits holds no reader back",
  async (at, name, engine) => {
    const lock = await at.rwlock(name);
    const reader = await lock.read();
    const program = `(await at.rwlock(name)).write(); say("waits"); await hear();`;
    await using child = await runAt(engine, name, program);
    await child.hear();
    await untilIs(async () => (await lock.state()).queued === 1);
    const reading = lock.read();
    await child.kill();
    await (await reading).release();
    await reader.release();
  },
);

testEngines("Latch counts down to 0 and no further", async (at, name) => {
  const latch = await at.latch(name, { count: 3 });
  const waiting = latch.wait();
  assertEquals([await latch.countDown(), await latch.count], [true, 2]);
  assertEquals([await latch.countDown(3), await latch.tryWait()], [false, false]);
  assertEquals([await latch.countDown(2), await latch.tryWait()], [true, true]);
  await waiting;
  assertEquals(await latch.countDown(), false);
});

testEngines(
  "Latch: what a process counted down before it died stays so",
  async (at, name, engine) => {
    const latch = await at.latch(name, { count: 1 });
    const program =
      `await (await at.latch(name, { count: 1 })).countDown(); say("down"); await hear();`;
    await using child = await runAt(engine, name, program);
    await child.hear();
    await child.kill();
    await latch.wait({ timeout: 5000 });
  },
);

testEngines("Event is set and reset, and lets all who wait go on", async (at, name) => {
  const event = await at.event(name);
  const waits = [event.wait(), event.wait()];
  assertEquals([await event.isSet, await event.tryWait()], [false, false]);
  assertEquals([await event.set(), await event.set()], [true, false]);
  await Promise.all(waits);
  assertEquals([await event.isSet, await event.reset(), await event.reset()], [true, true, false]);
});

testEngines("Gauge counts who is at it, not the dead", async (at, name, engine) => {
  const gauge = await at.gauge(name);
  const entry = await gauge.enter(2);
  const program = `await (await at.gauge(name)).enter(3); say("in"); await hear();`;
  await using child = await runAt(engine, name, program, otherRuntime);
  await child.hear();
  await gauge.waitForAtLeast(5);
  assertEquals(await gauge.value, 5);
  const fallen = gauge.waitForAtMost(2);
  assert(await isPending(fallen));
  await child.kill();
  await fallen;
  const idle = gauge.waitForIdle();
  await entry.release();
  await idle;
  await assertRejects(async () => await gauge.enter(32768), RangeError);
});

testEngines(
  "Bulkhead limits how many have a ticket, and grows and shrinks",
  async (at, name, engine) => {
    const bulkhead = await at.bulkhead(name, { tickets: 2 });
    const program =
      `await (await at.bulkhead(name, { tickets: 2 })).acquire(); say("in"); await hear();`;
    await using child = await runAt(engine, name, program);
    await child.hear();
    const permit = await bulkhead.acquire();
    assert(permit.waited >= 0);
    assertEquals(await bulkhead.tryAcquire(), undefined);
    assertEquals(await bulkhead.state(), { tickets: 2, inUse: 2, workers: 0 });
    const next = bulkhead.acquire();
    await child.kill();
    await (await next).release();
    await bulkhead.resize(1);
    assertEquals(await bulkhead.tryAcquire(), undefined);
    await permit.release();
    assertEquals(await bulkhead.run(() => 7), 7);
    assertEquals(await bulkhead.state(), { tickets: 1, inUse: 0, workers: 0 });
  },
);

testEngines("Bulkhead's quota counts live workers", async (at, name, engine) => {
  const bulkhead = await at.bulkhead(name, { quota: 0.5 });
  await Promise.all([bulkhead.register(), bulkhead.register()]);
  const program =
    `const b = await at.bulkhead(name, { quota: 0.5 }); await b.register(); say("in"); await hear();`;
  const children = await Promise.all([1, 2, 3].map(() => runAt(engine, name, program)));
  for (const child of children) await child.hear();
  assertEquals(await bulkhead.state(), { tickets: 2, inUse: 0, workers: 4 });
  for (const child of children) await child.kill();
  await untilIs(async () => (await bulkhead.state()).workers === 1);
  assertEquals((await bulkhead.state()).tickets, 1);
  await bulkhead.unregister();
  assertEquals((await bulkhead.state()).workers, 0);
});

testEngines(
  "Leader: exactly one leads, terms grow, a death is followed by the next",
  async (at, name, engine) => {
    const leader = await at.leader(name);
    const first = await leader.campaign();
    assertEquals(await leader.tryCampaign(), undefined);
    await first.release();
    const program =
      `const l = await (await at.leader(name)).campaign(); say(String(l.term)); await hear();`;
    await using child = await runAt(engine, name, program, otherRuntime);
    const second = Number(await child.hear());
    const next = leader.campaign();
    assert(await isPending(next));
    await child.kill();
    const third = await next;
    assert(first.term < second && second < third.term, `${[first.term, second, third.term]}`);
    await third.release();
  },
);

testEngines("Leader.every() does it in one process until it is aborted", async (at, name) => {
  const leader = await at.leader(name);
  const controller = new AbortController();
  const { signal } = controller;
  let times = 0;
  const every = leader.every(5, () => {
    if (++times === 3) controller.abort();
  }, { signal, immediate: true });
  await every;
  assertEquals(times, 3);
  const failing = leader.every(5, () => Promise.reject(new Error("no")), { immediate: true });
  await assertRejects(() => failing, Error, "no");
  await (await leader.campaign({ timeout: 5000 })).release();
});

testEngines("Barrier lets its parties go on together, round after round", async (at, name) => {
  const barrier = await at.barrier(name, { parties: 2 });
  const one = await barrier.join();
  const other = await barrier.join();
  await assertRejectsWith("EBUSY", (async () => await barrier.join())());
  for (let round = 0; round < 4; round++) {
    assertEquals(await one.tryWait(), false);
    const waiting = one.wait();
    assert(await isPending(waiting));
    await Promise.all([waiting, other.wait()]);
  }
  await assertTimesOut(one.wait({ timeout: 20 }));
  const waiting = one.wait();
  await other.leave();
  await waiting;
  await one.leave();
  await assertRejects(async () => await one.wait(), ReferenceError);
});

testEngines("Barrier breaks when a party dies", async (at, name, engine) => {
  const barrier = await at.barrier(name, { parties: 2 });
  const party = await barrier.join();
  const program = `await (await at.barrier(name, { parties: 2 })).join(); say("in"); await hear();`;
  await using child = await runAt(engine, name, program, otherRuntime);
  await child.hear();
  const waiting = assertRejects(() => party.wait(), BrokenBarrierError);
  await child.kill();
  await waiting;
  assertEquals(await barrier.isBroken, true);
  await assertRejects(async () => await barrier.join(), BrokenBarrierError);
});

testEngines("Barrier shrinks when a party dies, if asked to", async (at, name, engine) => {
  const options = { parties: 2, onDeath: "shrink" } as const;
  const barrier = await at.barrier(name, options);
  const party = await barrier.join();
  const program =
    `await (await at.barrier(name, { parties: 2, onDeath: "shrink" })).join(); say("in"); await hear();`;
  await using child = await runAt(engine, name, program);
  await child.hear();
  const waiting = party.wait();
  assert(await isPending(waiting));
  await child.kill();
  await waiting;
});
