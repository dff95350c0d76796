import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import process from "node:process";
import { keyOf, Permit, Semaphore } from "@sysv/ipc";
import { assertIpcError, assertTimeout } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { until } from "./support/time.ts";

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

test("Semaphore.acquireSync() takes a permit, which using releases", () => {
  using semaphore = Semaphore.create({ value: 3 });
  {
    using permit = semaphore.acquireSync(2);
    assert(permit instanceof Permit);
    assertEquals([permit.count, semaphore.value], [2, 1]);
    using single = semaphore.acquireSync();
    assertEquals([single.count, semaphore.value], [1, 0]);
  }
  assertEquals(semaphore.value, 3);
});

test("Semaphore.tryAcquire() gives undefined when the value is too small", () => {
  using semaphore = Semaphore.create({ value: 2 });
  assertEquals(semaphore.tryAcquire(3), undefined);
  assertEquals(semaphore.value, 2);
  using permit = semaphore.tryAcquire(2);
  assertEquals([permit?.count, semaphore.value], [2, 0]);
  assertEquals(semaphore.tryAcquire(), undefined);
});

test("Semaphore.value can be set", () => {
  using semaphore = Semaphore.create();
  for (const value of [32767, 0, 5]) {
    semaphore.value = value;
    assertEquals(semaphore.value, value);
  }
});

const waits = {
  "decrementSync()": { start: 1, wait: "decrementSync(3)", wake: "increment(2)", left: 0 },
  "acquireSync()": {
    start: 1,
    wait: "acquireSync(3, { undo: false })",
    wake: "increment(2)",
    left: 0,
  },
  "waitForAtLeastSync()": {
    start: 1,
    wait: "waitForAtLeastSync(3)",
    wake: "increment(2)",
    left: 3,
  },
  "waitForZeroSync()": { start: 2, wait: "waitForZeroSync()", wake: "decrementSync(2)", left: 0 },
};

for (const [method, { start, wait, wake, left }] of Object.entries(waits)) {
  test(`Semaphore.${method} waits until another process makes it possible`, async () => {
    using semaphore = Semaphore.create({ value: start });
    await using child = run(`Semaphore.fromId(Number(args[0])).${wait}; say("on");`, {
      args: [semaphore.id],
    });
    await until(() => isWaitedFor(semaphore));
    assertEquals(semaphore.value, start);
    if (wake === "increment(2)") semaphore.increment(2);
    else semaphore.decrementSync(2);
    assertEquals(await child.hear(), "on");
    assertEquals(semaphore.value, left);
    assert(!isWaitedFor(semaphore));
  });

  test(`Semaphore.${method} gives up when the time is up, with nothing changed`, () => {
    using semaphore = Semaphore.create({ value: start });
    const calls: Record<string, (timeout: number) => unknown> = {
      "decrementSync()": (timeout) => semaphore.decrementSync(3, { timeout }),
      "acquireSync()": (timeout) => semaphore.acquireSync(3, { timeout }),
      "waitForAtLeastSync()": (timeout) => semaphore.waitForAtLeastSync(3, { timeout }),
      "waitForZeroSync()": (timeout) => semaphore.waitForZeroSync({ timeout }),
    };
    for (const timeout of [0, 0.5, 20]) {
      const begin = performance.now();
      assertTimeout(() => calls[method]!(timeout));
      assert(performance.now() - begin >= timeout);
    }
    assertEquals(semaphore.value, start);
    assert(!isWaitedFor(semaphore));
  });

  test(`Semaphore.${method} ends with EIDRM when another process removes the semaphore`, async () => {
    using semaphore = Semaphore.create({ value: start });
    await using child = run(
      `
      try {
        Semaphore.fromId(Number(args[0])).${wait};
      } catch (error) {
        say(error.code);
      }
    `,
      { args: [semaphore.id] },
    );
    await until(() => isWaitedFor(semaphore));
    semaphore.remove();
    assertEquals(await child.hear(), "EIDRM");
  });

  test(`Semaphore.${method} ends with EINTR when the program handles a signal`, async () => {
    using semaphore = Semaphore.create({ value: start });
    await using child = run(
      `
      process.on("SIGUSR2", () => say("handled"));
      try {
        Semaphore.fromId(Number(args[0])).${wait};
      } catch (error) {
        say(error.code);
      }
      await hear();
    `,
      { args: [semaphore.id] },
    );
    await until(() => isWaitedFor(semaphore));
    process.kill(child.pid, "SIGUSR2");
    assertEquals(await child.hear(), "EINTR");
    assertEquals(await child.hear(), "handled");
    assertEquals(semaphore.value, start);
  });
}

