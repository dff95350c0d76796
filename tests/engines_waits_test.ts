import { assertEquals, assertRejects } from "@std/assert";
import type { WaitOptions } from "@sysv/ipc";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import { type Handle, type Opener, testEngines, untilWaiting } from "./support/engines.ts";

/** Something that is waited for, and is not to be had. */
interface Blocked {
  /** By which it is waited for. */
  readonly handle: Handle;
  /** Another handle of the same. */
  readonly other: Handle;
  wait(options?: WaitOptions): Promise<unknown>;
  /** Lets waits have it. */
  free(): Promise<unknown>;
  /** Asserts that it is to be had again, or still. */
  isFree(): Promise<unknown>;
}

type Block = (at: Opener, name: string) => Promise<Blocked>;

/** What gives back what was taken, if anything was. */
async function giveBack(taken: unknown): Promise<void> {
  if (typeof taken === "object" && taken !== null && "release" in taken) {
    await (taken as { release(): void | Promise<void> }).release();
  }
}

function mutexThat(onDeath: "report" | "refuse", how: "lock" | "recover"): Block {
  return async (at, name) => {
    const guard = await (await at.mutex(name)).lock();
    const handle = await at.mutex(name, { onDeath });
    const other = await at.mutex(name);
    return {
      handle,
      other,
      wait: async (options) => await handle[how](options),
      free: async () => await guard.release(),
      isFree: async () => await (await other.lock({ timeout: 5000 })).release(),
    };
  };
}

function barrierThat(onDeath: "break" | "shrink"): Block {
  return async (at, name) => {
    const options = { parties: 2, onDeath };
    const handle = await at.barrier(name, options);
    const other = await at.barrier(name, options);
    const party = await handle.join();
    const second = await other.join();
    return {
      handle,
      other,
      wait: async (options) => await party.wait(options),
      free: () => Promise.resolve(second.wait()),
      // It has not arrived.
      isFree: async () => assertEquals(await second.tryWait(), false),
    };
  };
}

const ways: Readonly<Record<string, Block>> = {
  "Mutex.lock()": mutexThat("report", "lock"),
  "Mutex.lock(), which refuses,": mutexThat("refuse", "lock"),
  "Mutex.recover()": mutexThat("refuse", "recover"),
  "RwLock.read()": async (at, name) => {
    const guard = await (await at.rwlock(name)).write();
    const handle = await at.rwlock(name);
    const other = await at.rwlock(name);
    return {
      handle,
      other,
      wait: async (options) => await handle.read(options),
      free: async () => await guard.release(),
      isFree: async () => await (await other.write({ timeout: 5000 })).release(),
    };
  },
  "RwLock.write()": async (at, name) => {
    const guard = await (await at.rwlock(name)).read();
    const handle = await at.rwlock(name);
    const other = await at.rwlock(name);
    return {
      handle,
      other,
      wait: async (options) => await handle.write(options),
      free: async () => await guard.release(),
      isFree: async () => await (await other.write({ timeout: 5000 })).release(),
    };
  },
  "Latch.wait()": async (at, name) => {
    const handle = await at.latch(name, { count: 1 });
    const other = await at.latch(name, { count: 1 });
    return {
      handle,
      other,
      wait: async (options) => await handle.wait(options),
      free: async () => await other.countDown(),
      isFree: async () => await other.wait({ timeout: 5000 }),
    };
  },
  "Event.wait()": async (at, name) => {
    const handle = await at.event(name);
    const other = await at.event(name);
    return {
      handle,
      other,
      wait: async (options) => await handle.wait(options),
      free: async () => await other.set(),
      isFree: async () => await other.wait({ timeout: 5000 }),
    };
  },
  "Gauge.waitForIdle()": async (at, name) => {
    const handle = await at.gauge(name);
    const other = await at.gauge(name);
    const entry = await other.enter(2);
    return {
      handle,
      other,
      wait: async (options) => await handle.waitForIdle(options),
      free: async () => await entry.release(),
      isFree: async () => assertEquals(await other.value, 0),
    };
  },
  "Gauge.waitForAtMost()": async (at, name) => {
    const handle = await at.gauge(name);
    const other = await at.gauge(name);
    const entry = await other.enter(2);
    return {
      handle,
      other,
      wait: async (options) => await handle.waitForAtMost(1, options),
      free: async () => await entry.release(),
      isFree: async () => assertEquals(await other.value, 0),
    };
  },
  "Gauge.waitForAtLeast()": async (at, name) => {
    const handle = await at.gauge(name);
    const other = await at.gauge(name);
    return {
      handle,
      other,
      wait: async (options) => await handle.waitForAtLeast(2, options),
      free: async () => await other.enter(3),
      isFree: async () => assertEquals(await other.value, 3),
    };
  },
  "Bulkhead.acquire()": async (at, name) => {
    const permit = await (await at.bulkhead(name, { tickets: 1 })).acquire();
    const handle = await at.bulkhead(name, { tickets: 1 });
    const other = await at.bulkhead(name, { tickets: 1 });
    return {
      handle,
      other,
      wait: async (options) => await handle.acquire(options),
      free: async () => await permit.release(),
      isFree: async () => await (await other.acquire({ timeout: 5000 })).release(),
    };
  },
  "Bulkhead.acquire(), with a quota,": async (at, name) => {
    const permit = await (await at.bulkhead(name, { quota: 0.5 })).acquire();
    const handle = await at.bulkhead(name, { quota: 0.5 });
    const other = await at.bulkhead(name, { quota: 0.5 });
    return {
      handle,
      other,
      wait: async (options) => await handle.acquire(options),
      free: async () => await permit.release(),
      isFree: async () => await (await other.acquire({ timeout: 5000 })).release(),
    };
  },
  "Leader.campaign()": async (at, name) => {
    const leadership = await (await at.leader(name)).campaign();
    const handle = await at.leader(name);
    const other = await at.leader(name);
    return {
      handle,
      other,
      wait: async (options) => await handle.campaign(options),
      free: async () => await leadership.release(),
      isFree: async () => await (await other.campaign({ timeout: 5000 })).release(),
    };
  },
  "BarrierParty.wait(), which breaks,": barrierThat("break"),
  "BarrierParty.wait(), which shrinks,": barrierThat("shrink"),
};

