import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Barrier, Bulkhead, Event, Gauge, Latch, Leader, Mutex, RwLock } from "@sysv/ipc/sync";
import { assertIpcError, wrong } from "./support/assert.ts";
import { freshName } from "./support/objects.ts";
import { type Primitive, valuesOf } from "./support/sync.ts";

// Wrong options are refused before anything is made, opened or taken.

const notOptions = wrong("my-app/stats", 5, true, null, [], () => {}, Symbol("options"));
const notFlags = wrong(1, 0, "false", "", null, {});
const notSignals = wrong("signal", 1, null, {}, new EventTarget(), AbortSignal);

interface Class<P extends Primitive> {
  create(options: never): P;
  open(key: string, options?: never): P;
  openOrCreate(key: string, options: never): P;
  fromId(id: number, options?: never): P;
}

/** What each class needs to be told, and whether `open` and `fromId` take options. */
const classes: Record<string, readonly [Class<Primitive>, needed: object, opens: boolean]> = {
  Barrier: [Barrier, { parties: 2 }, true],
  Bulkhead: [Bulkhead, { tickets: 2 }, true],
  Event: [Event, {}, false],
  Gauge: [Gauge, {}, false],
  Latch: [Latch, { count: 1 }, false],
  Leader: [Leader, {}, false],
  Mutex: [Mutex, {}, true],
  RwLock: [RwLock, {}, true],
};

for (const [name, [Class, needed, opens]] of Object.entries(classes)) {
  test(`${name} refuses options that are no objects`, () => {
    const key = freshName();
    using made = Class.create(needed as never);
    for (const options of notOptions) {
      assertThrows(() => Class.create(options), TypeError);
      assertThrows(() => Class.openOrCreate(key, options), TypeError);
      if (!opens) continue;
      assertThrows(() => Class.open(key, options), TypeError);
      assertThrows(() => Class.fromId(made.id, options), TypeError);
    }
    assertIpcError(() => Class.open(key), "ENOENT", "semget");
  });

  test(`${name} refuses flags that are no booleans`, () => {
    const key = freshName();
    for (const flag of notFlags) {
      const flags = name === "Event" ? ["owner", "set"] : ["owner"];
      for (const option of flags) {
        const options = { ...needed, key, [option]: flag };
        assertThrows(() => Class.create(options as never), TypeError);
      }
      const options = { ...needed, allowForeign: flag };
      assertThrows(() => Class.openOrCreate(key, options as never), TypeError);
    }
    assertIpcError(() => Class.open(key), "ENOENT", "semget");
  });
}