test("Semaphore takes a timeout of Infinity for none, and a huge one for what it is", async () => {
  using semaphore = Semaphore.create({ value: 2 });
  semaphore.decrementSync(1, { timeout: Infinity });
  semaphore.decrementSync(1, { timeout: undefined });
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    semaphore.decrementSync(1, { timeout: Number.MAX_VALUE });
    say("on");
  `,
    { args: [semaphore.id] },
  );
  await until(() => isWaitedFor(semaphore));
  semaphore.increment();
  assertEquals(await child.hear(), "on");
});

test("Semaphore serves a small wait before a large one that came earlier", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  await using large = run(`Semaphore.fromId(Number(args[0])).decrementSync(3); say("on");`, {
    args: [semaphore.id],
  });
  await until(() => isWaitedFor(semaphore));
  assert(semaphore.tryDecrement());
  semaphore.increment(3);
  assertEquals(await large.hear(), "on");
});

test("Semaphore.waiting counts who waits for what", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  assertEquals(semaphore.waiting, { forIncrease: 0, forZero: 0 });
  const program = `
    const semaphore = Semaphore.fromId(Number(args[0]));
    if (args[1] === "zero") semaphore.waitForZeroSync();
    else semaphore.decrementSync(9);
  `;
  await using _zero = run(program, { args: [semaphore.id, "zero"] });
  await using one = run(program, { args: [semaphore.id, "increase"] });
  await using _two = run(program, { args: [semaphore.id, "increase"] });
  await until(() => semaphore.waiting.forIncrease === 2 && semaphore.waiting.forZero === 1);
  await one.kill();
  assertEquals(semaphore.waiting, { forIncrease: 1, forZero: 1 });
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

const uses: Record<string, [use: (semaphore: Semaphore) => unknown, syscall: string]> = {
  "value": [(semaphore) => semaphore.value, "semctl"],
  "value =": [(semaphore) => semaphore.value = 1, "semctl"],
  "waiting": [(semaphore) => semaphore.waiting, "semctl"],
  "lastPid": [(semaphore) => semaphore.lastPid, "semctl"],
  "increment()": [(semaphore) => semaphore.increment(), "semop"],
  "decrementSync()": [(semaphore) => semaphore.decrementSync(), "semop"],
  "tryDecrement()": [(semaphore) => semaphore.tryDecrement(), "semop"],
  "waitForZeroSync()": [(semaphore) => semaphore.waitForZeroSync(), "semop"],
  "waitForAtLeastSync()": [(semaphore) => semaphore.waitForAtLeastSync(1), "semop"],
  "acquireSync()": [(semaphore) => semaphore.acquireSync(), "semop"],
  "tryAcquire()": [(semaphore) => semaphore.tryAcquire(), "semop"],
  "stat()": [(semaphore) => semaphore.stat(), "semctl"],
  "setPermissions()": [(semaphore) => semaphore.setPermissions({ mode: 0o600 }), "semctl"],
  "remove()": [(semaphore) => semaphore.remove(), "semctl"],
};

for (const [name, [use, syscall]] of Object.entries(uses)) {
  test(`Semaphore.${name} throws EIDRM when another has removed the semaphore`, () => {
    using semaphore = Semaphore.create();
    Semaphore.fromId(semaphore.id).remove();
    const error = assertIpcError(() => use(semaphore), "EIDRM", syscall);
    assertEquals(error.id, semaphore.id);
  });

  test(`Semaphore.${name} throws EIDRM when this handle has removed the semaphore`, () => {
    using semaphore = Semaphore.create();
    semaphore.remove();
    assertEquals(assertThrows(() => use(semaphore)).code, "EIDRM");
  });

  test(`Semaphore.${name} throws ReferenceError when the handle is disposed`, () => {
    using semaphore = Semaphore.create();
    const other = Semaphore.fromId(semaphore.id);
    other[Symbol.dispose]();
    assertThrows(() => use(other), ReferenceError);
    assertEquals(semaphore.value, 0);
  });
}

test("Permit.release() gives back once", () => {
  using semaphore = Semaphore.create({ value: 5 });
  {
    using permit = semaphore.acquireSync(2);
    permit.release();
    assertEquals(semaphore.value, 5);
    permit.release();
  }
  assertEquals(semaphore.value, 5);
});

test("Permit.release() gives back what was tried for, too", () => {
  using semaphore = Semaphore.create({ value: 5 });
  semaphore.tryAcquire(4)?.release();
  assertEquals(semaphore.value, 5);
});

test("Permit.release() works after the handle is disposed", () => {
  using semaphore = Semaphore.create({ value: 1 });
  const other = Semaphore.fromId(semaphore.id);
  const permit = other.acquireSync();
  other[Symbol.dispose]();
  assertEquals(semaphore.value, 0);
  permit.release();
  assertEquals(semaphore.value, 1);
});

test("Permit.release() does nothing once the semaphore is removed", () => {
  const semaphore = Semaphore.create({ value: 3 });
  using _disposedLater = semaphore.acquireSync();
  const permit = semaphore.acquireSync();
  semaphore.remove();
  permit.release();
  using disposed = Semaphore.create({ value: 1 });
  const orphan = disposed.acquireSync();
  disposed[Symbol.dispose]();
  orphan.release();
});

test("Permit.release() fails when others have filled the semaphore, and can be repeated", () => {
  using semaphore = Semaphore.create({ value: 32767 });
  using permit = semaphore.acquireSync();
  semaphore.increment();
  assertIpcError(() => permit.release(), "ERANGE", "semop");
  semaphore.decrementSync();
  permit.release();
  assertEquals(semaphore.value, 32767);
});

test("Permit.release() matches the undo of its acquire however often, so nothing drifts", () => {
  using semaphore = Semaphore.create({ value: 1 });
  for (const undo of [true, false, undefined]) {
    for (let i = 0; i < 33_000; i++) {
      semaphore.acquireSync(1, { undo }).release();
    }
  }
  assertEquals(semaphore.value, 1);
});

test("Semaphore fails with ERANGE when the undo of a process would leave its range", async () => {
  using semaphore = Semaphore.create();
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    semaphore.increment(32767, { undo: true });
    semaphore.decrementSync(32767);
    semaphore.increment(1, { undo: true });
    semaphore.decrementSync(1);
    try {
      semaphore.increment(1, { undo: true });
    } catch (error) {
      say([error.code, error.syscall, semaphore.value].join());
    }
  `,
    { args: [semaphore.id] },
  );
  assertEquals(await child.hear(), "ERANGE,semop,0");
});

