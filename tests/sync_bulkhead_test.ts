import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Bulkhead, type BulkheadCreateOptions, type BulkheadPermit } from "@sysv/ipc/sync";
import { assertRejectsWith, assertTimesOut, wrong } from "./support/assert.ts";
import { type Child, otherRuntime, runtimes } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import {
  runSync,
  testOpening,
  testTaking,
  testWaits,
  untilWaiting,
  valuesOf,
} from "./support/sync.ts";
import { until } from "./support/time.ts";

testOpening({
  name: "Bulkhead",
  kind: "bulkhead",
  values: [16385, 2, 0],
  create: (options) => Bulkhead.create({ ...options, tickets: 2 }),
  open: (key) => Bulkhead.open(key),
  openOrCreate: (key) => Bulkhead.openOrCreate(key, { tickets: 2 }),
  fromId: (id) => Bulkhead.fromId(id),
});

const common = {
  create: () => Bulkhead.create({ tickets: 2 }),
  fromId: (id: number) => Bulkhead.fromId(id),
};

for (
  const [name, blocked] of [["", [16383, 2, 0]], [", of one resized,", [16381, 2, 5]]] as const
) {
  testWaits<Bulkhead>({
    ...common,
    name: `Bulkhead.acquire()${name}`,
    blocked: [...blocked],
    wait: (bulkhead, options) => bulkhead.acquire(options),
    waitSync: (bulkhead, options) => bulkhead.acquireSync(options),
    program: "Bulkhead.fromId(id).acquireSync()",
  });
}

testTaking<Bulkhead>({
  ...common,
  name: "Bulkhead.acquire()",
  take: (bulkhead, options) => bulkhead.acquire(options),
  isFree: (bulkhead) => bulkhead.state().inUse === 0,
});

testTaking<Bulkhead>({
  create: () => Bulkhead.create({ quota: 1 }),
  fromId: (id) => Bulkhead.fromId(id, { quota: 0.5 }),
  name: "Bulkhead.acquire(), by quota,",
  take: (bulkhead, options) => bulkhead.acquire(options),
  isFree: (bulkhead) => bulkhead.state().inUse === 0,
});

const takes: Record<
  string,
  (bulkhead: Bulkhead) => BulkheadPermit | undefined | Promise<BulkheadPermit>
> = {
  acquire: (bulkhead) => bulkhead.acquire(),
  acquireSync: (bulkhead) => bulkhead.acquireSync(),
  tryAcquire: (bulkhead) => bulkhead.tryAcquire(),
};

for (const [name, take] of Object.entries(takes)) {
  test(`Bulkhead.${name}() takes a ticket, and releasing gives it back, once`, async () => {
    using bulkhead = Bulkhead.create({ tickets: 2 });
    const start = performance.now();
    const permit = (await take(bulkhead))!;
    assert(permit.waited >= 0 && permit.waited <= performance.now() - start);
    assertEquals(bulkhead.state(), { tickets: 2, inUse: 1, workers: 0 });
    {
      using _other = (await take(Bulkhead.fromId(bulkhead.id)))!;
      assertEquals(bulkhead.state(), { tickets: 2, inUse: 2, workers: 0 });
      assertEquals(bulkhead.tryAcquire(), undefined);
    }
    permit.release();
    permit.release();
    assertEquals(bulkhead.state(), { tickets: 2, inUse: 0, workers: 0 });
  });

  test(`Bulkhead.${name}()'s permit stays good when the handle is disposed, and when the bulkhead is removed`, async () => {
    using bulkhead = Bulkhead.create({ tickets: 2 });
    const handle = Bulkhead.fromId(bulkhead.id);
    const permit = (await take(handle))!;
    handle[Symbol.dispose]();
    assertEquals(bulkhead.state().inUse, 1);
    permit.release();
    assertEquals(bulkhead.state().inUse, 0);
    using _permit = (await take(bulkhead))!;
    bulkhead.remove();
  });
}

