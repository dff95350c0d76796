import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { closeSync, openSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type IpcError, Semaphore } from "@sysv/ipc";
import { Epoll, type Pipe, pipe, poll, type PollRequest, select } from "@sysv/ipc/unix";
import { POLLIN } from "../ffi/pollfd.ts";
import { close } from "../ffi/unix_calls.ts";
import { watch } from "../unix/readiness.ts";
import { assertTimesOut } from "./support/assert.ts";
import { projectFile, run } from "./support/child.ts";
import { runWorkers, untilWatched } from "./support/observe.ts";
import { fill, pipes } from "./support/pipes.ts";
import { passed, until } from "./support/time.ts";

test("A thousand waits for as many pipes are each told of their own", async () => {
  using all = pipes(1000);
  const waits = all.map(({ reader }) => poll([{ fd: reader.fd }]));
  await untilWatched(all.at(-1)!.reader.fd);
  for (const i of all.keys()) all[(i * 7) % 1000]!.writer.writeSync("x");
  const results = await Promise.all(waits);
  assertEquals(results.map(([result]) => result?.fd), all.map(({ reader }) => reader.fd));
});

test("All that wait for one descriptor are told", async () => {
  using ends = pipe();
  const { fd } = ends.reader;
  const twice = [{ fd }, { fd, events: "priority" as const }];
  const waits = [poll([{ fd }]), poll([{ fd }]), poll(twice), poll([{ fd }], { timeout: 60_000 })];
  const never = poll([{ fd, events: "priority" }], { timeout: 50 });
  await untilWatched(fd);
  ends.writer.writeSync("x");
  for (const wait of waits) assertEquals(await wait, [{ fd, events: ["readable"] }]);
  await assertTimesOut(() => never);
});

test("poll() rejects with the reason of its signal, and leaves others waiting", async () => {
  using ends = pipe();
  const { fd } = ends.reader;
  const controller = new AbortController();
  const other = poll([{ fd }]);
  const wait = poll([{ fd }], { signal: controller.signal });
  await untilWatched(fd);
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => wait), reason);
  ends.writer.writeSync("x");
  assertEquals(await other, [{ fd, events: ["readable"] }]);
  const { signal } = controller;
  assertStrictEquals(await assertRejects(() => poll([{ fd }], { signal })), reason);
  assertEquals(ends.reader.tryRead()?.byteLength, 1);
});

test("poll() that ends at random moments misses nothing afterwards", async () => {
  using ends = pipe();
  const { fd } = ends.reader;
  for (let i = 0; i < 300; i++) {
    const controller = new AbortController();
    const wait = poll([{ fd }], { signal: controller.signal });
    const other = poll([{ fd }]);
    if (i % 3 === 0) await passed(Math.random() * 2);
    else if (i % 3 === 1) await Promise.resolve();
    const [first, second] = i % 2 === 0
      ? [() => controller.abort("enough"), () => ends.writer.writeSync("x")]
      : [() => ends.writer.writeSync("x"), () => controller.abort("enough")];
    first();
    if (i % 5 === 0) await Promise.resolve();
    second();
    const [aborted, ready] = await Promise.allSettled([wait, other]);
    if (aborted.status === "rejected") assertEquals(aborted.reason, "enough");
    assertEquals(ready, { status: "fulfilled", value: [{ fd, events: ["readable"] }] });
    assertEquals(ends.reader.tryRead()?.byteLength, 1);
  }
});

test("A descriptor whose number is used again is waited for anew", async () => {
  const former = pipe();
  const { fd } = former.reader;
  const controller = new AbortController();
  const lost = poll([{ fd }], { signal: controller.signal }).catch((reason) => reason);
  await untilWatched(fd);
  // As others would, of whom nobody knows.
  close(fd);
  close(former.writer.fd);
  const all: Pipe[] = [pipe()];
  while (all.at(-1)!.reader.fd !== fd && all.at(-1)!.writer.fd !== fd) all.push(pipe());
  const again = all.at(-1)!;
  // Whether the number is that of a reader now is a matter of luck.
  const request = again.reader.fd === fd ? { fd } : { fd, events: "writable" as const };
  if (request.events) fill(again);
  const wait = poll([request]);
  await untilWatched(fd);
  controller.abort("enough");
  if (request.events) again.reader.readSync();
  else again.writer.writeSync("x");
  assertEquals((await wait).length, 1);
  assertEquals(await lost, "enough");
  for (const ends of all) ends[Symbol.dispose]();
});

test("Waits come and go while numbers are used again and again", async () => {
  const rounds = 300;
  const worker = async () => {
    for (let i = 0; i < rounds; i++) {
      using ends = pipe();
      const { fd } = ends.reader;
      const controller = new AbortController();
      const early = poll([{ fd }], { signal: controller.signal }).catch(() => undefined);
      const wait = poll([{ fd }], { timeout: 20_000 });
      if (i % 4 === 0) await passed(Math.random());
      if (i % 3 === 0) controller.abort();
      ends.writer.writeSync("x");
      assertEquals(await wait, [{ fd, events: ["readable"] }]);
      await early;
    }
  };
  await Promise.all(Array.from({ length: 5 }, worker));
});

const ending: Record<string, (ends: Pipe, signal: AbortSignal) => Promise<unknown>> = {
  poll: ({ reader: { fd } }, signal) => poll([{ fd }], { signal }),
  select: ({ reader: { fd } }, signal) => select({ read: [fd] }, { signal }),
  read: ({ reader }, signal) => reader.read(1, { signal }),
};

