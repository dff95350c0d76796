import { assert, assertEquals, assertRejects } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { Mutex, type MutexGuard } from "@sysv/ipc/sync";
import { assertIpcError, assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import { Child, nthRuntime, otherRuntime, runtime, runtimes } from "./support/child.ts";
import {
  runSync,
  semaphoresOf,
  testOpening,
  testTaking,
  testWaits,
  untilWaiting,
  valuesOf,
} from "./support/sync.ts";
import { until } from "./support/time.ts";
import { temporaryFolder } from "./support/folder.ts";

testOpening({
  name: "Mutex",
  kind: "mutex",
  values: [1, 0],
  create: (options) => Mutex.create(options),
  open: (key) => Mutex.open(key),
  openOrCreate: (key) => Mutex.openOrCreate(key),
  fromId: (id) => Mutex.fromId(id),
});

testWaits<Mutex>({
  name: "Mutex.lock()",
  create: () => Mutex.create(),
  fromId: (id) => Mutex.fromId(id),
  blocked: [0, 1],
  wait: (mutex, options) => mutex.lock(options),
  waitSync: (mutex, options) => mutex.lockSync(options),
  program: "Mutex.fromId(id).lockSync()",
});

testWaits<Mutex>({
  name: "Mutex.recover()",
  create: () => Mutex.create({ onDeath: "refuse" }),
  fromId: (id) => Mutex.fromId(id, { onDeath: "refuse" }),
  blocked: [0, 3],
  wait: (mutex, options) => mutex.recover(options),
  waitSync: (mutex, options) => mutex.recoverSync(options),
  program: "Mutex.fromId(id).recoverSync()",
});

for (const onDeath of ["report", "refuse"] as const) {
  for (const take of ["lock", "recover"] as const) {
    testTaking<Mutex>({
      name: `Mutex.${take}(), of a mutex that was abandoned and whose rule is ${onDeath},`,
      create() {
        const mutex = Mutex.create();
        semaphoresOf(mutex).values = [1, 1];
        return mutex;
      },
      fromId: (id) => Mutex.fromId(id, { onDeath }),
      take: (mutex, options) => mutex[take](options),
      isFree: (mutex) => !mutex.locked,
    });
  }
}

testTaking<Mutex>({
  name: "Mutex.lock()",
  create: () => Mutex.create(),
  fromId: (id) => Mutex.fromId(id),
  take: (mutex, options) => mutex.lock(options),
  isFree: (mutex) => !mutex.locked,
});

/** Locks in a process of its own, and dies of SIGKILL. */
async function dieInside(mutex: Mutex, runs = otherRuntime): Promise<void> {
  await using holder = await hold(mutex, runs);
  await holder.kill();
}

/** Starts a process that holds the mutex until it is told anything. */
async function hold(mutex: Mutex, runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const guard = await Mutex.fromId(Number(args[0])).lock();
    say(guard.abandoned);
    await hear();
    guard.release();
    say("released");
    await hear();`,
    { args: [mutex.id], runtime: runs },
  );
  await child.hear();
  return child;
}

const locks: Record<string, (mutex: Mutex) => MutexGuard | undefined | Promise<MutexGuard>> = {
  lock: (mutex) => mutex.lock(),
  lockSync: (mutex) => mutex.lockSync(),
  tryLock: (mutex) => mutex.tryLock(),
};

for (const [name, lock] of Object.entries(locks)) {
  test(`Mutex.${name}() locks, and releasing unlocks, once`, async () => {
    using mutex = Mutex.create();
    const guard = (await lock(mutex))!;
    assertEquals([guard.abandoned, mutex.locked, valuesOf(mutex)], [0, true, [0, 1]]);
    assertEquals(Mutex.fromId(mutex.id).tryLock(), undefined);
    guard.release();
    assertEquals([mutex.locked, valuesOf(mutex)], [false, [1, 0]]);
    using next = (await lock(mutex))!;
    guard.release();
    assertEquals([next.abandoned, mutex.locked], [0, true]);
  });

  test(`Mutex.${name}() tells how many holders have died, until one has released`, async () => {
    using mutex = Mutex.create();
    for (const runtime of runtimes) await dieInside(mutex, runtime);
    {
      using guard = (await lock(mutex))!;
      assertEquals(guard.abandoned, runtimes.length);
    }
    using guard = (await lock(mutex))!;
    assertEquals(guard.abandoned, 0);
  });

  test(`Mutex.${name}() is refused with EOWNERDEAD once a holder has died, if asked to`, async () => {
    using mutex = Mutex.create({ onDeath: "refuse" });
    await dieInside(mutex);
    for (let time = 0; time < 2; time++) {
      const error = await assertRejectsWith(
        "EOWNERDEAD",
        Promise.resolve().then(() => lock(mutex)),
      );
      assert(error.message.includes("recover()"), error.message);
      assertEquals([error.syscall, error.id], ["semop", mutex.id]);
      assertEquals([mutex.locked, valuesOf(mutex)], [false, [1, 1]]);
    }
    {
      using guard = await mutex.recover();
      assertEquals(guard.abandoned, 1);
      assertEquals(mutex.tryLock(), undefined);
    }
    using guard = (await lock(mutex))!;
    assertEquals(guard.abandoned, 0);
  });

  test(`Mutex.${name}()'s guard stays good when the handle is disposed`, async () => {
    using mutex = Mutex.create();
    const handle = Mutex.fromId(mutex.id);
    const guard = (await lock(handle))!;
    handle[Symbol.dispose]();
    assertEquals(mutex.locked, true);
    guard.release();
    assertEquals([mutex.locked, valuesOf(mutex)], [false, [1, 0]]);
  });

  test(`Mutex.${name}()'s guard can be released when the mutex is removed`, async () => {
    const mutex = Mutex.create();
    using guard = (await lock(mutex))!;
    mutex[Symbol.dispose]();
    guard.release();

    const other = Mutex.create();
    using _guard = (await lock(other))!;
    Mutex.fromId(other.id).remove();
  });
}

