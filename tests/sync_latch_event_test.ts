import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Event, Latch } from "@sysv/ipc/sync";
import { assertIpcError } from "./support/assert.ts";
import { nthRuntime, otherRuntime, runtimes } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import {
  runSync,
  testOpening,
  testWaits,
  untilWaiting,
  valuesOf,
  waitersOf,
} from "./support/sync.ts";

testOpening({
  name: "Latch",
  kind: "latch",
  values: [3],
  create: (options) => Latch.create({ ...options, count: 3 }),
  open: (key) => Latch.open(key),
  openOrCreate: (key) => Latch.openOrCreate(key, { count: 3 }),
  fromId: (id) => Latch.fromId(id),
});

testOpening({
  name: "Event",
  kind: "event",
  values: [1],
  create: (options) => Event.create(options),
  open: (key) => Event.open(key),
  openOrCreate: (key) => Event.openOrCreate(key),
  fromId: (id) => Event.fromId(id),
});

testWaits<Latch>({
  name: "Latch.wait()",
  create: () => Latch.create({ count: 3 }),
  fromId: (id) => Latch.fromId(id),
  blocked: [3],
  wait: (latch, options) => latch.wait(options),
  waitSync: (latch, options) => latch.waitSync(options),
  program: "Latch.fromId(id).waitSync()",
});

testWaits<Event>({
  name: "Event.wait()",
  create: () => Event.create(),
  fromId: (id) => Event.fromId(id),
  blocked: [1],
  wait: (event, options) => event.wait(options),
  waitSync: (event, options) => event.waitSync(options),
  program: "Event.fromId(id).waitSync()",
});

test("Latch: wrong counts are told of in words of latches, before anything is made", () => {
  const key = freshName();
  for (const count of [-1, 1.5, 32768, NaN]) {
    for (const make of [Latch.create, () => Latch.openOrCreate(key, { count })]) {
      assertThrows(() => make({ count }), RangeError, "Cannot make a latch with a count of");
    }
  }
  assertIpcError(() => Latch.open(key), "ENOENT", "semget");
  using latch = Latch.create({ count: 1 });
  assertThrows(() => latch.countDown(0), RangeError, "Cannot count the latch down by 0");
});

test("Latch.countDown() counts down to 0 and no further, and tells whether it could", () => {
  using latch = Latch.create({ count: 3 });
  assertEquals([latch.countDown(), latch.count], [true, 2]);
  assertEquals([latch.countDown(3), latch.count], [false, 2]);
  assertEquals([latch.tryWait(), latch.countDown(2), latch.count], [false, true, 0]);
  assertEquals([latch.countDown(), latch.count, latch.tryWait()], [false, 0, true]);
});

test("Latch.create() refuses a count, and countDown() an amount, that is none", () => {
  for (const count of [-1, 1.5, 32768, NaN]) {
    assertThrows(() => Latch.create({ count }), RangeError);
  }
  using latch = Latch.create({ count: 32767 });
  for (const by of [0, -1, 1.5, 32768]) assertThrows(() => latch.countDown(by), RangeError);
  assertEquals([latch.count, latch.countDown(32767)], [32767, true]);
});

test("Latch.wait() waits for nobody once the count is 0, as it may be from the beginning", async () => {
  using latch = Latch.create({ count: 0 });
  await latch.wait({ timeout: 0 });
  latch.waitSync({ timeout: 0 });
  assertEquals(latch.tryWait(), true);
});

test("Latch.wait() goes on, in all forms and runtimes, when processes have counted down", async () => {
  using latch = Latch.create({ count: 2 * runtimes.length });
  await using blocked = runSync(`Latch.fromId(Number(args[0])).waitSync(); say("on")`, {
    args: [latch.id],
    runtime: otherRuntime,
  });
  const waiting = [latch.wait(), latch.wait()];
  await untilWaiting(latch, 2);
  for (const runtime of [...runtimes, ...runtimes]) {
    assertEquals(waitersOf(latch), 2);
    await using child = runSync(`say(Latch.fromId(Number(args[0])).countDown())`, {
      args: [latch.id],
      runtime,
    });
    assertEquals(await child.hear(), "true");
  }
  await Promise.all(waiting);
  assertEquals([await blocked.hear(), latch.count], ["on", 0]);
});

