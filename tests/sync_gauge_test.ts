import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Gauge } from "@sysv/ipc/sync";
import { type Child, nthRuntime, otherRuntime, runtimes } from "./support/child.ts";
import { runSync, testOpening, testWaits, untilWaiting, valuesOf } from "./support/sync.ts";
import { until } from "./support/time.ts";

testOpening({
  name: "Gauge",
  kind: "gauge",
  values: [0, 32767],
  create: (options) => Gauge.create(options),
  open: (key) => Gauge.open(key),
  openOrCreate: (key) => Gauge.openOrCreate(key),
  fromId: (id) => Gauge.fromId(id),
});

const common = {
  create: () => Gauge.create(),
  fromId: (id: number) => Gauge.fromId(id),
  blocked: [3, 32764],
};

testWaits<Gauge>({
  ...common,
  name: "Gauge.waitForIdle()",
  wait: (gauge, options) => gauge.waitForIdle(options),
  waitSync: (gauge, options) => gauge.waitForIdleSync(options),
  program: "Gauge.fromId(id).waitForIdleSync()",
});

testWaits<Gauge>({
  ...common,
  name: "Gauge.waitForAtLeast()",
  wait: (gauge, options) => gauge.waitForAtLeast(4, options),
  waitSync: (gauge, options) => gauge.waitForAtLeastSync(4, options),
  program: "Gauge.fromId(id).waitForAtLeastSync(4)",
});

testWaits<Gauge>({
  ...common,
  name: "Gauge.waitForAtMost()",
  wait: (gauge, options) => gauge.waitForAtMost(2, options),
  waitSync: (gauge, options) => gauge.waitForAtMostSync(2, options),
  program: "Gauge.fromId(id).waitForAtMostSync(2)",
});

test("Gauge.enter() counts those who are at it until they leave, once", () => {
  using gauge = Gauge.create();
  const one = gauge.enter();
  {
    using _others = Gauge.fromId(gauge.id).enter(5);
    assertEquals([gauge.value, valuesOf(gauge)], [6, [6, 32761]]);
  }
  assertEquals(gauge.value, 1);
  one.release();
  one.release();
  assertEquals([gauge.value, valuesOf(gauge)], [0, [0, 32767]]);
});

test("Gauge.enter() refuses what is no number of those who enter", () => {
  using gauge = Gauge.create();
  for (const by of [0, -1, 1.5, 32768, NaN]) assertThrows(() => gauge.enter(by), RangeError);
  assertEquals(valuesOf(gauge), [0, 32767]);
});

test("Gauge.enter() throws a RangeError when more than 32767 would be at it", () => {
  using gauge = Gauge.create();
  using _all = gauge.enter(32767);
  assertEquals(gauge.value, 32767);
  assertThrows(() => gauge.enter(), RangeError);
  assertEquals(valuesOf(gauge), [32767, 0]);
});

test("Gauge.waitForAtLeast() and waitForAtMost() refuse what they would wait for in vain or never", async () => {
  using gauge = Gauge.create();
  for (const least of [0, 32768, 1.5]) {
    await assertRejects(() => gauge.waitForAtLeast(least), RangeError);
    assertThrows(() => gauge.waitForAtLeastSync(least), RangeError);
  }
  for (const limit of [-1, 32767, 1.5]) {
    await assertRejects(() => gauge.waitForAtMost(limit), RangeError);
    assertThrows(() => gauge.waitForAtMostSync(limit), RangeError);
  }
});

test("Gauge: waits go on at once where there is nothing to wait for", async () => {
  using gauge = Gauge.create();
  await gauge.waitForIdle({ timeout: 0 });
  gauge.waitForIdleSync({ timeout: 0 });
  using _entry = gauge.enter(3);
  await gauge.waitForAtLeast(3, { timeout: 0 });
  gauge.waitForAtLeastSync(3, { timeout: 0 });
  await gauge.waitForAtMost(3, { timeout: 0 });
  gauge.waitForAtMostSync(3, { timeout: 0 });
  assertEquals(valuesOf(gauge), [3, 32764]);
});