test("Mutex.lockSync() gets the mutex at once when its holder is killed", async () => {
  using mutex = Mutex.create();
  await using holder = await hold(mutex);
  await using child = runSync(
    `using guard = Mutex.fromId(Number(args[0])).lockSync(); say(guard.abandoned);`,
    { args: [mutex.id] },
  );
  await untilWaiting(mutex);
  await holder.kill();
  assertEquals(await child.hear(), "1");
  await until(() => !mutex.locked);
  assertEquals(valuesOf(mutex), [1, 0]);
});

test("Mutex.recover(): who dies while it recovers is told of to the next who does", async () => {
  using mutex = Mutex.create({ onDeath: "refuse" });
  await dieInside(mutex);
  await using recoverer = runSync(
    `const mutex = Mutex.fromId(Number(args[0]), { onDeath: "refuse" });
    const guard = mutex.recoverSync();
    say(guard.abandoned);
    await hear();`,
    { args: [mutex.id], runtime: otherRuntime },
  );
  assertEquals(await recoverer.hear(), "1");
  await recoverer.kill();
  assertIpcError(() => mutex.tryLock(), "EOWNERDEAD", "semop");
  {
    using guard = await mutex.recover();
    assertEquals(guard.abandoned, 2);
  }
  using guard = mutex.tryLock()!;
  assertEquals(guard.abandoned, 0);
});

test("Mutex.lock(): all who wait are refused when the holder dies, if they asked to", async () => {
  using mutex = Mutex.create({ onDeath: "refuse" });
  await using holder = await hold(mutex);
  await using child = runSync(
    `try { Mutex.fromId(Number(args[0]), { onDeath: "refuse" }).lockSync(); }
    catch (error) { say(error.code); }`,
    { args: [mutex.id], runtime: otherRuntime },
  );
  const waiting = [mutex.lock(), mutex.lock()].map((lock) => assertRejectsWith("EOWNERDEAD", lock));
  await untilWaiting(mutex, 2);
  await holder.kill();
  await Promise.all(waiting);
  assertEquals(await child.hear(), "EOWNERDEAD");
  assertEquals(valuesOf(mutex), [1, 1]);
});

