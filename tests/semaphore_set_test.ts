import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  IpcError,
  keyOf,
  Semaphore,
  type SemaphoreOperation,
  SemaphoreSet,
  type SetKind,
} from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import { assertIpcError, assertTimeout } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { onlyUnshared, privileges } from "./support/privilege.ts";
import { until } from "./support/time.ts";

test("SemaphoreSet.create() makes as many semaphores as there are values", () => {
  using set = SemaphoreSet.create({ values: [3, 0, 32767] });
  assertEquals([set.size, set.values], [3, [3, 0, 32767]]);
  assertEquals([set.key, set.owned, set.stat().size], [undefined, true, 3]);
});

test("SemaphoreSet.create() with a key is found by open() and openOrCreate(), which leave the values", () => {
  const key = freshName();
  using created = SemaphoreSet.create({ key, values: [1, 2] });
  using opened = SemaphoreSet.open(key);
  using same = SemaphoreSet.openOrCreate(key, { values: [8, 9] });
  using taken = SemaphoreSet.fromId(created.id);
  for (const set of [created, opened, same, taken]) {
    assertEquals([set.id, set.size, set.values, set.key], [created.id, 2, [1, 2], keyOf(key)]);
    assertEquals(set.owned, set === created);
  }
});

test("SemaphoreSet.openOrCreate() takes a set that is larger, and refuses a smaller one", () => {
  const key = freshName();
  using created = SemaphoreSet.create({ key, values: [1, 2] });
  using larger = SemaphoreSet.openOrCreate(key, { values: [0] });
  assertEquals(larger.values, [1, 2]);
  assertIpcError(() => SemaphoreSet.openOrCreate(key, { values: [0, 0, 0] }), "EINVAL", "semget");
  assertEquals(created.values, [1, 2]);
});

test("SemaphoreSet begins with a key as many values as one semop can set, and else makes nothing", () => {
  const { semopm } = libc.semctl(0, 0, libc.IPC_INFO);
  const most = Array(semopm - 2).fill(1);
  const key = freshName();
  const values = [...most, 1];
  for (
    const make of [
      () => SemaphoreSet.create({ key, values }),
      () => SemaphoreSet.openOrCreate(key, { values }),
    ]
  ) {
    assertStringIncludes(assertIpcError(make, "E2BIG", "semop").message, "SEMOPM");
    assertIpcError(() => SemaphoreSet.open(key), "ENOENT", "semget");
  }
  using set = SemaphoreSet.openOrCreate(key, { values: most });
  using _ = removing(set);
  assertEquals(set.values, most);
});

test(
  "SemaphoreSet begins with a key where one semop takes few operations",
  onlyUnshared,
  async () => {
    await using child = run(
      `${privileges}
    leaveNamespace();
    limit("sem", "250 32000 5 100");
    say(SemaphoreSet.openOrCreate("set", { values: [1, 0, 2, 0, 3] }).values);
    say(failure(() => SemaphoreSet.openOrCreate("other", { values: [1, 2, 3, 4] })));
  `,
      { permissions: ["--allow-all"] },
    );
    assertEquals(await child.hear(), "1,0,2,0,3");
    assertEquals(await child.hear(), "E2BIG semop");
  },
);

test("SemaphoreSet.create() makes large sets, private or with a key", () => {
  const values = Array.from({ length: 2000 }, (_, index) => index % 5 === 0 ? 7 : 0);
  using unnamed = SemaphoreSet.create({ values });
  using named = SemaphoreSet.create({ key: freshName(), values });
  assertEquals([unnamed.values, named.values], [values, values]);
});

test("SemaphoreSet.create() fails if the system allows no set as large", () => {
  const { semmsl } = libc.semctl(0, 0, libc.IPC_INFO);
  const values = Array(semmsl).fill(0);
  assertIpcError(() => SemaphoreSet.create({ values }), "EINVAL", "semget");
  using _set = SemaphoreSet.create({ values: values.slice(1) });
});

test("SemaphoreSet.tryOperate() does all or nothing", () => {
  using set = SemaphoreSet.create({ values: [1, 0] });
  const move = [{ index: 0, delta: -1 }, { index: 1, delta: 1 }];
  assertEquals(set.tryOperate(move), true);
  assertEquals(set.values, [0, 1]);
  assertEquals(set.tryOperate(move), false);
  assertEquals(set.tryOperate(move.toReversed()), false);
  assertEquals(set.values, [0, 1]);
});

