import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { inspect } from "node:util";
import { IpcError, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { Channel, SharedMutex, WorkQueue } from "@sysv/ipc/shared";
import { assertRejectsWith, assertTimesOut, wrong } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { passed, until } from "./support/time.ts";

const shared = JSON.stringify(new URL("../shared/mod.ts", import.meta.url).href);

/** Runs a program with the classes of shared/. */
function start(program: string, ...args: (string | number)[]) {
  return run(
    `import { Channel, SharedMutex, bytes } from ${shared}; void [Channel, SharedMutex, bytes];${program}`,
    {
      args,
      runtime: otherRuntime,
    },
  );
}

test("SharedMutex has one holder at a time, in every form", async () => {
  using mutex = SharedMutex.create();
  using same = SharedMutex.fromId(mutex.id);
  const guard = mutex.lockSync();
  assertEquals([mutex.locked, same.locked, guard.abandoned], [true, true, 0]);
  assertEquals(mutex.tryLock(), undefined);
  assertEquals(same.tryLock(), undefined);
  await assertTimesOut(same.lock({ timeout: 5 }));
  guard.release();
  guard.release();
  assertEquals(mutex.locked, false);
  same.tryLock()!.release();
  (await mutex.lock()).release();
  using _guard = same.lockSync();
  assertEquals(mutex.locked, true);
});

test("SharedMutex.lock() waits until the holder in another process releases", async () => {
  using mutex = SharedMutex.create();
  await using child = start(
    `
    const mutex = SharedMutex.fromId(Number(args[0]));
    const guard = mutex.lockSync();
    say("held");
    await hear();
    guard.release();
    await hear();
  `,
    mutex.id,
  );
  assertEquals(await child.hear(), "held");
  const promises = [mutex.lock(), mutex.lock(), mutex.lock()];
  const order: number[] = [];
  const all = promises.map(async (promise, index) => {
    const guard = await promise;
    order.push(index);
    await passed(1);
    guard.release();
  });
  await passed(20);
  assertEquals(order, []);
  child.say("release");
  await Promise.all(all);
  assertEquals(order, [0, 1, 2]);
});

test("SharedMutex tells how many holders have died, also one that died before it released", async () => {
  using mutex = SharedMutex.create();
  for (let deaths = 0; deaths < 2; deaths++) {
    await using child = start(
      `SharedMutex.fromId(Number(args[0])).lockSync(); say("held"); await hear();`,
      mutex.id,
    );
    assertEquals(await child.hear(), "held");
    await child.kill();
    assertEquals(mutex.locked, true);
  }
  const guard = mutex.lockSync();
  assertEquals(guard.abandoned, 2);
  guard.release();
  assertEquals(mutex.lockSync().abandoned, 0);
});

test("SharedMutex: who sleeps is woken by the death of the holder, whatever it sleeps with", async () => {
  using mutex = SharedMutex.create();
  const holding = `SharedMutex.fromId(Number(args[0])).lockSync(); say("held"); await hear();`;
  await using first = start(holding, mutex.id);
  assertEquals(await first.hear(), "held");
  const promise = mutex.lock();
  await passed(30);
  await first.kill();
  const guard = await promise;
  assertEquals(guard.abandoned, 1);
  guard.release();
  await using second = start(holding, mutex.id);
  assertEquals(await second.hear(), "held");
  await using third = start(
    `
    const mutex = SharedMutex.fromId(Number(args[0]));
    say("waits");
    say(String(mutex.lockSync().abandoned));
  `,
    mutex.id,
  );
  assertEquals(await third.hear(), "waits");
  await passed(50);
  await second.kill();
  assertEquals(await third.hear(), "1");
});

test("SharedMutex.lockSync() refuses what would block for ever", () => {
  using mutex = SharedMutex.create();
  using same = SharedMutex.fromId(mutex.id);
  using _guard = mutex.lockSync();
  for (const handle of [mutex, same]) {
    const error = assertThrows(() => handle.lockSync(), IpcError);
    assertEquals((error as IpcError).code, "EDEADLK");
  }
});

test("SharedMutex.lockSync() goes on though a promise of the thread waits for the same", async () => {
  using mutex = SharedMutex.create();
  await using child = start(
    `
    const guard = SharedMutex.fromId(Number(args[0])).lockSync();
    say("held");
    await hear();
    await new Promise((resolve) => setTimeout(resolve, 100));
    guard.release();
    await hear();
  `,
    mutex.id,
  );
  assertEquals(await child.hear(), "held");
  const promise = mutex.lock();
  await passed(20);
  child.say("release in a moment");
  await passed(5);
  const guard = mutex.lockSync({ timeout: 20_000 });
  guard.release();
  (await promise).release();
});

test("SharedMutex: an aborted or timed out wait has changed nothing", async () => {
  using mutex = SharedMutex.create();
  using same = SharedMutex.fromId(mutex.id);
  const guard = mutex.lockSync();
  const controller = new AbortController();
  const wait = same.lock({ signal: controller.signal });
  const behind = same.lock();
  await passed(10);
  controller.abort(new Error("enough"));
  await assertRejects(() => wait, Error, "enough");
  await assertRejects(() => same.lock({ signal: AbortSignal.abort(new Error("no")) }), Error, "no");
  using third = SharedMutex.fromId(mutex.id);
  assertEquals(third.tryLock(), undefined);
  guard.release();
  (await behind).release();
  assertEquals(mutex.locked, false);
});

test("SharedMutex.run() releases whatever happens", async () => {
  using mutex = SharedMutex.create();
  assertEquals(await mutex.run((guard) => guard.abandoned), 0);
  await assertRejects(() => mutex.run(() => Promise.reject(new Error("failed"))), Error, "failed");
  assertEquals(mutex.locked, false);
  await assertRejects(() => mutex.run(...wrong("nothing") as [never]), TypeError);
});

test("SharedMutex: what is removed refuses all, and wakes who sleeps", async () => {
  const mutex = SharedMutex.create();
  using same = SharedMutex.fromId(mutex.id);
  const guard = mutex.lockSync();
  const wait = same.lock();
  await passed(10);
  mutex.remove();
  await assertRejectsWith("EIDRM", wait);
  guard.release();
  assertEquals((assertThrows(() => same.lockSync()) as IpcError).code, "EIDRM");
  assertEquals((assertThrows(() => same.tryLock()) as IpcError).code, "EIDRM");
  assertEquals((assertThrows(() => mutex.remove()) as IpcError).code, "EIDRM");
  mutex[Symbol.dispose]();
});

test("What is held of a shared structure tells when the structure is removed", async () => {
  const mutex = SharedMutex.create();
  const queue = WorkQueue.create<number>();
  queue.sendSync(1);
  const [guard, job] = [mutex.lockSync(), queue.receiveSync()];
  assertEquals([guard.lost.aborted, job.lost.aborted], [false, false]);
  const elsewhere = SharedMutex.fromId(mutex.id);
  elsewhere.remove();
  // The watch keeps no program alive, so something else has to.
  await until(() => guard.lost.aborted);
  assertEquals((guard.lost.reason as IpcError).code, "EIDRM");
  queue.remove();
  assertEquals(job.lost.aborted, true);
  guard.release();
  job.done();
  for (const handle of [mutex, elsewhere, queue]) handle[Symbol.dispose]();
});

test("SharedMutex: a handle that is disposed frees what it holds, as after a death", async () => {
  using mutex = SharedMutex.create();
  const other = SharedMutex.fromId(mutex.id);
  const guard = other.lockSync();
  const wait = mutex.lock();
  await passed(10);
  other[Symbol.dispose]();
  other[Symbol.dispose]();
  guard.release();
  const next = await wait;
  assertEquals(next.abandoned, 1);
  next.release();
  for (
    const use of [
      () => other.lockSync(),
      () => other.tryLock(),
      () => other.locked,
      () => other.remove(),
    ]
  ) {
    assertThrows(use, ReferenceError);
  }
  await assertRejects(() => other.lock(), ReferenceError);
  assert(mutex.members <= 2);
});

test("SharedMutex: places come back, and who finds none is told", () => {
  using mutex = SharedMutex.create({ members: 2 });
  const [one, two] = [SharedMutex.fromId(mutex.id), SharedMutex.fromId(mutex.id)];
  one.lockSync().release();
  two.lockSync().release();
  assertEquals([mutex.places, mutex.members], [2, 2]);
  const error = assertThrows(() => mutex.lockSync(), IpcError) as IpcError;
  assertEquals(error.code, "ENOSPC");
  assertMatch(error.message, /all 2 places are taken/);
  one[Symbol.dispose]();
  mutex.lockSync().release();
  two[Symbol.dispose]();
  assertEquals(mutex.members, 1);
});

test("SharedMutex: bells that ring for ten thousand deaths stop nobody from joining", async () => {
  using mutex = SharedMutex.create({ members: 3 });
  const set = SemaphoreSet.fromId(semaphoresOf(mutex.id), { kind: "members" });
  const other = SharedMutex.fromId(mutex.id);
  other.lockSync().release();
  for (const place of [1, 2, 3]) set.operateSync([{ index: 4 + place, delta: 32767 }]);
  mutex.lockSync().release();
  const guard = mutex.lockSync();
  const wait = other.lock();
  await passed(5);
  guard.release();
  (await wait).release();
  other[Symbol.dispose]();
  set[Symbol.dispose]();
});

function semaphoresOf(id: number): number {
  using memory = SharedMemory.fromId(id);
  return new Int32Array(memory.buffer)[4]!;
}

test("Shared structures are found by their names, made once, and tell whether they were", () => {
  const name = freshName();
  assertEquals((assertThrows(() => SharedMutex.open(name)) as IpcError).code, "ENOENT");
  const one = SharedMutex.openOrCreate(name);
  using _ = removing(one);
  const two = SharedMutex.openOrCreate(name);
  using three = SharedMutex.open(name);
  assertEquals([one.created, two.created, three.created], [true, false, false]);
  assertEquals([one.id, one.key], [two.id, three.key]);
  assertEquals(one.owned, false);
  const error = assertThrows(() => SharedMutex.create({ key: name }), IpcError) as IpcError;
  assertEquals(error.code, "EEXIST");
  two[Symbol.dispose]();
  one.lockSync().release();
  assertMatch(inspect(one), /^SharedMutex \{ id: \d+, key: 0x[0-9a-f]{8}, locked: false \}$/);
  const other = assertThrows(() => Channel.openOrCreate(name), IpcError) as IpcError;
  assertEquals(other.code, "EINVAL");
});

test("Shared structures whose halves were removed apart are made anew", () => {
  const name = freshName();
  for (const half of ["semaphores", "memory"]) {
    const old = SharedMutex.openOrCreate(name);
    old.lockSync();
    if (half === "memory") {
      using memory = SharedMemory.fromId(old.id);
      memory.remove();
    } else SemaphoreSet.fromId(semaphoresOf(old.id), { kind: "members" }).remove();
    const made = SharedMutex.openOrCreate(name);
    assertEquals(made.created, true, half);
    made.lockSync().release();
    made.remove();
  }
});

test("Shared structures that were left half made at any point are finished", () => {
  const whole = SharedMutex.create({ key: freshName(), owner: false });
  using _ = removing(whole);
  using memory = SharedMemory.open(whole.key!);
  const words = new Int32Array(memory.buffer, 0, 32);
  // Its creator died before the last word of the header, or before any.
  for (const last of [0, 3, 9]) {
    words[0] = 0;
    words.fill(0, 1 + last);
    using set = SemaphoreSet.open(whole.key!, { kind: "members" });
    set.operateSync([{ index: 1, delta: -1 }]);
    const error = assertThrows(() => SharedMutex.open(whole.key!), IpcError) as IpcError;
    assertEquals(error.code, "EAGAIN");
    using made = SharedMutex.openOrCreate(whole.key!);
    assertEquals([made.id, made.created], [whole.id, true]);
    made.lockSync().release();
  }
});

test("Shared structures refuse what is no segment of theirs, whatever a header says", () => {
  using mutex = SharedMutex.create();
  using memory = SharedMemory.fromId(mutex.id);
  const words = new Int32Array(memory.buffer);
  const header = words.slice(0, 16);
  const hostile = [0, 1, 2, 3, 31, 240, 241, 4096, 65536, 0x7fffffff, -1, -0x80000000, 1 << 30];
  for (let word = 0; word < 16; word++) {
    for (const value of hostile) {
      words[word] = value;
      try {
        SharedMutex.fromId(mutex.id)[Symbol.dispose]();
      } catch (error) {
        assertInstanceOf(error, IpcError);
      }
      words.set(header);
    }
  }
  using small = SharedMemory.create({ size: 8 });
  using other = SharedMemory.create({ size: 8192 });
  other.write("no header at all", 0);
  for (const { id } of [small, other]) {
    const error = assertThrows(() => SharedMutex.fromId(id), IpcError) as IpcError;
    assertEquals(error.code, "EINVAL");
    assertMatch(error.message, /another program's segment/);
  }
});

test("Shared structures check their arguments before anything is made", () => {
  for (const members of wrong(0, 241, 1.5, "8", null)) {
    assertThrows(() => SharedMutex.create({ members }));
  }
  for (const options of wrong("name", 1, [], true)) {
    assertThrows(() => SharedMutex.create(options), TypeError);
  }
  for (const capacity of wrong(0, 63, 100, 2 ** 31, "64")) {
    assertThrows(() => Channel.create({ capacity }));
  }
  for (const codec of wrong("json", null, {}, { name: "x" })) {
    assertThrows(() => Channel.create({ codec }), TypeError);
  }
  using mutex = SharedMutex.create();
  for (const timeout of wrong(-1, NaN, "1", null)) assertThrows(() => mutex.lockSync({ timeout }));
});

test("openOrCreate of shared structures survives every race and kill", async () => {
  const name = freshName();
  const rounds = process.env.IPC_TEST_SOAK === "1" ? 100 : 3;
  for (let round = 0; round < rounds; round++) {
    const children = Array.from({ length: 4 }, () =>
      start(
        `
        await hear();
        say("begins");
        for (let i = 0; i < 5; i++) {
          const mutex = SharedMutex.openOrCreate(args[0], { members: 8 });
          const guard = mutex.lockSync();
          guard.release();
          mutex[Symbol.dispose]();
        }
        say("done");
      `,
        name,
      ));
    for (const child of children) child.say("go");
    await children[0]!.hear();
    await children[0]!.kill();
    for (const child of children.slice(1)) {
      assertEquals(await child.hear(), "begins");
      assertEquals(await child.hear(), "done");
      await child.exit;
    }
    const mutex = SharedMutex.open(name);
    mutex.lockSync().release();
    mutex.remove();
    mutex[Symbol.dispose]();
  }
});
