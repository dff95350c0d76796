import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { Permit, Semaphore } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { run } from "./support/child.ts";

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