test("Mutex.lock(): a death is told of to no one but those after it", async () => {
  using mutex = Mutex.create();
  using guard = mutex.lockSync();
  await using waiter = runSync(`Mutex.fromId(Number(args[0])).lockSync()`, { args: [mutex.id] });
  await untilWaiting(mutex);
  await waiter.kill();
  await untilWaiting(mutex, 0);
  guard.release();
  using next = mutex.lockSync();
  assertEquals([next.abandoned, valuesOf(mutex)], [0, [0, 1]]);
});

test("Mutex.lock(): a holder that ends without releasing has abandoned the mutex", async () => {
  using mutex = Mutex.create();
  for (const runs of runtimes) {
    await using holder = runSync(`Mutex.fromId(Number(args[0])).lockSync()`, {
      args: [mutex.id],
      runtime: runs,
    });
    holder.end();
    assertEquals((await holder.exit).code, 0);
    using guard = await mutex.lock();
    assertEquals(guard.abandoned, 1);
  }
});

test("Mutex.lock(): who waits longest is next, in whatever process and form", async () => {
  using mutex = Mutex.create();
  const guard = mutex.lockSync();
  const order: number[] = [];
  const programs = ["await mutex.lock()", "mutex.lockSync()"];
  const children: Child[] = [];
  await using _ = { [Symbol.asyncDispose]: () => endAll(children) };
  for (let i = 0; i < 4; i++) {
    const child = runSync(
      `const mutex = Mutex.fromId(Number(args[0]));
      const guard = ${programs[i % 2]};
      say("got it");
      await hear();
      guard.release();
      await hear();`,
      { args: [mutex.id], runtime: nthRuntime(i) },
    );
    children.push(child);
    await untilWaiting(mutex, i + 1);
  }
  const heard = children.map(async (child, i) => {
    await child.hear();
    order.push(i);
    child.say("release");
  });
  guard.release();
  await Promise.all(heard);
  assertEquals(order, [0, 1, 2, 3]);
});

async function endAll(children: readonly Child[]): Promise<void> {
  await Promise.all(children.map((child) => child[Symbol.asyncDispose]()));
}

test("Mutex.lock() serves those of one program in turn who lock again and again", async () => {
  using mutex = Mutex.create();
  const guard = mutex.lockSync();
  const turns: number[] = [];
  const tasks = [0, 1, 2, 3].map(async (task) => {
    for (let turn = 0; turn < 50; turn++) {
      using _guard = await mutex.lock();
      turns.push(task);
    }
  });
  guard.release();
  await Promise.all(tasks);
  assertEquals(turns, Array.from({ length: 200 }, (_, turn) => turn % 4));
});

test("Mutex.lock() of those who lock again and again lets timers run", async () => {
  using mutex = Mutex.create();
  let ended = false;
  const tasks = [0, 1].map(async () => {
    while (!ended) {
      using _guard = await mutex.lock();
    }
  });
  await new Promise((resolve) => setTimeout(resolve));
  ended = true;
  await Promise.all(tasks);
});

test("Mutex.lock() waits behind a holder of its own thread", async () => {
  using mutex = Mutex.create();
  const guard = mutex.lockSync();
  const waiting = mutex.lock();
  await untilWaiting(mutex);
  await assertTimesOut(mutex.lock({ timeout: 5 }));
  guard.release();
  using next = await waiting;
  assertEquals(next.abandoned, 0);
});

test("Mutex.recover() locks a mutex of which nobody has died, too", async () => {
  using mutex = Mutex.create({ onDeath: "refuse" });
  for (const recover of [() => mutex.recover(), () => mutex.recoverSync()]) {
    using guard = await recover();
    assertEquals([guard.abandoned, mutex.locked], [0, true]);
  }
  assertEquals(valuesOf(mutex), [1, 0]);
});