type Wrong = readonly [
  call: string,
  use: (semaphore: Semaphore) => unknown,
  type: typeof RangeError | typeof TypeError,
];

/** Calls as a program in JavaScript makes them. */
const untyped = (value: unknown) => value as number;

const amounts: [string, (semaphore: Semaphore, amount: number) => unknown][] = [
  ["increment", (semaphore, amount) => semaphore.increment(amount)],
  ["decrementSync", (semaphore, amount) => semaphore.decrementSync(amount)],
  ["tryDecrement", (semaphore, amount) => semaphore.tryDecrement(amount)],
  ["waitForAtLeastSync", (semaphore, amount) => semaphore.waitForAtLeastSync(amount)],
  ["acquireSync", (semaphore, amount) => semaphore.acquireSync(amount)],
  ["tryAcquire", (semaphore, amount) => semaphore.tryAcquire(amount)],
];

const timeouts: [string, (semaphore: Semaphore, timeout: number) => unknown][] = [
  ["decrementSync", (semaphore, timeout) => semaphore.decrementSync(1, { timeout })],
  ["waitForAtLeastSync", (semaphore, timeout) => semaphore.waitForAtLeastSync(1, { timeout })],
  ["waitForZeroSync", (semaphore, timeout) => semaphore.waitForZeroSync({ timeout })],
  ["acquireSync", (semaphore, timeout) => semaphore.acquireSync(1, { timeout })],
];

