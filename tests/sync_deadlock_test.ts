import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  Barrier,
  Bulkhead,
  Gauge,
  type Guard,
  Leader,
  Mutex,
  type MutexGuard,
  RwLock,
} from "@sysv/ipc/sync";
import { assertIpcError, assertTimeout, assertTimesOut } from "./support/assert.ts";
import { type Child, otherRuntime } from "./support/child.ts";
import { runSync, valuesOf } from "./support/sync.ts";
import { until } from "./support/time.ts";

// A call that blocks the thread would wait for ever for what this thread itself has.

/** Starts a process that holds the mutex until it is told anything. */
async function hold(mutex: Mutex, runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const guard = await Mutex.fromId(Number(args[0])).lock();
    say(guard.abandoned);
    await hear();
    guard.release();
    say("released");
    await hear();`,
    { args: [mutex.id], runtime: runs },
  );
  await child.hear();
  return child;
}

const locks: Record<string, (mutex: Mutex) => MutexGuard | undefined | Promise<MutexGuard>> = {
  lock: (mutex) => mutex.lock(),
  lockSync: (mutex) => mutex.lockSync(),
  tryLock: (mutex) => mutex.tryLock(),
};

test("Mutex.lockSync() throws EDEADLK when this thread holds the mutex, by whatever handle", async () => {
  using mutex = Mutex.create();
  const other = Mutex.fromId(mutex.id);
  for (const lock of Object.values(locks)) {
    using _guard = (await lock(mutex))!;
    assertIpcError(() => mutex.lockSync(), "EDEADLK", "semop");
    assertIpcError(() => other.lockSync(), "EDEADLK", "semop");
    assertEquals(valuesOf(mutex), [0, 1]);
  }
  other.lockSync().release();
});

test("Mutex.lockSync() throws EDEADLK when this thread holds the mutex, whatever it released before", () => {
  using mutex = Mutex.create();
  const former = mutex.lockSync();
  former.release();
  using _guard = mutex.lockSync();
  former.release();
  assertIpcError(() => mutex.lockSync({ timeout: 5 }), "EDEADLK", "semop");
});

test("Mutex.lockSync() throws EDEADLK when this thread is about to hold the mutex", async () => {
  using mutex = Mutex.create();
  const other = Mutex.fromId(mutex.id);
  for (const take of [() => mutex.lock(), () => mutex.recover()]) {
    const taking = take();
    // The kernel has given it already, but nobody has the guard.
    assertEquals(mutex.locked, true);
    for (const handle of [mutex, other]) {
      assertIpcError(() => handle.lockSync({ timeout: 5 }), "EDEADLK", "semop");
      assertIpcError(() => handle.recoverSync({ timeout: 5 }), "EDEADLK", "semop");
    }
    (await taking).release();
    other.lockSync().release();
  }
});

test("Mutex.lockSync() throws EDEADLK when this thread waits for the mutex in a promise", async () => {
  using mutex = Mutex.create();
  await using holder = await hold(mutex);
  const other = Mutex.fromId(mutex.id);
  const controller = new AbortController();
  const waits = [mutex.lock({ signal: controller.signal }), mutex.recover()];
  const message = /waits for it in a promise/;
  for (const handle of [mutex, other]) {
    const errors = [
      assertIpcError(() => handle.lockSync({ timeout: 5 }), "EDEADLK", "semop"),
      assertIpcError(() => handle.recoverSync({ timeout: 5 }), "EDEADLK", "semop"),
    ];
    for (const error of errors) assertMatch(error.message, message);
  }
  controller.abort();
  await assertRejects(() => waits[0]!);
  assertIpcError(() => mutex.lockSync({ timeout: 5 }), "EDEADLK", "semop");
  holder.say("release");
  (await waits[1]!).release();
  mutex.lockSync().release();
});

test("Mutex.lockSync() waits when this thread has given up to wait for the mutex", async () => {
  using mutex = Mutex.create();
  await using _holder = await hold(mutex);
  for (const take of ["lock", "recover"] as const) {
    await assertTimesOut(mutex[take]({ timeout: 5 }));
    await assertRejects(() => mutex[take]({ signal: AbortSignal.abort() }));
    assertTimeout(() => mutex.lockSync({ timeout: 5 }));
  }
});

/** What blocks for what the thread has: how that is taken, and what then blocks. */
const deadlocks: Record<string, () => [taken: Guard, block: () => unknown, free: Disposable]> = {
  "RwLock.writeSync(), within a write,"() {
    const lock = RwLock.create();
    return [lock.writeSync(), () => lock.writeSync(), lock];
  },
  "RwLock.writeSync(), within a read,"() {
    const lock = RwLock.create();
    return [lock.readSync(), () => lock.writeSync(), lock];
  },
  "RwLock.readSync(), within a write,"() {
    const lock = RwLock.create();
    return [lock.writeSync(), () => lock.readSync(), lock];
  },
  "RwLock.readSync(), by another handle,"() {
    const lock = RwLock.create({ prefer: "readers" });
    return [lock.tryWrite()!, () => RwLock.fromId(lock.id).readSync({ timeout: 1000 }), lock];
  },
  "Leader.campaignSync()"() {
    const leader = Leader.create();
    return [leader.tryCampaign()!, () => leader.campaignSync(), leader];
  },
  "Bulkhead.acquireSync(), with the last ticket,"() {
    const bulkhead = Bulkhead.create({ tickets: 2 });
    bulkhead.acquireSync();
    return [bulkhead.tryAcquire()!, () => bulkhead.acquireSync(), bulkhead];
  },
  "Gauge.waitForIdleSync()"() {
    const gauge = Gauge.create();
    return [gauge.enter(3), () => gauge.waitForIdleSync(), gauge];
  },
  "Gauge.waitForAtMostSync()"() {
    const gauge = Gauge.create();
    return [gauge.enter(3), () => gauge.waitForAtMostSync(2), gauge];
  },
};

for (const [name, begin] of Object.entries(deadlocks)) {
  test(`${name} throws EDEADLK when it would wait for this thread, and waits for others`, () => {
    const [taken, block, object] = begin();
    using _ = object;
    const { message } = assertIpcError(block, "EDEADLK", "semop");
    assertMatch(message, /this thread holds it: release it first/);
    taken.release();
    const free = block() as Disposable | undefined;
    free?.[Symbol.dispose]();
  });
}

/** What blocks for what a promise of the thread waits for. */
const promised: Record<string, () => [Promise<Guard>, () => unknown, Disposable]> = {
  "RwLock.readSync()"() {
    const lock = RwLock.create();
    return [lock.write(), () => lock.readSync(), lock];
  },
  "RwLock.writeSync()"() {
    const lock = RwLock.create();
    return [lock.read(), () => lock.writeSync(), lock];
  },
  "Leader.campaignSync()"() {
    const leader = Leader.create();
    return [leader.campaign(), () => leader.campaignSync(), leader];
  },
  "Bulkhead.acquireSync()"() {
    const bulkhead = Bulkhead.create({ tickets: 1 });
    return [bulkhead.acquire(), () => bulkhead.acquireSync(), bulkhead];
  },
};

for (const [name, begin] of Object.entries(promised)) {
  test(`${name} throws EDEADLK when this thread is about to have it in a promise`, async () => {
    const [promise, block, object] = begin();
    using _ = object;
    assertIpcError(block, "EDEADLK", "semop");
    (await promise).release();
    (block() as Disposable)[Symbol.dispose]();
  });
}

test("RwLock.readSync() reads twice, but throws EDEADLK behind a writer that waits for the first", async () => {
  using lock = RwLock.create();
  using _first = lock.readSync();
  {
    using _second = lock.readSync();
    assertEquals(lock.state().readers, 2);
  }
  await using writer = runSync(`using _ = RwLock.fromId(Number(args[0])).writeSync();`, {
    args: [lock.id],
    runtime: otherRuntime,
  });
  await until(() => lock.state().queued === 1);
  assertIpcError(() => lock.readSync(), "EDEADLK", "semop");
  // Whoever lets readers go first does not wait.
  using _second = RwLock.fromId(lock.id, { prefer: "readers" }).readSync();
  await writer.kill();
});

test("Bulkhead.acquireSync() waits for tickets that others hold", async () => {
  using bulkhead = Bulkhead.create({ tickets: 2 });
  using _own = bulkhead.acquireSync();
  await using holder = runSync(
    `Bulkhead.fromId(Number(args[0])).acquireSync(); say("in"); await hear();`,
    { args: [bulkhead.id], runtime: otherRuntime },
  );
  await holder.hear();
  assertTimeout(() => bulkhead.acquireSync({ timeout: 5 }));
  assert(bulkhead.state().inUse === 2);
});

test("Gauge.waitForIdleSync() with a timeout waits even for this thread", () => {
  using gauge = Gauge.create();
  using _entry = gauge.enter();
  assertTimeout(() => gauge.waitForIdleSync({ timeout: 5 }));
});

for (const onDeath of ["break", "shrink"] as const) {
  test(`BarrierParty.waitSync() throws EDEADLK when another party of this thread has to arrive (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    const one = barrier.join();
    const other = Barrier.fromId(barrier.id, { onDeath }).join();
    for (let round = 0; round < 4; round++) {
      const { message } = assertIpcError(() => one.waitSync(), "EDEADLK", "semop");
      assertMatch(message, /another party of this thread has not arrived/);
      assertTimeout(() => one.waitSync({ timeout: 5 }));
      const waiting = other.wait();
      one.waitSync();
      await waiting;
    }
    other.leave();
    one.waitSync();
    one.leave();
    assertThrows(() => one.waitSync(), ReferenceError);
  });
}
