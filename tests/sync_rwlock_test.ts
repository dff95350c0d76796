import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { type Guard, RwLock } from "@sysv/ipc/sync";
import { assertIpcError, assertTimeout, assertTimesOut } from "./support/assert.ts";
import { type Child, otherRuntime, runtime, runtimes } from "./support/child.ts";
import {
  runSync,
  semaphoresOf,
  testOpening,
  testTaking,
  testWaits,
  untilWaiting,
  valuesOf,
} from "./support/sync.ts";
import { until } from "./support/time.ts";

testOpening({
  name: "RwLock",
  kind: "rwlock",
  values: [0, 0, 0],
  create: (options) => RwLock.create(options),
  open: (key) => RwLock.open(key),
  openOrCreate: (key) => RwLock.openOrCreate(key),
  fromId: (id) => RwLock.fromId(id),
});

const common = { create: () => RwLock.create(), fromId: (id: number) => RwLock.fromId(id) };

/** What one waits for in vain: who reads, who writes, who waits to write. */
const waits: [name: string, blocked: number[], prefer?: "readers"][] = [
  ["read(), behind a writer,", [0, 1, 0]],
  ["read(), behind a writer that waits,", [1, 0, 1]],
  ["read(), by preference of readers,", [0, 1, 1], "readers"],
];
for (const [name, blocked, prefer = "writers"] of waits) {
  testWaits<RwLock>({
    ...common,
    name: `RwLock.${name}`,
    fromId: (id) => RwLock.fromId(id, { prefer }),
    create: () => RwLock.create({ prefer }),
    blocked,
    wait: (lock, options) => lock.read(options),
    waitSync: (lock, options) => lock.readSync(options),
    program: `RwLock.fromId(id, { prefer: "${prefer}" }).readSync()`,
  });
}
for (const [whom, blocked] of [["readers", [2, 0, 0]], ["a writer", [0, 1, 0]]] as const) {
  testWaits<RwLock>({
    ...common,
    name: `RwLock.write(), behind ${whom},`,
    blocked: [...blocked],
    wait: (lock, options) => lock.write(options),
    waitSync: (lock, options) => lock.writeSync(options),
    program: "RwLock.fromId(id).writeSync()",
  });
}

testTaking<RwLock>({
  ...common,
  name: "RwLock.read()",
  take: (lock, options) => lock.read(options),
  isFree: (lock) => lock.state().readers === 0,
});

testTaking<RwLock>({
  ...common,
  name: "RwLock.write()",
  take: (lock, options) => lock.write(options),
  isFree: (lock) => !lock.state().writing && lock.state().queued === 0,
});

/** Starts a process that reads or writes until it is told anything. */
async function hold(lock: RwLock, how: "read" | "write", runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const guard = await RwLock.fromId(Number(args[0])).${how}();
    say("in");
    await hear();
    guard.release();
    await hear();`,
    { args: [lock.id], runtime: runs },
  );
  await child.hear();
  return child;
}

/** Starts a process that waits to read or write, and says so when it does. */
function waiter(lock: RwLock, how: string, runs = otherRuntime): Child {
  return runSync(
    `const lock = RwLock.fromId(Number(args[0]));
    const guard = await lock.${how};
    say("in");
    await hear();
    guard.release();
    await hear();`,
    { args: [lock.id], runtime: runs },
  );
}

type Take = (lock: RwLock) => Guard | undefined | Promise<Guard>;
const reads: Record<string, Take> = {
  read: (lock) => lock.read(),
  readSync: (lock) => lock.readSync(),
  tryRead: (lock) => lock.tryRead(),
};
const writes: Record<string, Take> = {
  write: (lock) => lock.write(),
  writeSync: (lock) => lock.writeSync(),
  tryWrite: (lock) => lock.tryWrite(),
};

for (const [name, read] of Object.entries(reads)) {
  test(`RwLock.${name}() reads beside other readers, and keeps writers out`, async () => {
    using lock = RwLock.create();
    await using _other = await hold(lock, "read");
    const guard = (await read(lock))!;
    assertEquals(lock.state(), { readers: 2, writing: false, queued: 0 });
    assertEquals(lock.tryWrite(), undefined);
    guard.release();
    guard.release();
    assertEquals(lock.state(), { readers: 1, writing: false, queued: 0 });
  });
}

for (const [name, write] of Object.entries(writes)) {
  test(`RwLock.${name}() keeps everybody else out`, async () => {
    using lock = RwLock.create();
    const guard = (await write(lock))!;
    assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
    for (const prefer of ["writers", "readers"] as const) {
      const other = RwLock.fromId(lock.id, { prefer });
      assertEquals([other.tryRead(), other.tryWrite()], [undefined, undefined]);
    }
    guard.release();
    using next = (await write(lock))!;
    guard.release();
    assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
    next.release();
    assertEquals(valuesOf(lock), [0, 0, 0]);
  });
}

for (const [name, take] of Object.entries({ ...reads, ...writes })) {
  test(`RwLock.${name}()'s guard stays good when the handle is disposed, and when the lock is removed`, async () => {
    using lock = RwLock.create();
    const handle = RwLock.fromId(lock.id);
    const guard = (await take(handle))!;
    handle[Symbol.dispose]();
    assertEquals(valuesOf(lock).reduce((sum, value) => sum + value), 1);
    guard.release();
    assertEquals(valuesOf(lock), [0, 0, 0]);
    using _guard = (await take(lock))!;
    lock.remove();
  });
}