test("Bulkhead.create() refuses a limit that is none, or two", () => {
  const wrong: [options: Record<string, number>, error: ErrorConstructor][] = [
    [{ tickets: 0 }, RangeError],
    [{ tickets: 16384 }, RangeError],
    [{ tickets: 1.5 }, RangeError],
    [{ quota: 0 }, RangeError],
    [{ quota: 1.1 }, RangeError],
    [{ quota: -0.5 }, RangeError],
    [{ quota: NaN }, RangeError],
    [{ quota: "0.5" as never }, TypeError],
    [{ tickets: 1, quota: 0.5 }, TypeError],
    [{}, TypeError],
  ];
  const key = freshName();
  for (const [options, error] of wrong) {
    assertThrows(() => Bulkhead.create(options as unknown as BulkheadCreateOptions), error);
    assertThrows(
      () => Bulkhead.openOrCreate(key, options as unknown as BulkheadCreateOptions),
      error,
    );
  }
  assertThrows(() => Bulkhead.open(key), Error);
});

test("Bulkhead.create() makes as many tickets as can be, and gives out all of them", () => {
  using bulkhead = Bulkhead.create({ tickets: 16383 });
  const permits = Array.from({ length: 16383 }, () => bulkhead.tryAcquire()!);
  assertEquals(bulkhead.tryAcquire(), undefined);
  assertEquals(bulkhead.state(), { tickets: 16383, inUse: 16383, workers: 0 });
  bulkhead.resize(1);
  assertEquals(bulkhead.state(), { tickets: 1, inUse: 16383, workers: 0 });
  for (const permit of permits) permit.release();
  assertEquals(bulkhead.state(), { tickets: 1, inUse: 0, workers: 0 });
});

test("Bulkhead.openOrCreate() takes the new number of tickets, whatever is held", () => {
  using made = Bulkhead.create({ key: freshName(), tickets: 3 });
  using _permit = made.acquireSync();
  for (const tickets of [5, 1, 1]) {
    using opened = Bulkhead.openOrCreate(made.key!, { tickets });
    assertEquals(opened.state(), { tickets, inUse: 1, workers: 0 });
  }
  // A quota has its say as soon as there is a worker.
  using _other = Bulkhead.openOrCreate(made.key!, { quota: 0.5 });
  assertEquals(made.state().tickets, 1);
});

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

for (const runtime of runtimes) {
  test(`Bulkhead.acquire() gets the ticket of a process of ${runtime} that releases or is killed`, async () => {
    using bulkhead = Bulkhead.create({ tickets: 1 });
    for (const end of ["release", "kill"]) {
      await using holder = await hold(bulkhead, runtime);
      const start = performance.now();
      const waiting = bulkhead.acquire();
      await untilWaiting(bulkhead);
      const least = performance.now() - start;
      if (end === "kill") await holder.kill();
      else holder.say("release");
      using permit = await waiting;
      assert(permit.waited >= least, `${permit.waited} is less than ${least}`);
      assertEquals(bulkhead.state(), { tickets: 1, inUse: 1, workers: 0 });
    }
  });

  test(`Bulkhead.acquireSync() of ${runtime} gets the ticket of a process that is killed`, async () => {
    using bulkhead = Bulkhead.create({ tickets: 1 });
    await using holder = await hold(bulkhead);
    await using child = runSync(
      `using permit = Bulkhead.fromId(Number(args[0])).acquireSync(); say(permit.waited > 0);`,
      { args: [bulkhead.id], runtime },
    );
    await untilWaiting(bulkhead);
    await holder.kill();
    assertEquals(await child.hear(), "true");
    await until(() => bulkhead.state().inUse === 0);
  });

  test(`Bulkhead: a worker of ${runtime} that is killed is counted off`, async () => {
    using bulkhead = Bulkhead.create({ quota: 0.5 });
    bulkhead.register();
    const workers = await Promise.all([1, 2, 3].map(() => register(bulkhead, runtime)));
    assertEquals(bulkhead.state(), { tickets: 2, inUse: 0, workers: 4 });
    await workers[0]!.kill();
    await workers[1]!.kill();
    // Nobody has called since.
    assertEquals(valuesOf(bulkhead), [16385, 2, 2]);
    assertEquals(bulkhead.state(), { tickets: 1, inUse: 0, workers: 2 });
    await workers[2]!.kill();
    assertEquals(bulkhead.state(), { tickets: 1, inUse: 0, workers: 1 });
  });
}

