import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { type IpcError, type Permit, Semaphore } from "@sysv/ipc";
import { until } from "./support/time.ts";

test("10,000 equal waits are one in the kernel, are served in order, and any of them can leave", async () => {
  using semaphore = Semaphore.create();
  const served: number[] = [];
  const left: number[] = [];
  const aborts: AbortController[] = [];
  const permits: Permit[] = [];
  const waits = Array.from({ length: 10_000 }, (_, i) => {
    aborts[i] = new AbortController();
    return semaphore.acquire(1, { signal: aborts[i].signal }).then((permit) => {
      served.push(i);
      permits.push(permit);
    }, () => left.push(i));
  });
  await until(() => semaphore.waiting.forIncrease === 1);
  const leavers = [0, 1, 17, 5000, 5001, 9998, 9999];
  for (const i of leavers) aborts[i]!.abort();
  await until(() => left.length === leavers.length);
  assertEquals(left, leavers);
  assertEquals(semaphore.waiting.forIncrease, 1);
  semaphore.increment(10_000);
  await Promise.all(waits);
  const staying = Array.from({ length: 10_000 }, (_, i) => i).filter((i) => !leavers.includes(i));
  assertEquals(served.length, 10_000 - leavers.length);
  assert(served.every((i, position) => i === staying[position]));
  assertEquals(semaphore.value, leavers.length);
  for (const permit of permits) permit.release();
  assertEquals(semaphore.value, 10_000);
});

test("10,000 equal waits are served one at a time as well, and fail together when the semaphore goes", async () => {
  const semaphore = Semaphore.create();
  let served = 0;
  const errors: IpcError[] = [];
  const waits = Array.from(
    { length: 10_000 },
    () => semaphore.decrement().then(() => served++, (error) => errors.push(error)),
  );
  for (let i = 0; i < 100; i++) semaphore.increment();
  await until(() => served === 100);
  semaphore.remove();
  await Promise.all(waits);
  assertEquals(errors.length, 9_900);
  assert(errors.every(({ code }) => code === "EIDRM"));
});
