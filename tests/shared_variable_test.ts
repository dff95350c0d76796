import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { IpcError, SharedMemory } from "@sysv/ipc";
import { Broadcast, bytes, SharedVariable, text, WorkQueue } from "@sysv/ipc/shared";
import { assertRejectsWith, assertTimeout, assertTimesOut } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { passed } from "./support/time.ts";

const shared = JSON.stringify(new URL("../shared/mod.ts", import.meta.url).href);

function start(program: string, ...args: (string | number)[]) {
  const names = `import { Broadcast, bytes, SharedVariable, text, WorkQueue } from ${shared};`;
  const used = "void [Broadcast, bytes, SharedVariable, text, WorkQueue];";
  return run(names + used + program, { args, runtime: otherRuntime });
}

function assertCode(run: () => unknown, code: string): void {
  assertEquals((assertThrows(run, IpcError) as IpcError).code, code);
}

test("SharedVariable has a version for each value, in every form", async () => {
  using variable = SharedVariable.create<{ n: number }>();
  using same = SharedVariable.fromId<{ n: number }>(variable.id);
  assertEquals([same.get(), same.version, same.read()], [undefined, 0, undefined]);
  assertEquals(variable.setSync({ n: 1 }), 1);
  assertEquals(await variable.set({ n: 2 }), 2);
  assertEquals(same.read(), { value: { n: 2 }, version: 2 });
  assertEquals(await same.update((old) => ({ n: old!.n + 1 })), { value: { n: 3 }, version: 3 });
  assertEquals(same.updateSync((old) => ({ n: old!.n + 1 })).version, 4);
  assertEquals(variable.get(), { n: 4 });
  await Promise.all(Array.from({ length: 50 }, () => same.update((old) => ({ n: old!.n + 1 }))));
  assertEquals(variable.read(), { value: { n: 54 }, version: 54 });
});

test("SharedVariable keeps the old value where a new one does not fit or cannot be made", async () => {
  using variable = SharedVariable.create({ codec: text, maxBytes: 8 });
  variable.setSync("old");
  assertThrows(() => variable.setSync("far too long"), RangeError);
  await assertRejects(() => variable.update(() => "far too long"), RangeError);
  assertThrows(
    () =>
      variable.updateSync(() => {
        throw new Error("failed");
      }),
    Error,
    "failed",
  );
  assertCode(() => variable.updateSync(() => String(variable.setSync("within"))), "EDEADLK");
  assertEquals(variable.read(), { value: "old", version: 1 });
  variable.setSync("new");
});

test("SharedVariable.update() takes no promise, and a handle can end in its middle", async () => {
  using variable = SharedVariable.create<unknown>();
  variable.setSync("old");
  for (const change of [() => Promise.resolve(1), () => Promise.reject(new Error("late"))]) {
    assertThrows(() => variable.updateSync(change), TypeError, "got a promise");
    await assertRejects(() => variable.update(change), TypeError, "got a promise");
  }
  for (const form of ["updateSync", "update"] as const) {
    const other = SharedVariable.fromId<unknown>(variable.id);
    const change = () => {
      other[Symbol.dispose]();
      return "new";
    };
    await assertRejects(async () => await other[form](change), ReferenceError, "disposed");
  }
  assertEquals(variable.get(), "old");
  variable.setSync("new");
});

test("SharedVariable.wait() misses no change, whoever makes it", async () => {
  using variable = SharedVariable.create<number>();
  await using child = start(
    `
    const variable = SharedVariable.fromId(Number(args[0]));
    let version = 0;
    for (;;) {
      const change = version % 2 ? variable.waitSync({ newerThan: version })
        : await variable.wait({ newerThan: version });
      version = change.version;
      say(JSON.stringify(change));
      if (change.value === 20) break;
    }
    await hear();
  `,
    variable.id,
  );
  for (let n = 1; n <= 20; n++) {
    if (n % 3 === 0) await passed(3);
    variable.setSync(n);
    let seen: { value: number; version: number };
    do seen = JSON.parse(await child.hear()); while (seen.version < n);
    assertEquals(seen, { value: n, version: n });
  }
});