/** Everything that waits in a promise, or blocks, on objects of which nothing is taken. */
const waits: Record<string, (options: never) => [() => unknown, Primitive]> = {
  "Mutex.lock()": on(() => Mutex.create(), (mutex, options) => mutex.lock(options)),
  "Mutex.lockSync()": on(() => Mutex.create(), (mutex, options) => mutex.lockSync(options)),
  "Mutex.recover()": on(() => Mutex.create(), (mutex, options) => mutex.recover(options)),
  "Mutex.recoverSync()": on(() => Mutex.create(), (mutex, options) => mutex.recoverSync(options)),
  "Mutex.run()": on(() => Mutex.create(), (mutex, options) => mutex.run(() => {}, options)),
  "RwLock.read()": on(() => RwLock.create(), (lock, options) => lock.read(options)),
  "RwLock.readSync()": on(() => RwLock.create(), (lock, options) => lock.readSync(options)),
  "RwLock.write()": on(() => RwLock.create(), (lock, options) => lock.write(options)),
  "RwLock.writeSync()": on(() => RwLock.create(), (lock, options) => lock.writeSync(options)),
  "RwLock.runRead()": on(() => RwLock.create(), (lock, options) => lock.runRead(() => {}, options)),
  "RwLock.runWrite()": on(
    () => RwLock.create(),
    (lock, options) => lock.runWrite(() => {}, options),
  ),
  "Latch.wait()": on(() => Latch.create({ count: 0 }), (latch, options) => latch.wait(options)),
  "Latch.waitSync()": on(
    () => Latch.create({ count: 0 }),
    (latch, options) => latch.waitSync(options),
  ),
  "Event.wait()": on(() => Event.create({ set: true }), (event, options) => event.wait(options)),
  "Event.waitSync()": on(
    () => Event.create({ set: true }),
    (event, options) => event.waitSync(options),
  ),
  "Gauge.waitForIdle()": on(() => Gauge.create(), (gauge, options) => gauge.waitForIdle(options)),
  "Gauge.waitForIdleSync()": on(
    () => Gauge.create(),
    (gauge, options) => gauge.waitForIdleSync(options),
  ),
  "Gauge.waitForAtMost()": on(
    () => Gauge.create(),
    (gauge, options) => gauge.waitForAtMost(1, options),
  ),
  "Gauge.waitForAtMostSync()": on(
    () => Gauge.create(),
    (gauge, options) => gauge.waitForAtMostSync(1, options),
  ),
  "Gauge.waitForAtLeast()": on(
    () => Gauge.create(),
    (gauge, options) => gauge.waitForAtLeast(1, options),
  ),
  "Gauge.waitForAtLeastSync()": on(
    () => Gauge.create(),
    (gauge, options) => gauge.waitForAtLeastSync(1, options),
  ),
  "BarrierParty.wait()": on(
    () => Barrier.create({ parties: 2 }),
    (barrier, options) => barrier.join().wait(options),
  ),
  "BarrierParty.waitSync()": on(
    () => Barrier.create({ parties: 2 }),
    (barrier, options) => barrier.join().waitSync(options),
  ),
  "Bulkhead.acquire()": on(
    () => Bulkhead.create({ tickets: 1 }),
    (bulkhead, options) => bulkhead.acquire(options),
  ),
  "Bulkhead.acquireSync()": on(
    () => Bulkhead.create({ tickets: 1 }),
    (bulkhead, options) => bulkhead.acquireSync(options),
  ),
  "Bulkhead.run()": on(
    () => Bulkhead.create({ tickets: 1 }),
    (bulkhead, options) => bulkhead.run(() => {}, options),
  ),
  "Leader.campaign()": on(() => Leader.create(), (leader, options) => leader.campaign(options)),
  "Leader.campaignSync()": on(
    () => Leader.create(),
    (leader, options) => leader.campaignSync(options),
  ),
  "Leader.run()": on(() => Leader.create(), (leader, options) => leader.run(() => {}, options)),
};

function on<P extends Primitive>(
  create: () => P,
  use: (primitive: P, options: never) => unknown,
): (options: never) => [() => unknown, Primitive] {
  return (options) => {
    const primitive = create();
    return [() => use(primitive, options), primitive];
  };
}

for (const [name, wait] of Object.entries(waits)) {
  test(`${name} refuses wrong options before it takes anything`, async () => {
    const options = [
      ...notOptions,
      ...wrong("5", null, true).map((timeout) => ({ timeout })),
      ...(name.includes("Sync") ? [] : notSignals.map((signal) => ({ signal }))),
    ];
    for (const wrong of options) {
      const [use, primitive] = wait(wrong as never);
      using _ = primitive;
      const isParty = name.startsWith("BarrierParty");
      const before = isParty ? [1, 0, 0, 1, 0, 2] : valuesOf(primitive);
      await assertRejects(async () => await use(), TypeError);
      assertEquals(valuesOf(primitive), before);
    }
  });
}

test("Leader.every() refuses wrong options before it campaigns", async () => {
  using leader = Leader.create();
  const options = [
    ...notOptions,
    ...notFlags.map((immediate) => ({ immediate })),
    ...notSignals.map((signal) => ({ signal })),
  ];
  for (const wrong of options) {
    await assertRejects(() => leader.every(5, () => {}, wrong as never), TypeError);
  }
  assertEquals(valuesOf(leader), [1, 0, 0, 0]);
});