test("Latch: what a process has counted down stays so when it is killed", async () => {
  using latch = Latch.create({ count: runtimes.length });
  for (const runtime of runtimes) {
    await using child = runSync(
      `Latch.fromId(Number(args[0])).countDown(); say("down"); await hear();`,
      { args: [latch.id], runtime },
    );
    await child.hear();
    await child.kill();
  }
  assertEquals([latch.count, latch.tryWait()], [0, true]);
});

test("Event.set() and reset() tell whether they changed anything", () => {
  using event = Event.create();
  assertEquals([event.isSet, event.tryWait()], [false, false]);
  assertEquals([event.reset(), event.set(), event.set()], [false, true, false]);
  assertEquals([event.isSet, event.tryWait(), valuesOf(event)], [true, true, [0]]);
  assertEquals([event.reset(), event.reset(), event.isSet], [true, false, false]);
});

test("Event.create() makes one that is set, if asked to", async () => {
  using event = Event.create({ set: true });
  assertEquals(event.isSet, true);
  await event.wait({ timeout: 0 });
  event.waitSync({ timeout: 0 });
});

test("Event.set() lets all go on who wait, in all forms and runtimes", async () => {
  using event = Event.create();
  await using one = runSync(`Event.fromId(Number(args[0])).waitSync(); say("on")`, {
    args: [event.id],
    runtime: nthRuntime(1),
  });
  await using other = runSync(`await Event.fromId(Number(args[0])).wait(); say("on")`, {
    args: [event.id],
    runtime: nthRuntime(2),
  });
  const waiting = [event.wait(), event.wait(), event.wait()];
  await untilWaiting(event, 3);
  event.set();
  await Promise.all(waiting);
  assertEquals([await one.hear(), await other.hear()], ["on", "on"]);
  assertEquals(event.isSet, true);
});

test("Event.wait() waits again once the event is reset", async () => {
  using event = Event.create({ set: true });
  event.reset();
  const waiting = event.wait();
  await untilWaiting(event);
  event.set();
  await waiting;
});

test("Event: it stays as it is when whoever set or reset it is killed", async () => {
  using event = Event.create();
  for (const change of ["set", "reset"]) {
    await using child = runSync(`say(Event.fromId(Number(args[0])).${change}()); await hear();`, {
      args: [event.id],
      runtime: otherRuntime,
    });
    assertEquals(await child.hear(), "true");
    await child.kill();
    assertEquals(event.isSet, change === "set");
  }
});

test("Latch.reset() begins anew, with the count of its making or another", async () => {
  using latch = Latch.create({ count: 2 });
  latch.countDown(2);
  await latch.wait();
  latch.reset();
  assertEquals([latch.count, latch.tryWait()], [2, false]);
  latch.reset(3);
  assertEquals(latch.count, 3);
  latch.reset(0);
  assertEquals(latch.tryWait(), true);
  latch.reset();
  assertEquals(latch.count, 2);
  using other = Latch.fromId(latch.id);
  assertThrows(() => other.reset(), TypeError, "expected a count");
  for (const count of [-1, 0.5, 32768]) assertThrows(() => other.reset(count), RangeError);
  other.reset(1);
  const waiting = latch.wait();
  other.countDown();
  await waiting;
});

test("Latch.reset() of a latch that is removed throws EIDRM", () => {
  using latch = Latch.create({ count: 1 });
  Latch.fromId(latch.id).remove();
  assertIpcError(() => latch.reset(), "EIDRM", "semctl");
});