for (const runs of runtimes) {
  test(`RwLock: a reader of ${runs} that is killed lets writers in`, async () => {
    using lock = RwLock.create();
    await using reader = await hold(lock, "read", runs);
    const writing = lock.write();
    await untilWaiting(lock);
    assertEquals(lock.state(), { readers: 1, writing: false, queued: 1 });
    await reader.kill();
    using _guard = await writing;
    assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
  });

  test(`RwLock: a writer of ${runs} that is killed lets all readers in`, async () => {
    using lock = RwLock.create();
    await using writer = await hold(lock, "write", runs);
    const reading = [lock.read(), lock.read()];
    await using child = waiter(lock, "readSync()", runtime);
    await untilWaiting(lock, 2);
    await writer.kill();
    const guards = await Promise.all(reading);
    assertEquals(await child.hear(), "in");
    assertEquals(lock.state(), { readers: 3, writing: false, queued: 0 });
    for (const guard of guards) guard.release();
  });

  for (const how of ["write()", "writeSync()"]) {
    test(`RwLock: a ${how} of ${runs} that is killed as it waits lets readers go on`, async () => {
      using lock = RwLock.create();
      using _reader = lock.readSync();
      await using writer = waiter(lock, how, runs);
      await until(() => lock.state().queued === 1);
      assertEquals(lock.tryRead(), undefined);
      const reading = lock.read();
      await untilWaiting(lock, 2);
      await writer.kill();
      using _guard = await reading;
      assertEquals(lock.state(), { readers: 2, writing: false, queued: 0 });
    });
  }
}

test("RwLock.read() lets writers that wait go first, and goes on after them", async () => {
  using lock = RwLock.create();
  const first = lock.readSync();
  await using writer = waiter(lock, "write()");
  await until(() => lock.state().queued === 1);
  assertEquals(lock.tryRead(), undefined);
  await assertTimesOut(lock.read({ timeout: 5 }));
  const reading = lock.read();
  await untilWaiting(lock, 2);
  first.release();
  assertEquals(await writer.hear(), "in");
  assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
  writer.say("release");
  using _guard = await reading;
  assertEquals(lock.state(), { readers: 1, writing: false, queued: 0 });
});

test("RwLock.read() passes writers that wait if its handle prefers readers", async () => {
  using lock = RwLock.create();
  using readers = RwLock.fromId(lock.id, { prefer: "readers" });
  assertEquals([lock.prefer, readers.prefer], ["writers", "readers"]);
  const first = lock.readSync();
  await using writer = waiter(lock, "writeSync()");
  await untilWaiting(lock);
  const guards = [readers.tryRead()!, readers.readSync(), await readers.read()];
  assertEquals(lock.state(), { readers: 4, writing: false, queued: 1 });
  assertEquals(lock.tryRead(), undefined);
  for (const guard of [first, ...guards]) guard.release();
  assertEquals(await writer.hear(), "in");
  assertEquals(readers.tryRead(), undefined);
});

test("RwLock.write() lets one of several writers in at a time, and readers after all of them", async () => {
  using lock = RwLock.create();
  const first = lock.readSync();
  const events: string[] = [];
  const write = async (name: string) => {
    using _guard = await lock.write();
    events.push(name);
    await Promise.resolve();
    events.push(name);
  };
  const writers = [write("a"), write("b")];
  await until(() => lock.state().queued === 2);
  const reading = lock.read();
  await untilWaiting(lock, 2);
  first.release();
  await Promise.all(writers);
  events.push("read");
  using _guard = await reading;
  assertEquals(events, ["a", "a", "b", "b", "read"]);
});