test("SemaphoreSet.tryOperate() tries the operations in order", () => {
  using set = SemaphoreSet.create({ values: [0] });
  assertEquals(set.tryOperate([{ delta: -5 }, { delta: 10 }]), false);
  assertEquals(set.values, [0]);
  assertEquals(set.tryOperate([{ delta: 10 }, { delta: -5 }]), true);
  assertEquals(set.values, [5]);
  assertEquals(set.tryOperate([{ delta: -5 }, { delta: 0 }, { delta: 2 }]), true);
  assertEquals(set.values, [2]);
});

test("SemaphoreSet.tryOperate() makes a lock of a wait for zero and an increment", () => {
  using set = SemaphoreSet.create({ values: [0] });
  const lock = [{ delta: 0 }, { delta: 1, undo: true }];
  assertEquals([set.tryOperate(lock), set.tryOperate(lock)], [true, false]);
  set.operateSync([{ delta: -1, undo: true }]);
  assertEquals(set.tryOperate(lock), true);
});

test("SemaphoreSet.operateSync() waits until all can happen, and nobody sees it half done", async () => {
  using set = SemaphoreSet.create({ values: [1, 0, 0] });
  await using child = run(
    `
    SemaphoreSet.fromId(Number(args[0])).operateSync([
      { index: 0, delta: -1 }, { index: 1, delta: -1 }, { index: 2, delta: 5 },
    ]);
    say("on");
  `,
    { args: [set.id] },
  );
  await until(() => set.at(1).waiting.forIncrease === 1);
  assertEquals(set.values, [1, 0, 0]);
  assert(set.at(0).tryDecrement());
  set.at(1).increment();
  await until(() => set.at(0).waiting.forIncrease === 1);
  assertEquals(set.values, [0, 1, 0]);
  set.at(0).increment();
  assertEquals(await child.hear(), "on");
  assertEquals(set.values, [0, 0, 5]);
});

test("SemaphoreSet.operateSync() gives up when the time is up, with nothing changed", () => {
  using set = SemaphoreSet.create({ values: [1, 0] });
  const operations = [{ index: 0, delta: -1, undo: true }, { index: 1, delta: -1, undo: true }];
  for (const timeout of [0, 20]) {
    const begin = performance.now();
    assertTimeout(() => set.operateSync(operations, { timeout }));
    assert(performance.now() - begin >= timeout);
  }
  assertEquals(set.values, [1, 0]);
});

test("SemaphoreSet.operateSync() ends with EIDRM when another process removes the set", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  await using child = run(
    `
    try {
      SemaphoreSet.fromId(Number(args[0])).operateSync([{ index: 1, delta: -1 }]);
    } catch (error) {
      say(error.code + " " + error.syscall);
    }
  `,
    { args: [set.id] },
  );
  await until(() => set.at(1).waiting.forIncrease === 1);
  set.remove();
  assertMatch(await child.hear(), /^EIDRM sem/);
});

test("SemaphoreSet.operateSync() takes as many operations as the system allows, and no more", () => {
  const { semopm } = libc.semctl(0, 0, libc.IPC_INFO);
  using set = SemaphoreSet.create({ values: [0] });
  const operations = Array<SemaphoreOperation>(semopm).fill({ delta: 1 });
  set.operateSync(operations);
  assertEquals(set.values, [semopm]);
  operations.push({ delta: 1 });
  for (const operate of [() => set.operateSync(operations), () => set.tryOperate(operations)]) {
    const error = assertIpcError(operate, "E2BIG", "semop");
    assertStringIncludes(error.message, "SEMOPM");
  }
  assertEquals(set.values, [semopm]);
});

test("SemaphoreSet.tryOperate() fails with ERANGE beyond 32767 and changes nothing", () => {
  using set = SemaphoreSet.create({ values: [5, 32767] });
  const operations = [{ index: 0, delta: -5 }, { index: 1, delta: 1 }];
  assertIpcError(() => set.tryOperate(operations), "ERANGE", "semop");
  assertIpcError(() => set.operateSync(operations), "ERANGE", "semop");
  assertEquals(set.values, [5, 32767]);
});

