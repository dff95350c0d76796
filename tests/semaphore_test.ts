import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { test } from "node:test";
import process from "node:process";
import { keyOf, Semaphore } from "@sysv/ipc";
import { assertIpcError, assertTimeout } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { removed } from "./support/semaphores.ts";

test("Semaphore.create() makes a private semaphore of value 0", () => {
  using semaphore = Semaphore.create();
  assertEquals(semaphore.value, 0);
  assertEquals(semaphore.key, undefined);
  assertEquals(semaphore.index, 0);
  assert(semaphore.owned);
  assertEquals(semaphore.stat().mode, 0o600);
});

test("Semaphore.create() makes a different private semaphore each time", () => {
  using one = Semaphore.create({ value: 1 });
  using other = Semaphore.create({ value: 2 });
  assertNotEquals(one.id, other.id);
  assertEquals([one.value, other.value], [1, 2]);
});

test("Semaphore.create() starts with any value up to 32767, private or with a key", () => {
  for (const value of [0, 1, 32767]) {
    using unnamed = Semaphore.create({ value });
    using named = Semaphore.create({ key: freshName(), value });
    assertEquals([unnamed.value, named.value], [value, value]);
  }
});

test("Semaphore.create() gives the mode asked for, whatever the umask", () => {
  using unnamed = Semaphore.create({ mode: 0o666 });
  using named = Semaphore.create({ key: freshName(), mode: 0o666 });
  assertEquals([unnamed.stat().mode, named.stat().mode], [0o666, 0o666]);
});

test("Semaphore.create() fails if the key is taken, and leaves the other's alone", () => {
  const key = freshName();
  using first = Semaphore.create({ key, value: 3 });
  const error = assertIpcError(() => Semaphore.create({ key, value: 9 }), "EEXIST", "semget");
  assertEquals(error.key, keyOf(key));
  assertEquals(first.value, 3);
});

test("Semaphore.open() finds by name and by number, and does not own", () => {
  const key = freshName();
  using created = Semaphore.create({ key, value: 2 });
  {
    using byName = Semaphore.open(key);
    using byNumber = Semaphore.open(keyOf(key));
    assertEquals([byName.id, byNumber.id], [created.id, created.id]);
    assertEquals([byName.key, byNumber.key], [keyOf(key), keyOf(key)]);
    assertEquals([byName.owned, byNumber.owned], [false, false]);
  }
  assertEquals(created.value, 2);
});

test("Semaphore.open() fails if there is none", () => {
  assertIpcError(() => Semaphore.open(freshName()), "ENOENT", "semget");
});

test("Semaphore.openOrCreate() creates, then opens and leaves the value alone", () => {
  const key = freshName();
  using created = Semaphore.openOrCreate(key, { value: 5, mode: 0o640 });
  using _ = removing(created);
  assertEquals([created.value, created.owned, created.stat().mode], [5, false, 0o640]);
  created.decrementSync();
  using opened = Semaphore.openOrCreate(key, { value: 5 });
  assertEquals([opened.id, opened.value, opened.owned], [created.id, 4, false]);
});

test("Semaphore.openOrCreate() creates anew what was removed", () => {
  const key = freshName();
  using old = Semaphore.openOrCreate(key, { value: 1 });
  old.remove();
  using renewed = Semaphore.openOrCreate(key, { value: 2 });
  using _ = removing(renewed);
  assertNotEquals(renewed.id, old.id);
  assertEquals(renewed.value, 2);
  assertIpcError(() => old.value, "EIDRM", "semctl");
});

test("Semaphore.fromId() takes the number that another handed over, and does not own", () => {
  using created = Semaphore.create({ value: 7 });
  {
    using taken = Semaphore.fromId(created.id);
    assertEquals([taken.value, taken.key, taken.owned], [7, undefined, false]);
  }
  assertEquals(created.value, 7);
});

test("Semaphore.fromId() tells the key of a semaphore that has one", () => {
  const key = freshName();
  using created = Semaphore.create({ key });
  using taken = Semaphore.fromId(created.id);
  assertEquals(taken.key, keyOf(key));
});

test("Semaphore.fromId() fails if the semaphore is gone", () => {
  const { id } = removed(Semaphore.create());
  const error = assertIpcError(() => Semaphore.fromId(id), "EIDRM", "semctl");
  assertEquals(error.id, id);
});

test("Semaphore.increment() adds one, or as many as asked", () => {
  using semaphore = Semaphore.create();
  semaphore.increment();
  assertEquals(semaphore.value, 1);
  semaphore.increment(32766);
  assertEquals(semaphore.value, 32767);
});

test("Semaphore.increment() fails beyond 32767 and changes nothing", () => {
  using semaphore = Semaphore.create({ value: 32767 });
  assertIpcError(() => semaphore.increment(), "ERANGE", "semop");
  assertEquals(semaphore.value, 32767);
});

test("Semaphore.decrementSync() subtracts one, or as many as asked", () => {
  using semaphore = Semaphore.create({ value: 32767 });
  semaphore.decrementSync();
  assertEquals(semaphore.value, 32766);
  semaphore.decrementSync(32766);
  assertEquals(semaphore.value, 0);
});