test("Mutex.onDeath is of the handle: one may report what another refuses", async () => {
  using mutex = Mutex.create({ onDeath: "refuse" });
  await dieInside(mutex);
  using reporting = Mutex.fromId(mutex.id);
  assertEquals([mutex.onDeath, reporting.onDeath], ["refuse", "report"]);
  using guard = reporting.tryLock()!;
  assertEquals(guard.abandoned, 1);
});

test("Mutex.ownerPid is the process that holds it, and nobody's while it is free", async () => {
  using mutex = Mutex.create();
  assertEquals([mutex.ownerPid, mutex.locked], [undefined, false]);
  {
    using _guard = mutex.lockSync();
    assertEquals(mutex.ownerPid, process.pid);
    assertIpcError(() => Mutex.fromId(mutex.id).recoverSync({ timeout: 1 }), "EDEADLK", "semop");
    assertEquals(mutex.ownerPid, process.pid);
  }
  assertEquals(mutex.ownerPid, undefined);
  for (const runtime of runtimes) {
    await using holder = await hold(mutex, runtime);
    assertEquals([mutex.ownerPid, mutex.locked], [holder.pid, true]);
    await holder.kill();
    assertEquals([mutex.ownerPid, mutex.locked], [undefined, false]);
  }
});

test("Mutex.lock(): an abort at the very moment of the release leaves the mutex to one or the other", async () => {
  using mutex = Mutex.create();
  for (let round = 0; round < 50; round++) {
    const guard = mutex.lockSync();
    const controller = new AbortController();
    const waiting = mutex.lock({ signal: controller.signal });
    if (round % 2 === 0) await untilWaiting(mutex);
    guard.release();
    controller.abort();
    await waiting.then((guard) => guard.release(), () => {});
    assertEquals([round, valuesOf(mutex)], [round, [1, 0]]);
  }
});

const noStrace = spawnSync("strace", ["-f", "-e", "trace=semop", "true"]).status === 0
  ? false
  : "no strace that may trace";

test("Mutex costs two system calls a lock and unlock", { skip: noStrace }, async () => {
  using mutex = Mutex.create();
  using folder = temporaryFolder();
  const log = join(folder.path, "log");
  await using child = runSync(
    `await hear();
    const mutex = Mutex.fromId(Number(args[0]));
    for (let i = 0; i < 100; i++) {
      { using _ = mutex.lockSync(); }
      { using _ = await mutex.lock(); }
      { using _ = mutex.tryLock(); }
    }
    say("done");`,
    { args: [mutex.id] },
  );
  await using strace = new Child([
    "strace",
    "-f",
    "-e",
    "trace=semop,semtimedop,semctl",
    "-o",
    log,
    "-p",
    String(child.pid),
  ]);
  await until(() => strace.stderr.includes("attached"));
  child.say("go");
  assertEquals(await child.hear(), "done");
  child.end();
  assertEquals((await child.exit).code, 0);
  await strace.exit;
  const calls = readFileSync(log, "utf8").split("\n");
  const count = (name: string) =>
    calls.filter((call) => new RegExp(`\\b${name}\\(${mutex.id},`).test(call)).length;
  assertEquals(count("semop") + count("semtimedop"), 600);
  // To take the mutex by its identifier: what it is, and how large.
  assert(count("semctl") <= 4, `${count("semctl")} calls of semctl in ${runtime}`);
});

test("Mutex.lock() rejects with its reason before it tries, if its signal is aborted", async () => {
  using mutex = Mutex.create();
  await assertRejects(() => mutex.lock({ signal: AbortSignal.abort() }), DOMException);
  await assertRejects(() => mutex.recover({ signal: AbortSignal.abort() }), DOMException);
  assertEquals(valuesOf(mutex), [1, 0]);
});
