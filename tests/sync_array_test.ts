import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import type { SemaphoreOperation, WaitOptions } from "@sysv/ipc";
import {
  Barrier,
  Bulkhead,
  Event,
  Gauge,
  Latch,
  Leader,
  Mutex,
  RwLock,
  type SemaphoreArray,
} from "@sysv/ipc/sync";
import {
  barrier,
  bulkhead,
  event,
  gauge,
  latch,
  leader,
  mutex,
  rwlock,
} from "../sync/protocols.ts";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import { runtimes } from "./support/child.ts";
import { runSync } from "./support/sync.ts";
import { until } from "./support/time.ts";

/** Semaphores in the memory of this program, which answer later. */
class Memory implements SemaphoreArray {
  readonly size: number;
  values: number[];
  /** What everything fails with from now on. */
  failure: Error | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(values: readonly number[]) {
    this.values = [...values];
    this.size = values.length;
  }

  async operate(
    operations: readonly SemaphoreOperation[],
    { signal, timeout = Infinity }: WaitOptions = {},
  ): Promise<void> {
    const late = timeout === Infinity ? [] : [AbortSignal.timeout(timeout)];
    const ends = AbortSignal.any([...late, ...(signal ? [signal] : [])]);
    while (!await this.tryOperate(operations)) {
      ends.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        this.#waiting.add(resolve);
        ends.addEventListener("abort", () => reject(ends.reason));
      });
    }
  }

  async tryOperate(operations: readonly SemaphoreOperation[]): Promise<boolean> {
    await this.#answer();
    const values = [...this.values];
    for (const { index = 0, delta } of operations) {
      if (delta === 0 ? values[index] !== 0 : values[index]! + delta < 0) return false;
      values[index]! += delta;
    }
    this.values = values;
    this.#wake();
    return true;
  }

  async read(): Promise<number[]> {
    await this.#answer();
    return [...this.values];
  }

  async remove(): Promise<void> {
    await this.#answer();
    this.fail("EIDRM");
  }

  fail(code: string): void {
    this.failure = Object.assign(new Error(`The semaphores fail with ${code}`), { code });
    this.#wake();
  }

  async #answer(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve));
    if (this.failure !== undefined) throw this.failure;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

test("Mutex of other semaphores locks, waits, gives up, recovers and is removed", async () => {
  const array = new Memory(mutex.values);
  using lock = new Mutex(array);
  const guard = await lock.lock();
  await assertTimesOut(lock.lock({ timeout: 5 }));
  const waiting = lock.lock();
  guard.release();
  (await waiting).release();
  await until(() => array.values.join() === "1,0");
  array.values = [1, 1]; // as somebody has died
  {
    using guard = await lock.recover();
    assertEquals(guard.abandoned, 1);
  }
  using next = await lock.lock();
  assertEquals(next.abandoned, 0);
  const last = assertRejectsWith("EIDRM", lock.lock());
  lock.remove();
  await last;
});

test("RwLock of other semaphores lets many read or one write", async () => {
  const array = new Memory(rwlock.values);
  using lock = new RwLock(array);
  const reader = await lock.read();
  await assertTimesOut(lock.write({ timeout: 5 }));
  const writer = lock.write();
  await until(() => array.values.join() === "1,0,1");
  reader.release();
  (await writer).release();
  await until(() => array.values.join() === "0,0,0");
});

test("Leader of other semaphores leads in terms, does things at an interval, and tells of the removal", async () => {
  const array = new Memory(leader.values);
  using object = new Leader(array);
  const first = await object.campaign();
  const next = object.campaign();
  first.release();
  const second = await next;
  assertEquals([first.term, second.term], [1, 2]);
  second.release();
  const terms: number[] = [];
  const every = object.every(1, ({ term }) => {
    if (terms.push(term) === 3) object.remove();
  });
  await assertRejectsWith("EIDRM", every);
  assertEquals(terms.slice(0, 3), [3, 3, 3]);
});

test("What is held of other semaphores is lost when they are removed, but not once it is released", async () => {
  const array = new Memory(mutex.values);
  using lock = new Mutex(array);
  const first = await lock.lock();
  const { lost } = first;
  first.release();
  const held = await lock.lock();
  assertEquals([lost.aborted, held.lost.aborted], [false, false]);
  lock.remove();
  await until(() => held.lost.aborted);
  assertEquals([held.lost.reason.code, lost.aborted], ["EIDRM", false]);
});