test("SemaphoreSet refuses an index that the kernel would answer with EFBIG", () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  assertIpcError(() => libc.semop(set.id, [[3, 1]]), "EFBIG", "semop");
  // The semaphore after the last is the tag.
  for (const index of [2, 3, -1, 65536]) {
    assertThrows(() => set.tryOperate([{ index: 0, delta: 1 }, { index, delta: 1 }]), RangeError);
  }
  assertEquals(set.values, [0, 0]);
});

test("SemaphoreSet.values can be set, all at one moment", () => {
  using set = SemaphoreSet.create({ values: [1, 2] });
  set.values = [32767, 0];
  assertEquals(set.values, [32767, 0]);
  using again = SemaphoreSet.fromId(set.id);
  assertEquals([again.size, again.values], [2, [32767, 0]]);
});

test("SemaphoreSet.values wakes who waits when it is set", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  await using child = run(
    `SemaphoreSet.fromId(Number(args[0])).at(1).decrementSync(2); say("on");`,
    { args: [set.id] },
  );
  await until(() => set.at(1).waiting.forIncrease === 1);
  set.values = [4, 3];
  assertEquals(await child.hear(), "on");
  assertEquals(set.values, [4, 1]);
});

test("SemaphoreSet.values gives an array of its own", () => {
  using set = SemaphoreSet.create({ values: [1, 2] });
  const { values } = set;
  values[0] = 9;
  assertEquals(set.values, [1, 2]);
});

test("SemaphoreSet.at() gives a semaphore that changes no other", () => {
  using set = SemaphoreSet.create({ values: [1, 1, 1] });
  const middle = set.at(1);
  assertEquals([middle.index, middle.id, middle.owned], [1, set.id, false]);
  middle.increment(4);
  assertEquals(set.values, [1, 5, 1]);
  {
    using _permit = middle.acquireSync(3);
    assertEquals(set.values, [1, 2, 1]);
  }
  middle.value = 0;
  middle.waitForZeroSync();
  assertEquals(set.values, [1, 0, 1]);
  assertEquals([set.at(0).value, set.at(2).tryDecrement()], [1, true]);
});

test("SemaphoreSet.at() gives a semaphore whose disposal ends nothing", () => {
  using set = SemaphoreSet.create({ values: [1, 2] });
  {
    using semaphore = set.at(1);
    assertEquals(semaphore.value, 2);
  }
  assertEquals([set.values, set.at(1).value], [[1, 2], 2]);
});

test("SemaphoreSet.at() gives a semaphore that ends with its set", () => {
  const set = SemaphoreSet.create({ values: [1] });
  const semaphore = set.at(0);
  set[Symbol.dispose]();
  assertThrows(() => semaphore.value, ReferenceError);
  assertThrows(() => set.at(0), ReferenceError);
});

test("SemaphoreSet.at() gives a semaphore whose removal removes the set", () => {
  using set = SemaphoreSet.create({ values: [1, 2] });
  set.at(1).remove();
  assertIpcError(() => set.values, "EIDRM", "semctl");
  assertIpcError(() => SemaphoreSet.fromId(set.id), "EIDRM", "semctl");
});

test("SemaphoreSet.at() gives a semaphore that waits and counts waiters by itself", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  await using _child = run(`SemaphoreSet.fromId(Number(args[0])).at(1).decrementSync();`, {
    args: [set.id],
  });
  await until(() => set.at(1).waiting.forIncrease === 1);
  assertEquals(set.at(0).waiting, { forIncrease: 0, forZero: 0 });
  assertTimeout(() => set.at(0).decrementSync(1, { timeout: 1 }));
});

test("Semaphore.open() takes the first of a set", () => {
  const key = freshName();
  using set = SemaphoreSet.create({ key, values: [4, 5] });
  using first = Semaphore.open(key);
  assertEquals([first.index, first.value], [0, 4]);
  assertEquals(set.values, [4, 5]);
});

test("SemaphoreSet hides the tag, which others see as one semaphore more", () => {
  using unnamed = SemaphoreSet.create({ values: [1, 2] });
  using named = SemaphoreSet.create({ key: freshName(), values: [1, 2] });
  for (const set of [unnamed, named]) {
    assertEquals([set.size, set.values], [2, [1, 2]]);
    assertEquals(libc.semctl(set.id, 0, libc.GETALL), [1, 2, 0x5356]);
    assertEquals(libc.semctl(set.id, 0, libc.IPC_STAT).sem_perm.mode & 0o777, 0o600);
  }
});