for (const [name, start] of Object.entries(ending)) {
  test(`${name}() rejects if it is aborted once it was told, before it has looked`, async () => {
    using ends = pipe();
    const controller = new AbortController();
    const wait = assertRejects(() => start(ends, controller.signal), Error, "enough");
    // Told in the order in which they began.
    watch(ends.reader.fd, POLLIN, () => {
      ends.reader.readSync();
      controller.abort(new Error("enough"));
    }, (error) => controller.abort(error));
    ends.writer.writeSync("x");
    await wait;
  });

  test(`${name}() rejects if its pipe is closed, before and after it was told`, async () => {
    for (const told of [false, true]) {
      using ends = pipe();
      const { fd } = ends.reader;
      const wait = assertRejects(() => start(ends, new AbortController().signal), Error);
      if (told) {
        watch(fd, POLLIN, () => ends.reader.close(), () => {});
        ends.writer.writeSync("x");
      } else {
        await untilWatched(fd);
        ends.reader.close();
      }
      const error = await wait;
      if (name === "read") assertEquals(error.name, "ReferenceError");
      else assertEquals([error.name, (error as IpcError).code], ["IpcError", "EBADF"]);
    }
  });
}

test("Epoll.wait() rejects if it is aborted once it was told, before it has looked", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  epoll.add(ends.reader.fd);
  const controller = new AbortController();
  const { signal } = controller;
  const wait = assertRejects(() => epoll.wait({ signal }), Error, "enough");
  watch(epoll.fd, POLLIN, () => {
    ends.reader.readSync();
    controller.abort(new Error("enough"));
  }, (error) => controller.abort(error));
  ends.writer.writeSync("x");
  await wait;
});

test("poll() and select() wait while files are asked for what they never have", async () => {
  using ends = pipe();
  const { fd } = ends.reader;
  const file = openSync(fileURLToPath(import.meta.url), "r");
  const polled = poll([{ fd: file, events: "priority" }, { fd: file, events: [] }, { fd }]);
  const selected = select({ read: [fd], error: [file] });
  await untilWatched(fd);
  ends.writer.writeSync("x");
  assertEquals(await polled, [{ fd, events: ["readable"] }]);
  assertEquals(await selected, { read: [fd], write: [], error: [] });

  const never: PollRequest[] = [{ fd: file, events: "priority" }];
  await assertTimesOut(() => poll(never, { timeout: 5 }));
  const controller = new AbortController();
  const wait = poll(never, { signal: controller.signal });
  setTimeout(() => controller.abort("enough"));
  assertEquals(await wait.catch((reason) => reason), "enough");
  closeSync(file);
});

test("Workers that have polled leave no descriptor", async () => {
  await using child = runWorkers(
    `import { readlinkSync } from "node:fs";
    const epolls = () => readdirSync("/proc/self/fd").filter((fd) => {
      try { return readlinkSync("/proc/self/fd/" + fd).includes("eventpoll"); }
      catch { return false; }
    }).length;
    const code = \`
      const { pipe, poll } = await import("${new URL("../unix/mod.ts", import.meta.url)}");
      using ends = pipe();
      const wait = poll([{ fd: ends.reader.fd }]);
      setTimeout(() => ends.writer.writeSync("x"), 1);
      await wait;
      parentPort.postMessage("told");
    \`;
    const poll = async () => {
      const worker = start(code);
      const exit = new Promise((resolve) => worker.once("exit", resolve));
      await message(worker);
      await exit;
    };
    await poll();
    const before = epolls();
    for (let i = 0; i < 8; i++) await poll();
    await until(() => epolls() <= before);
    tell("closed");
    process.exit();`,
  );
  assertEquals(await child.hear(), "closed");
});

test("poll() waits while all waiter threads wait for something else", async () => {
  const semaphores = Array.from({ length: 12 }, () => Semaphore.create({ value: 0 }));
  const controller = new AbortController();
  const waits = semaphores.map((semaphore) =>
    semaphore.acquire(1, { signal: controller.signal }).catch(() => {})
  );
  const waiters = () => semaphores.filter(({ waiting }) => waiting.forIncrease > 0).length;
  await until(() => waiters() === 8);
  using ends = pipe();
  const { fd } = ends.reader;
  const ready = poll([{ fd }]);
  ends.writer.writeSync("x");
  assertEquals(await ready, [{ fd, events: ["readable"] }]);
  controller.abort();
  await Promise.all(waits);
  for (const semaphore of semaphores) semaphore.remove();
});

const soak = process.env.IPC_TEST_SOAK === "1";

test(`Waiting for idle pipes for ${soak ? 5 : 1} s costs little CPU time and holds up no timer`, async () => {
  using all = pipes(100);
  const controller = new AbortController();
  const { signal } = controller;
  const wait = poll(all.map(({ reader }) => ({ fd: reader.fd })), { signal }).catch(() => {});
  const reads = all.map(({ reader }) => reader.read(1, { signal }).catch(() => {}));
  await passed(100);
  const time = soak ? 5000 : 1000;
  const usage = process.cpuUsage();
  const start = performance.now();
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 50);
  await passed(time);
  clearInterval(ticking);
  const { user, system } = process.cpuUsage(usage);
  const share = (user + system) / 1000 / (performance.now() - start);
  controller.abort();
  await Promise.all([wait, ...reads]);
  assert(share < 0.05, `it took ${(100 * share).toFixed(2)} % of a processor`);
  assert(ticks > time / 50 / 2, `a timer ticked ${ticks} times`);
});

test("A wait keeps the process alive, and lets it end afterwards", async () => {
  await using child = run(`
    const { pipe, poll } = await import(${JSON.stringify(projectFile("unix/mod.ts"))});
    const ends = pipe();
    poll([{ fd: ends.reader.fd }]).then(() => say("ready"));
    setTimeout(() => ends.writer.writeSync("x"), 100).unref();`);
  assertEquals(await child.hear(), "ready");
  assertEquals(await child.exit, { code: 0, signal: null });
});