test("Bulkhead of other semaphores gives out tickets", async () => {
  const array = new Memory(bulkhead.values(1));
  using limit = new Bulkhead(array);
  const permit = await limit.acquire();
  await assertTimesOut(limit.run(() => {}, { timeout: 5 }));
  permit.release();
  assertEquals(await limit.run(() => 42), 42);
});

test("Latch, Event and Gauge of other semaphores are waited for", async () => {
  const arrays = [latch.values(1), event.values(false), [1, gauge.most - 1]].map((values) =>
    new Memory(values)
  );
  const [counts, flags, counted] = arrays as [Memory, Memory, Memory];
  const waits = [
    new Latch(counts).wait(),
    new Event(flags).wait(),
    new Gauge(counted).waitForIdle(),
    new Gauge(counted).waitForAtMost(0),
  ];
  await new Gauge(counted).waitForAtLeast(1);
  await counts.tryOperate(latch.countDown(1));
  await flags.tryOperate(event.set);
  await counted.tryOperate(gauge.leave(1));
  await Promise.all(waits);
});

const mutexOf = () => new Mutex(new Memory(mutex.values));
const rwlockOf = () => new RwLock(new Memory(rwlock.values));
const leaderOf = () => new Leader(new Memory(leader.values));
const bulkheadOf = (quota?: number) => new Bulkhead(new Memory(bulkhead.values(1)), { quota });
const latchOf = () => new Latch(new Memory(latch.values(1)));
const eventOf = () => new Event(new Memory(event.values(false)));
const gaugeOf = () => new Gauge(new Memory(gauge.values));
const barrierOf = () => new Barrier(new Memory(barrier.values(1)), { parties: 1 });

/** What only the kernel's semaphores can do, as it has to be done when the call returns. */
const kernels: Record<string, () => unknown> = {
  "Mutex.id": () => mutexOf().id,
  "Mutex.locked": () => mutexOf().locked,
  "Mutex.ownerPid": () => mutexOf().ownerPid,
  "Mutex.tryLock()": () => mutexOf().tryLock(),
  "Mutex.lockSync()": () => mutexOf().lockSync(),
  "Mutex.recoverSync()": () => mutexOf().recoverSync(),
  "RwLock.key": () => rwlockOf().key,
  "RwLock.state()": () => rwlockOf().state(),
  "RwLock.tryRead()": () => rwlockOf().tryRead(),
  "RwLock.writeSync()": () => rwlockOf().writeSync(),
  "Leader.leaderPid": () => leaderOf().leaderPid,
  "Leader.tryCampaign()": () => leaderOf().tryCampaign(),
  "Bulkhead.register()": () => bulkheadOf(1).register(),
  "Bulkhead.resize()": () => bulkheadOf().resize(2),
  "Bulkhead.state()": () => bulkheadOf().state(),
  "Bulkhead.acquireSync()": () => bulkheadOf().acquireSync(),
  "Latch.count": () => latchOf().count,
  "Latch.countDown()": () => latchOf().countDown(),
  "Event.isSet": () => eventOf().isSet,
  "Event.set()": () => eventOf().set(),
  "Event.reset()": () => eventOf().reset(),
  "Gauge.value": () => gaugeOf().value,
  "Gauge.enter()": () => gaugeOf().enter(),
  "Barrier.isBroken": () => barrierOf().isBroken,
  "Barrier.join()": () => barrierOf().join(),
};

for (const [name, use] of Object.entries(kernels)) {
  test(`${name} of other semaphores throws a TypeError that says why`, () => {
    assertThrows(use, TypeError, "expected a SemaphoreSet: only the kernel answers at once");
  });
}

test("Barrier of other semaphores has to be told how many parties there are", () => {
  assertThrows(() => new Barrier(new Memory(barrier.values(1))), TypeError);
});

for (const [code, exit] of [["EIDRM", 0], ["EIO", 1]] as const) {
  for (const runs of runtimes) {
    test(`A guard of other semaphores that cannot be released for ${code} ends a program of ${runs} with ${exit}`, async () => {
      await using child = runSync(
        `const array = {
          size: 2,
          operate: async () => {},
          tryOperate: async () => true,
          read: async () => [0, 1],
          remove: async () => {},
        };
        const guard = await new Mutex(array).lock();
        array.tryOperate = async () => { throw Object.assign(new Error("lost"), { code: args[0] }); };
        array.remove = array.tryOperate;
        guard.release();
        new Mutex(array).remove();
        // What fails for good ends the program before, at whatever turn its runtime notices.
        setTimeout(() => process.exit(), args[0] === "EIDRM" ? 100 : 60_000);`,
        { args: [code], runtime: runs },
      );
      assertEquals((await child.exit).code, exit);
    });
  }
}