const cancels: Record<string, (lock: RwLock, controller: AbortController) => Promise<unknown>> = {
  "is aborted": (lock, { signal }) => lock.write({ signal }),
  "times out": (lock) => lock.write({ timeout: 30 }),
};
for (const [happens, write] of Object.entries(cancels)) {
  test(`RwLock.write() withdraws when it ${happens}: readers that waited for it go on`, async () => {
    using lock = RwLock.create();
    using _reader = lock.readSync();
    const controller = new AbortController();
    const writing = write(lock, controller).catch(() => {});
    await until(() => lock.state().queued === 1);
    const reading = lock.read();
    await using child = waiter(lock, "readSync()");
    if (happens === "is aborted") {
      await untilWaiting(lock, 3);
      controller.abort();
    }
    await writing;
    using _guard = await reading;
    assertEquals(await child.hear(), "in");
    assertEquals(lock.state(), { readers: 3, writing: false, queued: 0 });
  });
}

test("RwLock.writeSync() withdraws when its time is up", () => {
  using lock = RwLock.create();
  // Another process reads.
  semaphoresOf(lock).operateSync([{ index: 0, delta: +1 }]);
  assertTimeout(() => lock.writeSync({ timeout: 5 }));
  assertEquals(lock.state(), { readers: 1, writing: false, queued: 0 });
  using _other = lock.tryRead()!;
  assertEquals(lock.state().readers, 2);
});

test("RwLock.write(): one that waits withdraws when its handle is disposed", async () => {
  using lock = RwLock.create();
  using _reader = lock.readSync();
  const handle = RwLock.fromId(lock.id);
  const writing = handle.write().catch((error) => error);
  await until(() => lock.state().queued === 1);
  const reading = lock.read();
  await untilWaiting(lock, 2);
  handle[Symbol.dispose]();
  using _guard = await reading;
  assertEquals((await writing).name, "ReferenceError");
  assertEquals(lock.state(), { readers: 2, writing: false, queued: 0 });
});

test("RwLock.tryWrite() does not pass a writer that waits", async () => {
  using lock = RwLock.create();
  using readers = RwLock.fromId(lock.id, { prefer: "readers" });
  const first = readers.readSync();
  await using writer = waiter(lock, "write()");
  await until(() => lock.state().queued === 1);
  assertEquals(lock.tryWrite(), undefined);
  first.release();
  assertEquals(await writer.hear(), "in");
});

test("RwLockGuard.tryUpgrade() and downgrade() change from reading to writing and back, in one step", async () => {
  using lock = RwLock.create();
  const guard = await lock.read();
  assertEquals([guard.mode, guard.tryUpgrade(), guard.tryUpgrade()], ["read", true, true]);
  assertEquals([guard.mode, lock.state()], ["write", { readers: 0, writing: true, queued: 0 }]);
  assertEquals(lock.tryRead(), undefined);
  assertIpcError(() => lock.readSync(), "EDEADLK", "semop");
  guard.downgrade();
  guard.downgrade();
  assertEquals([guard.mode, lock.state()], ["read", { readers: 1, writing: false, queued: 0 }]);
  lock.readSync().release();
  guard.release();
  guard.downgrade();
  assertEquals([guard.tryUpgrade(), valuesOf(lock)], [false, [0, 0, 0]]);
  lock.writeSync().release();
});

test("RwLockGuard.tryUpgrade() upgrades no reader beside another, but one before a writer that waits", async () => {
  using lock = RwLock.create();
  using first = lock.readSync();
  {
    using second = lock.readSync();
    assertEquals([first.tryUpgrade(), second.tryUpgrade()], [false, false]);
  }
  const writing = lock.write();
  await untilWaiting(lock, 1);
  assertEquals([first.tryUpgrade(), lock.state().queued], [true, 1]);
  first.downgrade();
  first.release();
  using writer = await writing;
  assertEquals(writer.mode, "write");
});

for (const runtime of runtimes) {
  test(`RwLockGuard: an upgraded reader of ${runtime} that is killed lets go, as does a downgraded writer`, async () => {
    using lock = RwLock.create();
    for (const program of ["lock.readSync().tryUpgrade()", "lock.writeSync().downgrade()"]) {
      await using child = runSync(
        `const lock = RwLock.fromId(Number(args[0])); ${program}; say("in"); await hear();`,
        { args: [lock.id], runtime },
      );
      assertEquals(await child.hear(), "in");
      await child.kill();
      assertEquals(valuesOf(lock), [0, 0, 0]);
    }
  });
}

test("RwLockGuard.downgrade() works when the handle is disposed, or the lock removed", () => {
  using lock = RwLock.create();
  const handle = RwLock.fromId(lock.id);
  using guard = handle.writeSync();
  handle[Symbol.dispose]();
  guard.downgrade();
  assertEquals([guard.mode, lock.state().readers], ["read", 1]);
  assertThrows(() => guard.tryUpgrade(), ReferenceError);
  lock.remove();
  guard.downgrade();
});
