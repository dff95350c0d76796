import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { alarm, signals } from "@sysv/ipc/unix";
import { assertTimesOut, wrong } from "./support/assert.ts";

test("alarm() sends SIGALRM once, after fractions of a second", async () => {
  using watcher = signals("SIGALRM");
  const start = performance.now();
  assertEquals(alarm(0.0505), 0);
  assertEquals(await watcher.next({ timeout: 5000 }), "SIGALRM");
  const elapsed = performance.now() - start;
  assert(elapsed >= 50, `after ${elapsed} ms`);
  assertEquals(alarm(0), 0);
  alarm(1e-9);
  assertEquals(await watcher.next({ timeout: 5000 }), "SIGALRM");
  await assertTimesOut(() => watcher.next({ timeout: 30 }));
});

test("alarm() replaces the one before, tells what was left of it, and calls it off", async () => {
  using watcher = signals("SIGALRM");
  assertEquals(alarm(100.25), 0);
  const left = alarm(0.02);
  assert(left > 99 && left <= 100.25, `${left}`);
  assertEquals(await watcher.next({ timeout: 5000 }), "SIGALRM");
  alarm(0.05);
  const rest = alarm(0);
  assert(rest > 0 && rest <= 0.05, `${rest}`);
  await assertTimesOut(() => watcher.next({ timeout: 80 }));
  assertEquals(alarm(0x7fffffff), 0);
  assert(alarm(0) > 0x7ffffff0);
});

test("alarm() refuses what is no time", () => {
  try {
    for (const seconds of [-1, -1e-9, NaN, Infinity, 2 ** 31]) {
      assertThrows(() => alarm(seconds), RangeError);
    }
    for (const seconds of wrong("5", null, undefined, {})) assertThrows(() => alarm(seconds));
  } finally {
    alarm(0);
  }
});