for (const [title, block] of Object.entries(ways)) {
  testEngines(
    `${title} that times out or is aborted has changed nothing`,
    async (at, name, engine) => {
      const { handle, wait, free, isFree } = await block(at, name);
      const before = await engine.values(handle);
      for (const timeout of [0, 5]) await assertTimesOut(wait({ timeout }));
      for (const timeout of [-1, NaN]) await assertRejects(() => wait({ timeout }), RangeError);
      await assertRejects(() => wait("soon" as never), TypeError);
      await assertRejects(() => wait({ signal: "stop" as never }), TypeError);
      const reason = new Error("enough");
      assertEquals(await assertRejects(() => wait({ signal: AbortSignal.abort(reason) })), reason);
      const controller = new AbortController();
      const waiting = assertRejects(() => wait({ signal: controller.signal }));
      await untilWaiting(engine, handle);
      controller.abort(reason);
      assertEquals(await waiting, reason);
      assertEquals([await engine.values(handle), await engine.waiters(handle)], [before, 0]);
      // It can be had once it is free, by a wait that goes on.
      const next = wait();
      await untilWaiting(engine, handle);
      await Promise.all([free(), next.then(giveBack)]);
      if (!title.startsWith("Barrier")) await isFree();
    },
  );

  testEngines(
    `${title} rejects with EIDRM when it is removed as it waits, and after`,
    async (at, name, engine) => {
      const { handle, wait } = await block(at, name);
      const waiting = assertRejectsWith("EIDRM", wait());
      await untilWaiting(engine, handle);
      await handle.remove();
      await waiting;
      await assertRejectsWith("EIDRM", wait());
    },
  );

  testEngines(
    `${title} rejects when its handle is disposed, and has changed nothing`,
    async (at, name, engine) => {
      const { handle, other, wait } = await block(at, name);
      const before = await engine.values(handle);
      const waiting = assertRejects(() => wait(), ReferenceError);
      await untilWaiting(engine, handle);
      handle[Symbol.dispose]();
      await waiting;
      await assertRejects(() => wait(), ReferenceError);
      assertEquals([await engine.values(other), await engine.waiters(other)], [before, 0]);
    },
  );

  if (!title.startsWith("Barrier")) {
    testEngines(
      `${title} takes it or rejects, at whatever moment it is freed and given up`,
      async (at, name) => {
        const { wait, free, isFree } = await block(at, name);
        const ends: Promise<unknown>[] = [];
        for (let turns = 0; turns < 6; turns++) {
          const controller = new AbortController();
          ends.push(wait({ signal: controller.signal }).then(giveBack, () => {}));
          for (let turn = 0; turn < turns; turn++) await Promise.resolve();
          if (turns === 3) ends.push(free());
          controller.abort();
        }
        await Promise.all(ends);
        await isFree();
      },
    );
  }
}
