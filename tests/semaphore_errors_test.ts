import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Semaphore } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";

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
