import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { semctl, SETVAL } from "@sysv/ipc/libc";
import { Bulkhead, BulkheadTimeoutError } from "@sysv/ipc/sync";
import { assertIpcError, assertRejectsWith } from "./support/assert.ts";
import { type Child, otherRuntime } from "./support/child.ts";
import { runSync, valuesOf } from "./support/sync.ts";

/** Starts a process that takes a ticket until it is told anything. */
async function hold(bulkhead: Bulkhead, runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const permit = await Bulkhead.fromId(Number(args[0])).acquire();
    say("in");
    await hear();
    permit.release();
    await hear();`,
    { args: [bulkhead.id], runtime: runs },
  );
  await child.hear();
  return child;
}

test("Bulkhead: no ticket in time is told from a TimeoutError of the task, in all forms", async () => {
  using bulkhead = Bulkhead.create({ tickets: 1 });
  const late = () => Promise.reject(new DOMException("too slow", "TimeoutError"));
  const own = await assertRejects(() => bulkhead.run(late), DOMException);
  assertEquals([own.message, own instanceof BulkheadTimeoutError], ["too slow", false]);
  using taken = Bulkhead.fromId(bulkhead.id).tryAcquire()!;
  for (const timeout of [0, 5]) {
    const waits = [
      bulkhead.acquire({ timeout }),
      bulkhead.run(() => {}, { timeout }),
      Bulkhead.fromId(bulkhead.id, { quota: 1 }).acquire({ timeout }),
    ];
    for (const wait of waits) {
      const error = await assertRejects(() => wait, BulkheadTimeoutError);
      assertEquals(error.name, "TimeoutError");
    }
  }
  // The signal of the caller is that of the caller, whatever its reason.
  const signal = AbortSignal.timeout(5);
  const reason = await assertRejects(() => bulkhead.acquire({ signal }));
  assertEquals(reason, signal.reason);
  taken.release();
});

test("Bulkhead.acquireSync() says that there was no ticket in time by an error of its own", async () => {
  using bulkhead = Bulkhead.create({ tickets: 1 });
  await using _holder = await hold(bulkhead);
  assertThrows(() => bulkhead.acquireSync({ timeout: 5 }), BulkheadTimeoutError);
});

for (const [index, value] of [[0, 0], [1, 9]] as const) {
  test(`Bulkhead says that its values are spoilt, instead of trying for ever (${index} is ${value})`, async () => {
    using bulkhead = Bulkhead.create({ tickets: 5 });
    using byQuota = Bulkhead.fromId(bulkhead.id, { quota: 0.5 });
    semctl(bulkhead.id, 0, SETVAL, 0);
    semctl(bulkhead.id, index, SETVAL, value);
    const uses = [
      () => bulkhead.resize(1),
      () => byQuota.state(),
      () => byQuota.register(),
      () => byQuota.tryAcquire(),
      () => byQuota.acquireSync(),
    ];
    for (const use of uses) {
      assertStringIncludes(assertIpcError(use, "EINVAL", "semop").message, "its values 0, ");
    }
    await assertRejectsWith("EINVAL", byQuota.acquire());
    assertEquals(valuesOf(bulkhead)[2], 0);
  });
}