test("Gauge: entries stay good when the handle is disposed, and when the gauge is removed", () => {
  using gauge = Gauge.create();
  const handle = Gauge.fromId(gauge.id);
  const entry = handle.enter(2);
  handle[Symbol.dispose]();
  assertEquals(gauge.value, 2);
  entry.release();
  assertEquals(valuesOf(gauge), [0, 32767]);
  using _entry = gauge.enter();
  gauge.remove();
});

/** Starts a process that enters until it is told to leave. */
async function enter(gauge: Gauge, by: number, runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const entry = Gauge.fromId(Number(args[0])).enter(Number(args[1]));
    say("in");
    await hear();
    entry.release();
    say("out");
    await hear();`,
    { args: [gauge.id, by], runtime: runs },
  );
  await child.hear();
  return child;
}

for (const runtime of runtimes) {
  test(`Gauge: what a process of ${runtime} has entered is taken back when it is killed`, async () => {
    using gauge = Gauge.create();
    using _entry = gauge.enter();
    await using child = await enter(gauge, 4, runtime);
    assertEquals(gauge.value, 5);
    await child.kill();
    assertEquals(valuesOf(gauge), [1, 32766]);
  });

  test(`Gauge: the waits of ${runtime} go on as others enter, leave and are killed`, async () => {
    using gauge = Gauge.create();
    const waits = [["waitForAtLeast(5)", "waitForAtMost(2)", "waitForIdle()"], [
      "waitForAtLeastSync(5)",
      "waitForAtMostSync(2)",
      "waitForIdleSync()",
    ]];
    const children = waits.map((calls) =>
      runSync(
        `const gauge = Gauge.fromId(Number(args[0]));
        ${calls.map((call) => `await gauge.${call}; say("${call}"); await hear();`).join("\n")}`,
        { args: [gauge.id], runtime },
      )
    );
    const heard = async (step: number) => {
      for (const [i, child] of children.entries()) {
        assertEquals(await child.hear(), waits[i]![step]);
        child.say("on");
      }
    };
    await using _ = {
      [Symbol.asyncDispose]: () =>
        Promise.all(children.map((child) => child.kill())).then(() => {}),
    };
    await untilWaiting(gauge, 2);
    await using four = await enter(gauge, 4);
    const one = gauge.enter();
    await heard(0);
    await untilWaiting(gauge, 2);
    await four.kill();
    await heard(1);
    await untilWaiting(gauge, 2);
    one.release();
    await heard(2);
  });
}

test("Gauge: waiters do not disturb the count, not even as they are killed", async () => {
  using gauge = Gauge.create();
  using _entry = gauge.enter(2);
  for (const wait of ["waitForIdle()", "waitForAtLeastSync(9)", "waitForAtMost(1)"]) {
    await using child = runSync(`await Gauge.fromId(Number(args[0])).${wait}`, {
      args: [gauge.id],
    });
    await untilWaiting(gauge);
    await child.kill();
    await untilWaiting(gauge, 0);
  }
  assertEquals(valuesOf(gauge), [2, 32765]);
});

test("Gauge never drifts, however many processes are killed at whatever moment", async () => {
  using gauge = Gauge.create();
  const children = Array.from(
    { length: 12 },
    (_, i) =>
      runSync(
        `const gauge = Gauge.fromId(Number(args[0]));
      say("ready");
      for (;;) {
        for (let i = 0; i < 200; i++) {
          using _a = gauge.enter(3);
          using _b = gauge.enter();
        }
        await new Promise((resolve) => setTimeout(resolve));
      }`,
        { args: [gauge.id], runtime: nthRuntime(i) },
      ),
  );
  await Promise.all(children.map(async (child) => {
    await child.hear();
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
    await child.kill();
  }));
  await until(() => gauge.value === 0);
  assertEquals(valuesOf(gauge), [0, 32767]);
});