test("SharedVariable: all who wait are woken, each by what it waits for", async () => {
  using variable = SharedVariable.create<number>();
  const waits = [0, 1, 2].map((newerThan) => variable.wait({ newerThan }));
  assertTimeout(() => variable.waitSync({ timeout: 3 }));
  await assertTimesOut(variable.wait({ timeout: 3 }));
  const controller = new AbortController();
  const aborted = variable.wait({ signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  for (let n = 1; n <= 3; n++) {
    variable.setSync(n);
    assertEquals(await waits[n - 1], { value: n, version: n });
  }
});

test("SharedVariable as changes ends with the variable, and skips what was replaced", async () => {
  const variable = SharedVariable.create<number>();
  variable.setSync(1);
  const seen: number[] = [];
  const iteration = (async () => {
    for await (const value of variable) seen.push(value);
  })();
  await passed(5);
  variable.setSync(2);
  variable.setSync(3);
  while (seen.at(-1) !== 3) await passed(1);
  variable.remove();
  await iteration;
  assertEquals(seen[0], 1);
  variable[Symbol.dispose]();
});

test("SharedVariable counts versions beyond 32 bits", () => {
  using variable = SharedVariable.create<string>();
  using memory = SharedMemory.fromId(variable.id);
  const words = new Int32Array(memory.buffer);
  words[64] = -2;
  for (const value of ["a", "b", "c"]) variable.setSync(value);
  assertEquals(variable.read(), { value: "c", version: 2 ** 32 + 1 });
});

test("Broadcast gives everybody every message, and tells the slow what they missed", async () => {
  using news = Broadcast.create({ codec: text, capacity: 256 });
  news.publishSync("before anybody listens");
  const [fast, slow] = [news.subscribe(), news.subscribe()];
  using same = Broadcast.fromId(news.id, { codec: text });
  const other = same.subscribe();
  assertEquals(other.tryReceive(), undefined);
  for (let i = 0; i < 100; i++) {
    await news.publish(String(i));
    assertEquals(fast.tryReceive(), { value: String(i), missed: 0 });
    assertEquals(await other.receive(), { value: String(i), missed: 0 });
  }
  let count = 0;
  for (let message = slow.tryReceive(); message !== undefined; message = slow.tryReceive()) {
    count += 1 + message.missed;
    assertEquals(message.value, String(count - 1));
  }
  assertEquals(count, 100);
  assertTimeout(() => slow.receiveSync({ timeout: 3 }));
  await assertTimesOut(slow.receive({ timeout: 3 }));
  assertThrows(() => news.publishSync("x".repeat(200)), RangeError);
});

test("Broadcast tells the slow what they missed, though its positions have wrapped around", () => {
  const size = 2 ** 32;
  // Half a round, just a round, a bit less and more than one, and several rounds later.
  for (const capacity of [64, 4096, 2 ** 24]) {
    for (const passed of [size / 2 - 16, size / 2 + 8, size - 4, size, size + 4, 3 * size + 2]) {
      using news = Broadcast.create<Uint8Array>({ codec: bytes, capacity });
      using memory = SharedMemory.fromId(news.id);
      const words = new Int32Array(memory.buffer);
      const slow = news.subscribe();
      news.publishSync(new Uint8Array(8).fill(1));
      assertEquals(slow.tryReceive()!.missed, 0);
      // As if so many units of 8 bytes had gone by, in records as large as can be.
      const numbers = Math.ceil(passed / (capacity >> 4));
      words[64] = words[96] = (words[64]! + passed) | 0;
      words[66] = (1 + numbers) | 0;
      words[67] = Math.floor((1 + numbers) / 2 ** 32);
      for (const byte of [2, 3]) news.publishSync(new Uint8Array(8).fill(byte));
      const what = `${capacity} ${passed}`;
      const first = slow.tryReceive()!;
      assertEquals([first.value[0], first.missed], [2, numbers], what);
      assertEquals(slow.tryReceive()?.value[0], 3, what);
      assertEquals(slow.tryReceive(), undefined, what);
    }
  }
});

test("Broadcast wakes all who sleep, in every process", async () => {
  using news = Broadcast.create({ codec: text });
  await using child = start(
    `
    const news = Broadcast.fromId(Number(args[0]), { codec: text }).subscribe();
    say("listens");
    say(news.receiveSync().value);
    say((await news.receive()).value);
    await hear();
  `,
    news.id,
  );
  assertEquals(await child.hear(), "listens");
  const here = [news.subscribe(), news.subscribe()];
  for (const message of ["one", "two"]) {
    const waits = here.map((one) => one.receive());
    await passed(30);
    news.publishSync(message);
    assertEquals((await Promise.all(waits)).map(({ value }) => value), [message, message]);
    assertEquals(await child.hear(), message);
  }
});

test("WorkQueue gives a job back when its holder dies, and says how often it was given out", async () => {
  using queue = WorkQueue.create<number>();
  const holding = `
    const queue = WorkQueue.fromId(Number(args[0]));
    say(String(queue.receiveSync().value));
    await hear();
  `;
  for (const n of [1, 2]) await queue.send(n);
  for (let death = 0; death < 3; death++) {
    await using child = start(holding, queue.id);
    assertEquals(await child.hear(), "1");
    await child.kill();
  }
  assertEquals([queue.waiting, queue.claimed], [1, 1]);
  const poison = await queue.receive();
  assertEquals([poison.value, poison.attempts], [1, 4]);
  poison.done();
  queue.receiveSync().done();
  assertEquals([queue.waiting, queue.claimed], [0, 0]);
});

test("WorkQueue: who sleeps gets the job of one who dies", async () => {
  using queue = WorkQueue.create<number>();
  queue.sendSync(7);
  await using child = start(
    `const job = WorkQueue.fromId(Number(args[0])).receiveSync(); say("has it"); await hear();`,
    queue.id,
  );
  assertEquals(await child.hear(), "has it");
  const wait = queue.receive();
  await passed(30);
  await child.kill();
  const job = await wait;
  assertEquals([job.value, job.attempts], [7, 2]);
});

test("WorkQueue: a job that is released or whose handle is disposed comes next", async () => {
  using queue = WorkQueue.create<number>({ capacity: 4 });
  for (const n of [1, 2, 3, 4]) assert(queue.trySend(n));
  assertEquals(queue.trySend(5), false);
  assertTimeout(() => queue.sendSync(5, { timeout: 3 }));
  const other = WorkQueue.fromId<number>(queue.id);
  const [one, two] = [other.receiveSync(), other.receiveSync()];
  one.release();
  one.release();
  one.done();
  assertEquals(queue.receiveSync().attempts, 2);
  other[Symbol.dispose]();
  const again = queue.receiveSync();
  assertEquals([again.value, again.attempts], [two.value, 2]);
  const sent = queue.send(5);
  again.done();
  await sent;
  assertEquals([queue.waiting, queue.claimed], [3, 1]);
  assertThrows(() => other.tryReceive(), ReferenceError);
});

test("WorkQueue that is removed ends every wait and iteration", async () => {
  const queue = WorkQueue.create<number>({ capacity: 1 });
  queue.sendSync(1);
  const waits = [queue.send(2), queue.send(3)];
  await passed(5);
  queue.remove();
  await Promise.all(waits.map((wait) => assertRejectsWith("EIDRM", wait)));
  for await (const _ of queue) break;
  queue[Symbol.dispose]();
});

test("Variables, broadcasts and queues survive hostile values in every word", () => {
  const hostile = [0, 1, 7, 255, 4095, 1 << 12, 1 << 29, 1 << 30, 0x7fffffff, -1, 1 << 31];
  let seed = 7;
  const random = (most: number) => (seed = (seed * 48271) % 0x7fffffff) % most;
  for (let round = 0; round < 200; round++) {
    using variable = SharedVariable.create({ codec: bytes, maxBytes: 64, members: 8 });
    using news = Broadcast.create({ codec: bytes, capacity: 256, members: 8 });
    using queue = WorkQueue.create({ codec: bytes, capacity: 8, maxBytes: 64, members: 8 });
    const listener = news.subscribe();
    const message = new Uint8Array(16);
    variable.setSync(message);
    for (let i = 0; i < 5; i++) news.publishSync(message);
    for (let i = 0; i < 5; i++) queue.sendSync(message);
    for (const { id } of [variable, news, queue]) {
      using memory = SharedMemory.fromId(id);
      const words = new Int32Array(memory.buffer);
      const word = 32 + random(words.length - 32);
      words[word] = hostile[random(hostile.length)]!;
      // A lock whose owner lives is waited for, and rightly: here it has none, or one that never was.
      if (word === 32) words[word] = words[word]! & ~0xfff | 9 * random(2);
    }
    for (
      const use of [
        () => variable.read(),
        () => variable.version,
        () => variable.setSync(message),
        () => news.publishSync(message),
        () => listener.tryReceive(),
        () => listener.tryReceive(),
        () => queue.tryReceive()?.release(),
        () => queue.tryReceive()?.done(),
        () => queue.trySend(message),
      ]
    ) {
      try {
        use();
      } catch (error) {
        assert(error instanceof IpcError, String((error as Error).stack));
      }
    }
  }
});