const kinds: readonly SetKind[] = [
  "mutex",
  "rwlock",
  "latch",
  "event",
  "barrier",
  "gauge",
  "bulkhead",
  "leader",
];

test("SemaphoreSet.create() makes sets of any kind, which are opened as that kind only", () => {
  for (const kind of kinds) {
    const key = freshName();
    using created = SemaphoreSet.create({ key, kind, values: [1, 2] });
    using opened = SemaphoreSet.open(key, { kind });
    using same = SemaphoreSet.openOrCreate(key, { kind, values: [0, 0] });
    using taken = SemaphoreSet.fromId(created.id, { kind });
    for (const set of [opened, same, taken]) assertEquals(set.values, [1, 2]);
    const refused = [
      () => SemaphoreSet.open(key),
      () => SemaphoreSet.openOrCreate(key, { values: [0, 0] }),
      () => SemaphoreSet.fromId(created.id),
      () => Semaphore.open(key),
      () => Semaphore.openOrCreate(key),
    ];
    for (const open of refused) {
      const { message } = assertIpcError(open, "EINVAL", "semget");
      assertStringIncludes(message, kind === "event" ? "it is an event" : `it is a ${kind}`);
    }
    assertEquals(created.values, [1, 2]);
  }
});

test("SemaphoreSet tells two kinds apart, and a plain set from both", () => {
  using mutex = SemaphoreSet.create({ kind: "mutex", values: [1] });
  using plain = SemaphoreSet.create({ values: [1] });
  for (const set of [mutex, plain]) {
    assertIpcError(() => SemaphoreSet.fromId(set.id, { kind: "latch" }), "EINVAL", "semget");
  }
});

test("SemaphoreSet takes a set of another program whole, as it is", () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 3, libc.IPC_CREAT | libc.IPC_EXCL | 0o600);
  using _ = removing(SemaphoreSet.fromId(id));
  libc.semctl(id, 0, libc.SETALL, [4, 5, 6]);
  libc.semop(id, [[0, 1]]);
  const sets = [
    SemaphoreSet.fromId(id),
    SemaphoreSet.open(key),
    SemaphoreSet.openOrCreate(key, { values: [9] }),
    SemaphoreSet.openOrCreate(key, { values: [9, 9, 9] }),
  ];
  for (const set of sets) {
    assertEquals([set.size, set.values, set.stat().size], [3, [5, 5, 6], 3]);
  }
  using set = sets[0]!;
  set.at(2).increment();
  set.operateSync([{ index: 0, delta: -5 }, { index: 2, delta: -7 }]);
  assertEquals(libc.semctl(id, 0, libc.GETALL), [0, 5, 0]);
  set.values = [1, 2, 3];
  assertEquals(libc.semctl(id, 0, libc.GETALL), [1, 2, 3]);
  const error = assertIpcError(() => SemaphoreSet.open(key, { kind: "mutex" }), "EINVAL", "semget");
  assertStringIncludes(error.message, "another program's set");
});

test("SemaphoreSet takes another program's set of one semaphore, even when nobody has used it", () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 1, libc.IPC_CREAT | libc.IPC_EXCL | 0o600);
  using set = SemaphoreSet.open(key);
  using _ = removing(set);
  assertEquals([set.size, set.values], [1, [0]]);
  using semaphore = Semaphore.openOrCreate(key, { value: 5 });
  assertEquals([semaphore.id, semaphore.value], [id, 0]);
});

test("SemaphoreSet.open() takes another program's set that is still all zero, and starts nothing", () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 2, libc.IPC_CREAT | libc.IPC_EXCL | 0o600);
  using set = SemaphoreSet.open(key);
  using _ = removing(set);
  assertEquals([set.size, set.values], [2, [0, 0]]);
  assertEquals(SemaphoreSet.fromId(id).size, 2);
  assertEquals(set.stat().lastOperation, undefined);
});