test("Semaphore.tryDecrement() tells whether the value was large enough", () => {
  using semaphore = Semaphore.create({ value: 3 });
  assertEquals(semaphore.tryDecrement(2), true);
  assertEquals(semaphore.tryDecrement(2), false);
  assertEquals(semaphore.value, 1);
  assertEquals(semaphore.tryDecrement(), true);
  assertEquals(semaphore.tryDecrement(), false);
});

test("Semaphore.waitForZeroSync() goes on at 0 and waits above", () => {
  using semaphore = Semaphore.create();
  semaphore.waitForZeroSync();
  semaphore.increment();
  assertTimeout(() => semaphore.waitForZeroSync({ timeout: 0 }));
  assertEquals(semaphore.value, 1);
});

test("Semaphore.waitForAtLeastSync() goes on at that value and changes nothing", () => {
  using semaphore = Semaphore.create({ value: 4 });
  semaphore.waitForAtLeastSync(4);
  assertTimeout(() => semaphore.waitForAtLeastSync(5, { timeout: 0 }));
  assertEquals(semaphore.value, 4);
});

test("Semaphore.value can be set", () => {
  using semaphore = Semaphore.create();
  for (const value of [32767, 0, 5]) {
    semaphore.value = value;
    assertEquals(semaphore.value, value);
  }
});

test("Semaphore.lastPid names the process that operated last, even when it has ended", async () => {
  using semaphore = Semaphore.create();
  semaphore.increment();
  assertEquals(semaphore.lastPid, process.pid);
  await using child = run(`Semaphore.fromId(Number(args[0])).increment();`, {
    args: [semaphore.id],
  });
  child.end();
  await child.exit;
  assertEquals(semaphore.lastPid, child.pid);
});

test("Semaphore.stat() is a frozen snapshot in plain words", () => {
  const key = freshName();
  // The kernel tells whole seconds of a clock that lags a little.
  const before = Math.floor(Date.now() / 1000) * 1000 - 1000;
  using semaphore = Semaphore.create({ key, mode: 0o640 });
  const info = semaphore.stat();
  const { uid, gid } = { uid: process.geteuid!(), gid: process.getegid!() };
  const { lastChange, lastOperation: _, ...rest } = info;
  assertEquals(rest, {
    id: semaphore.id,
    key: keyOf(key),
    uid,
    gid,
    creatorUid: uid,
    creatorGid: gid,
    mode: 0o640,
    size: 1,
  });
  assert(lastChange.getTime() >= before && lastChange.getTime() <= Date.now());
  assert(Object.isFrozen(info));
});

test("Semaphore.stat() tells the last operation: undefined for never, and waiting for zero is one", () => {
  using semaphore = Semaphore.create({ value: 1 });
  assertEquals(semaphore.tryDecrement(2), false);
  assertEquals(semaphore.stat().lastOperation, undefined);
  semaphore.value = 0;
  assertEquals(semaphore.stat().lastOperation, undefined);
  semaphore.waitForZeroSync();
  assert(semaphore.stat().lastOperation instanceof Date);
});

test("Semaphore.setPermissions() changes what it is given and leaves the rest", () => {
  using semaphore = Semaphore.create({ value: 3 });
  const before = semaphore.stat();
  semaphore.setPermissions({ mode: 0o644 });
  const after = semaphore.stat();
  assertEquals({ ...after, lastChange: 0 }, { ...before, mode: 0o644, lastChange: 0 });
  assertEquals(semaphore.value, 3);
});

test("Semaphore.remove() removes at once, whoever owns", () => {
  using owner = Semaphore.create();
  using other = Semaphore.fromId(owner.id);
  other.remove();
  assertIpcError(() => Semaphore.fromId(owner.id), "EIDRM", "semctl");
});

test("Disposing removes the semaphore if the handle created it", () => {
  const semaphore = Semaphore.create();
  semaphore[Symbol.dispose]();
  assertIpcError(() => Semaphore.fromId(semaphore.id), "EIDRM", "semctl");
});

test("Disposing leaves the semaphore of a creator that does not want to own it", () => {
  const semaphore = Semaphore.create({ value: 4, owner: false });
  assertEquals(semaphore.owned, false);
  semaphore[Symbol.dispose]();
  using found = Semaphore.fromId(semaphore.id);
  using _ = removing(found);
  assertEquals(found.value, 4);
});

test("Disposing twice does nothing, and so does disposing what is removed", () => {
  const semaphore = Semaphore.create();
  semaphore[Symbol.dispose]();
  semaphore[Symbol.dispose]();
  removed(Semaphore.create())[Symbol.dispose]();
  const goneMeanwhile = Semaphore.create();
  Semaphore.fromId(goneMeanwhile.id).remove();
  goneMeanwhile[Symbol.dispose]();
});

test("Disposing twice does not remove another semaphore of the same key", () => {
  const key = freshName();
  const old = Semaphore.create({ key });
  old[Symbol.dispose]();
  using renewed = Semaphore.create({ key, value: 6 });
  old[Symbol.dispose]();
  assertEquals(renewed.value, 6);
});