const wrong: Wrong[] = [
  ...amounts.flatMap((
    [method, use],
  ) => [
    ...[0, -1, 1.5, NaN, Infinity, 32768, 65537].map((
      amount,
    ): Wrong => [`${method}(${amount})`, (semaphore) => use(semaphore, amount), RangeError]),
    ...["1", null, 1n].map((
      amount,
    ): Wrong => [
      `${method}(${typeof amount})`,
      (semaphore) => use(semaphore, untyped(amount)),
      TypeError,
    ]),
  ]),
  ...timeouts.flatMap((
    [method, use],
  ): Wrong[] => [[`${method}() for -1 ms`, (semaphore) => use(semaphore, -1), RangeError], [
    `${method}() for NaN ms`,
    (semaphore) => use(semaphore, NaN),
    RangeError,
  ], [`${method}() for "5" ms`, (semaphore) => use(semaphore, untyped("5")), TypeError]]),
  ...[-1, 32768, 0.5, NaN].map((
    value,
  ): Wrong => [`value = ${value}`, (semaphore) => semaphore.value = value, RangeError]),
  ["value = string", (semaphore) => semaphore.value = untyped("1"), TypeError],
  ...[-1, 0o1000, 0.5, NaN].map((
    mode,
  ): Wrong => [
    `setPermissions() to mode ${mode}`,
    (semaphore) => semaphore.setPermissions({ mode }),
    RangeError,
  ]),
  ["setPermissions() to user -1", (semaphore) => semaphore.setPermissions({ uid: -1 }), RangeError],
  [
    "setPermissions() to group -1",
    (semaphore) => semaphore.setPermissions({ gid: -1 }),
    RangeError,
  ],
];

test("Semaphore refuses wrong arguments before any system call", () => {
  using semaphore = Semaphore.create();
  // Any call would fail with EIDRM now.
  Semaphore.fromId(semaphore.id).remove();
  for (const [call, use, type] of wrong) {
    assertThrows(() => use(semaphore), type, "Cannot", `${call} was not refused`);
  }
});

test("Semaphore.create() refuses wrong arguments", () => {
  for (const value of [-1, 32768, 0.5, NaN]) {
    assertThrows(() => Semaphore.create({ value }), RangeError);
    assertThrows(() => Semaphore.openOrCreate("never made", { value }), RangeError);
  }
  for (const mode of [-1, 0o1000, 0.5, NaN]) {
    assertThrows(() => Semaphore.create({ mode }), RangeError);
    assertThrows(() => Semaphore.openOrCreate("never made", { mode }), RangeError);
  }
  assertThrows(() => Semaphore.create({ value: untyped("1") }), TypeError);
  assertThrows(() => Semaphore.create({ mode: untyped("600") }), TypeError);
  assertIpcError(() => Semaphore.open("never made"), "ENOENT", "semget");
});

test("Semaphore refuses wrong keys and identifiers", () => {
  for (const key of [0, 0.5, NaN, 2 ** 32, -(2 ** 31) - 1]) {
    assertThrows(() => Semaphore.create({ key }), RangeError);
    assertThrows(() => Semaphore.open(key), RangeError);
    assertThrows(() => Semaphore.openOrCreate(key), RangeError);
  }
  for (const key of ["", null, {}]) {
    assertThrows(() => Semaphore.open(untyped(key)), TypeError);
  }
  for (const id of [-1, 0.5, NaN, 2 ** 31]) {
    assertThrows(() => Semaphore.fromId(id), RangeError);
  }
  assertThrows(() => Semaphore.fromId(untyped("1")), TypeError);
});

function isWaitedFor(semaphore: Semaphore): boolean {
  const { forIncrease, forZero } = semaphore.waiting;
  return forIncrease + forZero > 0;
}

function removed(semaphore: Semaphore): Semaphore {
  semaphore.remove();
  return semaphore;
}