const uses: Record<string, [use: (set: SemaphoreSet) => unknown, syscall: string]> = {
  "values": [(set) => set.values, "semctl"],
  "values =": [(set) => set.values = [1, 2], "semctl"],
  "operateSync()": [(set) => set.operateSync([{ delta: 1 }]), "semop"],
  "tryOperate()": [(set) => set.tryOperate([{ delta: 1 }]), "semop"],
  "at().value": [(set) => set.at(1).value, "semctl"],
  "stat()": [(set) => set.stat(), "semctl"],
  "setPermissions()": [(set) => set.setPermissions({ mode: 0o600 }), "semctl"],
  "remove()": [(set) => set.remove(), "semctl"],
};

for (const [name, [use, syscall]] of Object.entries(uses)) {
  test(`SemaphoreSet.${name} throws EIDRM when the set is removed`, () => {
    using set = SemaphoreSet.create({ values: [0, 0] });
    SemaphoreSet.fromId(set.id).remove();
    assertIpcError(() => use(set), "EIDRM", syscall);
    using here = SemaphoreSet.create({ values: [0, 0] });
    here.remove();
    const error: IpcError = assertThrows(() => use(here), IpcError);
    assertEquals(error.code, "EIDRM");
  });

  test(`SemaphoreSet.${name} throws ReferenceError when the handle is disposed`, () => {
    using set = SemaphoreSet.create({ values: [0, 0] });
    const other = SemaphoreSet.fromId(set.id);
    other[Symbol.dispose]();
    other[Symbol.dispose]();
    assertThrows(() => use(other), ReferenceError);
    assertEquals(set.values, [0, 0]);
  });
}

test("Disposing removes the set if the handle created it and owns it", () => {
  const owned = SemaphoreSet.create({ values: [1] });
  owned[Symbol.dispose]();
  assertIpcError(() => SemaphoreSet.fromId(owned.id), "EIDRM", "semctl");
  const left = SemaphoreSet.create({ values: [1], owner: false });
  left[Symbol.dispose]();
  using found = SemaphoreSet.fromId(left.id);
  using _ = removing(found);
  assertEquals([found.owned, found.values], [false, [1]]);
});

/** Values as a program in JavaScript hands them over. */
const untyped = (value: unknown) => value as number[] & SemaphoreOperation[] & number;

test("SemaphoreSet refuses wrong arguments before any system call", () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  // Any call would fail with EIDRM now.
  SemaphoreSet.fromId(set.id).remove();
  const operate = [
    (operations: SemaphoreOperation[]) => set.tryOperate(operations),
    (operations: SemaphoreOperation[]) => set.operateSync(operations),
  ];
  for (const call of operate) {
    for (const operations of [[], undefined, {}, "no"]) {
      assertThrows(() => call(untyped(operations)), TypeError);
    }
    for (const delta of [-32768, 32768, 0.5, NaN]) {
      assertThrows(() => call([{ delta }]), RangeError);
    }
    for (const index of [-1, 2, 0.5, NaN]) {
      assertThrows(() => call([{ index, delta: 1 }]), RangeError);
    }
    assertThrows(() => call([{ delta: untyped("1") }]), TypeError);
    assertThrows(() => call(untyped([{}])), TypeError);
  }
  for (const timeout of [-1, NaN]) {
    assertThrows(() => set.operateSync([{ delta: 1 }], { timeout }), RangeError);
  }
  for (const index of [-1, 2, 0.5, NaN]) assertThrows(() => set.at(index), RangeError);
  for (const values of [[1], [1, 2, 3], [1, 32768], [1, -1], [1, 0.5]]) {
    assertThrows(() => set.values = values, RangeError);
  }
  for (const values of [[], undefined, [1, "2"]]) {
    assertThrows(() => set.values = untyped(values), TypeError);
  }
});

test("SemaphoreSet.create() refuses wrong values", () => {
  const key = freshName();
  for (const values of [[], undefined, 3, ["1"]]) {
    assertThrows(() => SemaphoreSet.create({ key, values: untyped(values) }), TypeError);
    assertThrows(() => SemaphoreSet.openOrCreate(key, { values: untyped(values) }), TypeError);
  }
  for (const values of [[-1], [0, 32768], [0.5], [NaN]]) {
    assertThrows(() => SemaphoreSet.create({ key, values }), RangeError);
    assertThrows(() => SemaphoreSet.openOrCreate(key, { values }), RangeError);
  }
  assertIpcError(() => SemaphoreSet.open(key), "ENOENT", "semget");
});
