import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { inspect } from "node:util";
import { Barrier, Bulkhead, Event, Gauge, Latch, Leader, Mutex, RwLock } from "@sysv/ipc/sync";
import { freshName } from "./support/objects.ts";
import { type Primitive, runSync, semaphoresOf } from "./support/sync.ts";

/** How errors call an object. */
function called(kind: string, { key, name, id }: Primitive): string {
  if (key === undefined) return `${kind} ${id}`;
  return `${kind} "${name}" (0x${(key >>> 0).toString(16).padStart(8, "0")})`;
}

interface Late<P extends Primitive = Primitive> {
  kind: string;
  create(key: string): P;
  /** The values with which one has to wait, if not those of the start. */
  blocked?: readonly number[];
  wait(primitive: P, timeout: number): Promise<unknown>;
  waitSync(primitive: P, timeout: number): unknown;
  says(name: string): string;
}

function late<P extends Primitive>(one: Late<P>): Late {
  return one as unknown as Late;
}

const waits: readonly Late[] = [
  late({
    kind: "mutex",
    create: (key) => Mutex.create({ key }),
    blocked: [0, 1],
    wait: (mutex, timeout) => mutex.lock({ timeout }),
    waitSync: (mutex, timeout) => mutex.lockSync({ timeout }),
    says: (name) => `lock ${name}`,
  }),
  late({
    kind: "mutex",
    create: (key) => Mutex.create({ key }),
    blocked: [0, 1],
    wait: (mutex, timeout) => mutex.recover({ timeout }),
    waitSync: (mutex, timeout) => mutex.recoverSync({ timeout }),
    says: (name) => `recover ${name}`,
  }),
  late({
    kind: "rwlock",
    create: (key) => RwLock.create({ key }),
    blocked: [0, 1, 0],
    wait: (lock, timeout) => lock.read({ timeout }),
    waitSync: (lock, timeout) => lock.readSync({ timeout }),
    says: (name) => `lock ${name} for reading`,
  }),
  late({
    kind: "rwlock",
    create: (key) => RwLock.create({ key }),
    blocked: [1, 0, 0],
    wait: (lock, timeout) => lock.write({ timeout }),
    waitSync: (lock, timeout) => lock.writeSync({ timeout }),
    says: (name) => `lock ${name} for writing`,
  }),
  late({
    kind: "latch",
    create: (key) => Latch.create({ key, count: 1 }),
    wait: (latch, timeout) => latch.wait({ timeout }),
    waitSync: (latch, timeout) => latch.waitSync({ timeout }),
    says: (name) => `wait for ${name}`,
  }),
  late({
    kind: "event",
    create: (key) => Event.create({ key }),
    wait: (event, timeout) => event.wait({ timeout }),
    waitSync: (event, timeout) => event.waitSync({ timeout }),
    says: (name) => `wait for ${name}`,
  }),
  late({
    kind: "barrier",
    create: (key) => Barrier.create({ key, parties: 2 }),
    wait: (barrier, timeout) => barrier.join().wait({ timeout }),
    waitSync: (barrier, timeout) => barrier.join().waitSync({ timeout }),
    says: (name) => `wait at ${name}`,
  }),
  late({
    kind: "gauge",
    create: (key) => Gauge.create({ key }),
    wait: (gauge, timeout) => gauge.waitForAtLeast(3, { timeout }),
    waitSync: (gauge, timeout) => gauge.waitForAtLeastSync(3, { timeout }),
    says: (name) => `wait until ${name} reaches 3`,
  }),
  late({
    kind: "gauge",
    create: (key) => Gauge.create({ key }),
    blocked: [3, 32764],
    wait: (gauge, timeout) => gauge.waitForAtMost(2, { timeout }),
    waitSync: (gauge, timeout) => gauge.waitForAtMostSync(2, { timeout }),
    says: (name) => `wait until ${name} falls to 2`,
  }),
  late({
    kind: "bulkhead",
    create: (key) => Bulkhead.create({ key, tickets: 1 }),
    blocked: [16383, 1, 0],
    wait: (bulkhead, timeout) => bulkhead.acquire({ timeout }),
    waitSync: (bulkhead, timeout) => bulkhead.acquireSync({ timeout }),
    says: (name) => `acquire a ticket of ${name}`,
  }),
  late({
    kind: "leader",
    create: (key) => Leader.create({ key }),
    blocked: [0, 1, 0, 0],
    wait: (leader, timeout) => leader.campaign({ timeout }),
    waitSync: (leader, timeout) => leader.campaignSync({ timeout }),
    says: (name) => `lead by ${name}`,
  }),
];

for (const { kind, create, blocked, wait, waitSync, says } of waits) {
  test(`A wait that comes too late says so by what it could not: ${says(kind)}`, async () => {
    using object = create(freshName());
    if (blocked !== undefined) semaphoresOf(object).values = blocked;
    const what = says(called(kind, object));
    const { message }: Error = await assertRejects(() => wait(object, 5), DOMException);
    assertEquals(message, `Cannot ${what} within 5 ms`);
  });

  test(`A wait that blocks and comes too late says the same: ${says(kind)}`, () => {
    using object = create(freshName());
    if (blocked !== undefined) semaphoresOf(object).values = blocked;
    const what = says(called(kind, object));
    const { message }: Error = assertThrows(() => waitSync(object, 5), DOMException);
    assertEquals(message, `Cannot ${what} within 5 ms`);
  });
}

test("Primitives show what they hold to console.log", () => {
  using lock = RwLock.create();
  using _reader = lock.readSync();
  using bulkhead = Bulkhead.create({ tickets: 2 });
  using barrier = Barrier.create({ parties: 2 });
  using latch = Latch.create({ count: 3 });
  using event = Event.create();
  using gauge = Gauge.create();
  using _entry = gauge.enter(2);
  using leader = Leader.create();
  using mutex = Mutex.create();
  const shown = [lock, bulkhead, barrier, latch, event, gauge, leader, mutex].map((object) =>
    inspect(object).replace(/id: \d+/, "id")
  );
  assertEquals(shown, [
    'RwLock { id, prefer: "writers", state: { readers: 1, writing: false, queued: 0 } }',
    "Bulkhead { id, state: { tickets: 2, inUse: 0, workers: 0 } }",
    "Barrier { id, parties: 2, isBroken: false }",
    "Latch { id, count: 3 }",
    "Event { id, isSet: false }",
    "Gauge { id, value: 2 }",
    "Leader { id }",
    'Mutex { id, locked: false, onDeath: "report" }',
  ]);
});

test("console.log shows a primitive as its runtime shows anything", async () => {
  using latch = Latch.create({ count: 3 });
  await using child = runSync(`console.log(Latch.fromId(Number(args[0])));`, { args: [latch.id] });
  assertEquals(await child.hear(), `Latch { id: ${latch.id}, count: 3 }`);
});