/** Starts a process that is a worker until it is killed. */
async function register(bulkhead: Bulkhead, runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const bulkhead = Bulkhead.fromId(Number(args[0]), { quota: Number(args[1]) });
    bulkhead.register();
    say("in");
    await hear();`,
    { args: [bulkhead.id, bulkhead.quota ?? 1], runtime: runs },
  );
  await child.hear();
  return child;
}

test("Bulkhead.register() counts each handle once, until it is unregistered or disposed", () => {
  using bulkhead = Bulkhead.create({ tickets: 3 });
  const other = Bulkhead.fromId(bulkhead.id);
  bulkhead.register();
  bulkhead.register();
  other.register();
  assertEquals(bulkhead.state(), { tickets: 3, inUse: 0, workers: 2 });
  bulkhead.unregister();
  bulkhead.unregister();
  assertEquals(bulkhead.state().workers, 1);
  bulkhead.register();
  other[Symbol.dispose]();
  assertEquals(bulkhead.state().workers, 1);
  bulkhead.unregister();
  assertEquals(valuesOf(bulkhead), [16386, 3, 0]);
});

test("Bulkhead: a quota gives each worker its share, rounded up, and at least one ticket in all", () => {
  const cases: [quota: number, tickets: number[]][] = [
    // With no worker, one, two and so on.
    [0.5, [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]],
    [0.25, [1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3]],
    [0.7, [1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7]],
    [0.1, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
    [1, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ];
  for (const [quota, tickets] of cases) {
    using bulkhead = Bulkhead.create({ quota });
    const handles: Bulkhead[] = [];
    for (const [workers, due] of tickets.entries()) {
      if (workers > 0) {
        const handle = Bulkhead.fromId(bulkhead.id, { quota });
        handle.register();
        handles.push(handle);
      }
      assertEquals(bulkhead.state(), { tickets: due, inUse: 0, workers }, `${quota}`);
    }
    for (const handle of handles.toReversed()) {
      handle[Symbol.dispose]();
      const { workers, tickets: left } = bulkhead.state();
      assertEquals(left, tickets[workers], `${quota}`);
    }
  }
});

for (const [name, take] of Object.entries(takes)) {
  test(`Bulkhead.${name}() sees first to the share of workers that have come or died`, async () => {
    using bulkhead = Bulkhead.create({ quota: 1 });
    await using one = await register(Bulkhead.fromId(bulkhead.id));
    await using _other = await register(Bulkhead.fromId(bulkhead.id));
    using half = Bulkhead.fromId(bulkhead.id, { quota: 1 });
    using first = (await take(half))!;
    using second = (await take(half))!;
    assertEquals(half.tryAcquire(), undefined);
    first.release();
    await one.kill();
    assertEquals(half.tryAcquire(), undefined);
    assertEquals(half.state(), { tickets: 1, inUse: 1, workers: 1 });
    second.release();
    using _third = (await take(half))!;
    assertEquals(half.state(), { tickets: 1, inUse: 1, workers: 1 });
  });
}

test("Bulkhead.acquire() goes on when a worker registers, as there are more tickets then", async () => {
  using bulkhead = Bulkhead.create({ quota: 1 });
  bulkhead.register();
  using _first = bulkhead.acquireSync();
  const waiting = bulkhead.acquire();
  await untilWaiting(bulkhead);
  await using _worker = await register(bulkhead);
  using _second = await waiting;
  assertEquals(bulkhead.state(), { tickets: 2, inUse: 2, workers: 2 });
});

test("Bulkhead.resize() refuses what is no number of tickets, or against a quota", () => {
  using bulkhead = Bulkhead.create({ tickets: 2 });
  for (const tickets of [0, -1, 1.5, 16384]) {
    assertThrows(() => bulkhead.resize(tickets), RangeError);
  }
  using share = Bulkhead.create({ quota: 0.5 });
  assertThrows(() => share.resize(2), TypeError);
  assertEquals([bulkhead.state().tickets, share.state().tickets], [2, 1]);
});

test("Bulkhead.resize() lets those who wait go on where the number grows", async () => {
  using bulkhead = Bulkhead.create({ tickets: 1 });
  using _first = bulkhead.acquireSync();
  const waiting = [bulkhead.acquire(), bulkhead.acquire()];
  await using child = runSync(
    `using permit = Bulkhead.fromId(Number(args[0])).acquireSync(); say("in"); await hear();`,
    { args: [bulkhead.id], runtime: otherRuntime },
  );
  await untilWaiting(bulkhead, 2);
  Bulkhead.fromId(bulkhead.id).resize(4);
  const permits = await Promise.all(waiting);
  assertEquals(await child.hear(), "in");
  assertEquals(bulkhead.state(), { tickets: 4, inUse: 4, workers: 0 });
  for (const permit of permits) permit.release();
});

test("Bulkhead.resize() to fewer tickets than are held gives none until enough have come back", () => {
  using bulkhead = Bulkhead.create({ tickets: 4 });
  const permits = Array.from({ length: 4 }, () => bulkhead.acquireSync());
  bulkhead.resize(2);
  for (const inUse of [4, 3, 2]) {
    assertEquals(bulkhead.state(), { tickets: 2, inUse, workers: 0 });
    assertEquals(bulkhead.tryAcquire(), undefined);
    permits.pop()!.release();
  }
  using _permit = bulkhead.tryAcquire()!;
  assertEquals(bulkhead.state(), { tickets: 2, inUse: 2, workers: 0 });
  bulkhead.resize(16383);
  assertEquals(bulkhead.state(), { tickets: 16383, inUse: 2, workers: 0 });
  permits.pop()!.release();
});

test("Bulkhead.resize() counts what a killed process held, too, when it is killed afterwards", async () => {
  using bulkhead = Bulkhead.create({ tickets: 2 });
  await using one = await hold(bulkhead);
  await using other = await hold(bulkhead);
  bulkhead.resize(1);
  await one.kill();
  assertEquals(bulkhead.state(), { tickets: 1, inUse: 1, workers: 0 });
  assertEquals(bulkhead.tryAcquire(), undefined);
  await other.kill();
  assertEquals(valuesOf(bulkhead), [16384, 1, 0]);
});

test("Bulkhead.resize() to the number that there are changes nothing", async () => {
  using bulkhead = Bulkhead.create({ tickets: 2 });
  // In a process of its own, as it may never return.
  await using child = runSync(`Bulkhead.fromId(Number(args[0])).resize(2); say("done");`, {
    args: [bulkhead.id],
  });
  let answer = "";
  child.hear().then((line) => answer = line, () => {});
  await until(() => answer !== "", 5000);
  assertEquals(answer, "done");
  assertEquals(valuesOf(bulkhead), [16385, 2, 0]);
});

test("Bulkhead.resize(): of several processes that resize at once one is last", async () => {
  using bulkhead = Bulkhead.create({ tickets: 2 });
  await using one = await hold(bulkhead);
  const resizers = runtimes.map((runtime, i) =>
    runSync(
      `const bulkhead = Bulkhead.fromId(Number(args[0]));
      for (let i = 0; i < 500; i++) bulkhead.resize(1 + i % 2 * 7 + Number(args[1]));
      say("done");`,
      { args: [bulkhead.id, i], runtime },
    )
  );
  for (const child of resizers) assertEquals(await child.hear(), "done");
  for (const child of resizers) child.end();
  await Promise.all(resizers.map((child) => child.exit));
  const { tickets, inUse } = bulkhead.state();
  assert(tickets >= 8 && tickets < 8 + runtimes.length, `${tickets}`);
  assertEquals(inUse, 1);
  await one.kill();
  assertEquals(valuesOf(bulkhead), [16383 + tickets, tickets, 0]);
});

test("Bulkhead.run() holds a ticket while its function runs, whatever comes of it", async () => {
  using bulkhead = Bulkhead.create({ tickets: 1 });
  const answer = await bulkhead.run(async (permit) => {
    await Promise.resolve();
    assert(permit.waited >= 0);
    assertEquals(bulkhead.state().inUse, 1);
    return 42;
  });
  assertEquals([answer, bulkhead.state().inUse], [42, 0]);
  assertEquals(await bulkhead.run(() => "at once"), "at once");
  const failure = new Error("failure");
  const fail = () => {
    throw failure;
  };
  for (const run of [fail, () => Promise.reject(failure)]) {
    assertEquals(await assertRejects(() => bulkhead.run(run)), failure);
    assertEquals(bulkhead.state().inUse, 0);
  }
  await bulkhead.run((permit) => permit.release());
  assertEquals(bulkhead.state().inUse, 0);
});

test("Bulkhead.run() refuses what is no function, before it waits", async () => {
  using bulkhead = Bulkhead.create({ tickets: 1 });
  using _permit = bulkhead.acquireSync();
  for (const run of wrong(5, undefined, "run", Symbol("run"))) {
    const ran = bulkhead.run(run, { timeout: 0 });
    await assertRejects(() => ran, TypeError, "expected a function");
  }
});

test("Bulkhead.state() tells what was at one moment, whoever registers meanwhile", async () => {
  using bulkhead = Bulkhead.create({ quota: 0.5 });
  await using child = runSync(
    `const handles = Array.from({ length: 9 }, () => Bulkhead.fromId(Number(args[0]), { quota: 0.5 }));
    say("begins");
    try {
      for (;;) {
        for (const handle of handles) handle.register();
        for (const handle of handles) handle.unregister();
      }
    } catch (error) { say(error.code); }`,
    { args: [bulkhead.id], runtime: otherRuntime },
  );
  assertEquals(await child.hear(), "begins");
  const seen = new Set<number>();
  for (let times = 0; times < 5000 || seen.size < 3; times++) {
    const { tickets, workers } = bulkhead.state();
    seen.add(workers);
    assertEquals(tickets, Math.max(1, Math.ceil(workers / 2)));
  }
  bulkhead.remove();
  assertEquals(await child.hear(), "EIDRM");
});

test("Bulkhead.unregister() does nothing once the bulkhead is removed or the handle disposed", () => {
  for (const limit of [{ quota: 0.5 }, { tickets: 2 }]) {
    for (const end of ["remove", "dispose"] as const) {
      using bulkhead = Bulkhead.create({ ...limit });
      using worker = Bulkhead.fromId(bulkhead.id, "quota" in limit ? limit : {});
      worker.register();
      if (end === "remove") bulkhead.remove();
      else worker[Symbol.dispose]();
      worker.unregister();
      worker.unregister();
    }
  }
});

test("Bulkhead.run() does not run its function when there is no ticket in time", async () => {
  using bulkhead = Bulkhead.create({ tickets: 1 });
  using _permit = bulkhead.acquireSync();
  let runs = 0;
  await assertTimesOut(bulkhead.run(() => runs++, { timeout: 5 }));
  const reason = new Error("enough");
  const signal = AbortSignal.abort(reason);
  assertEquals(await assertRejects(() => bulkhead.run(() => runs++, { signal })), reason);
  const waiting = assertRejectsWith("EIDRM", bulkhead.run(() => runs++));
  await untilWaiting(bulkhead);
  bulkhead.remove();
  await waiting;
  assertEquals(runs, 0);
});
