import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync } from "node:fs";
import { devNull } from "node:os";
import { test } from "node:test";
import { IpcError } from "@sysv/ipc";
import { Epoll, type Pipe, pipe, poll, type PollResult } from "@sysv/ipc/unix";
import { assertIpcError, assertTimeout, assertTimesOut, wrong } from "./support/assert.ts";
import { untilWatched } from "./support/observe.ts";
import { fill, pipes } from "./support/pipes.ts";
import { passed, until } from "./support/time.ts";

const readable = ({ reader: { fd } }: Pipe): PollResult => ({ fd, events: ["readable"] });

const waiting = {
  wait: (epoll: Epoll, max?: number) => epoll.wait({ max }),
  waitSync: (epoll: Epoll, max?: number) => epoll.waitSync({ max }),
  tryWait: (epoll: Epoll, max?: number) => epoll.tryWait(max)!,
};

for (const [name, wait] of Object.entries(waiting)) {
  for (const trigger of ["level", "edge"] as const) {
    for (const max of [1, 64, 1000]) {
      test(`Epoll.${name}() tells of events on a thousand pipes, at most ${max} at once, by ${trigger}: none is lost, none doubled`, async () => {
        using all = pipes(1000);
        using epoll = new Epoll();
        const readers = new Map(all.map(({ reader }) => [reader.fd, reader]));
        for (const fd of readers.keys()) epoll.add(fd, { trigger });
        assertStrictEquals(epoll.tryWait(), undefined);
        for (let round = 0; round < 2; round++) {
          for (const { writer } of all) writer.writeSync("x");
          const told = new Set<number>();
          while (told.size < 1000) {
            const results = await wait(epoll, max);
            assert(results.length >= 1 && results.length <= max);
            for (const { fd, events } of results) {
              assertEquals([events, told.has(fd)], [["readable"], false]);
              told.add(fd);
              readers.get(fd)!.readSync();
            }
          }
          assertStrictEquals(epoll.tryWait(), undefined);
        }
      });
    }
  }
}

test("An Epoll tells by level as long as there is something, by edge once for each time something comes", () => {
  using ends = pipe();
  using level = new Epoll();
  using edge = new Epoll();
  const { fd } = ends.reader;
  level.add(fd);
  edge.add(fd, { trigger: "edge" });
  ends.writer.writeSync("ab");
  assertEquals(level.tryWait(), [readable(ends)]);
  assertEquals(level.tryWait(), [readable(ends)]);
  assertEquals(edge.tryWait(), [readable(ends)]);
  assertStrictEquals(edge.tryWait(), undefined);
  ends.reader.readSync(1);
  assertEquals(level.tryWait(), [readable(ends)]);
  assertStrictEquals(edge.tryWait(), undefined);
  ends.writer.writeSync("c");
  assertEquals(edge.tryWait(), [readable(ends)]);
  ends.reader.readSync();
  assertStrictEquals(level.tryWait(), undefined);
  ends.writer.close();
  assertEquals(level.tryWait(), [{ fd, events: ["hangup"] }]);
  assertEquals(edge.tryWait(), [{ fd, events: ["hangup"] }]);
  assertStrictEquals(edge.tryWait(), undefined);
});

test("An Epoll tells of room in a full pipe, and that its reader is gone", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  const { fd } = ends.writer;
  epoll.add(fd, { events: ["writable"], trigger: "edge" });
  assertEquals(await epoll.wait(), [{ fd, events: ["writable"] }]);
  fill(ends);
  const wait = epoll.wait();
  ends.reader.readSync(65536);
  assertEquals(await wait, [{ fd, events: ["writable"] }]);
  ends.reader.close();
  assertEquals(await epoll.wait(), [{ fd, events: ["writable", "error"] }]);
});

test("Epoll.modify() changes for what and how, Epoll.remove() ends it", () => {
  using ends = pipe();
  using epoll = new Epoll();
  const { fd } = ends.reader;
  epoll.add(fd, { events: "priority" });
  ends.writer.writeSync("x");
  assertStrictEquals(epoll.tryWait(), undefined);
  epoll.modify(fd, { events: ["readable", "priority"], trigger: "edge" });
  assertEquals(epoll.tryWait(), [readable(ends)]);
  assertStrictEquals(epoll.tryWait(), undefined);
  epoll.modify(fd);
  assertEquals([epoll.tryWait(), epoll.tryWait()], [[readable(ends)], [readable(ends)]]);
  epoll.remove(fd);
  assertStrictEquals(epoll.tryWait(), undefined);
  epoll.add(fd);
  assertEquals(epoll.tryWait(), [readable(ends)]);
});

test("Epoll tells what it cannot watch", () => {
  using ends = pipe();
  using epoll = new Epoll();
  const { fd } = ends.reader;
  assertIpcError(() => epoll.modify(fd), "ENOENT", "epoll_ctl");
  assertIpcError(() => epoll.remove(fd), "ENOENT", "epoll_ctl");
  epoll.add(fd);
  assertIpcError(() => epoll.add(fd), "EEXIST", "epoll_ctl");
  epoll.remove(fd);
  assertIpcError(() => epoll.remove(fd), "ENOENT", "epoll_ctl");
  assertIpcError(() => epoll.add(epoll.fd), "EINVAL", "epoll_ctl");
  for (const fd of [-1, 1_000_000]) {
    assertIpcError(() => epoll.add(fd), "EBADF", "epoll_ctl");
    assertIpcError(() => epoll.modify(fd), "EBADF", "epoll_ctl");
    assertIpcError(() => epoll.remove(fd), "EBADF", "epoll_ctl");
  }
  const file = openSync(import.meta.filename!, "r");
  assertIpcError(() => epoll.add(file), "EPERM", "epoll_ctl");
  closeSync(file);
  const nothing = openSync(devNull, "r");
  assertIpcError(() => epoll.add(nothing), "EPERM", "epoll_ctl");
  closeSync(nothing);
  for (const fd of wrong("3", undefined)) assertThrows(() => epoll.add(fd), TypeError);
  for (const fd of [1.5, NaN, 2 ** 32]) assertThrows(() => epoll.add(fd), RangeError);
  for (const trigger of wrong("Edge", "", null)) {
    assertThrows(() => epoll.add(fd, { trigger }), TypeError, `expected "level" or "edge"`);
  }
  for (const events of wrong("hangup", ["readable", ""])) {
    assertThrows(() => epoll.add(fd, { events }), TypeError);
  }
  for (const max of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => epoll.tryWait(max), RangeError);
    assertThrows(() => epoll.waitSync({ max }), RangeError);
  }
});

test("A descriptor that is closed is gone from the set", async () => {
  using epoll = new Epoll();
  const former = pipe();
  epoll.add(former.reader.fd);
  former.writer.writeSync("x");
  former[Symbol.dispose]();
  await assertTimesOut(() => epoll.wait({ timeout: 5 }));
  using all = pipes(10);
  for (const { reader } of all) epoll.add(reader.fd);
  all[7]!.writer.writeSync("x");
  assertEquals(await epoll.wait(), [readable(all[7]!)]);
});

test("A descriptor that another process has too stays in the set when it is closed here", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  const result = readable(ends);
  epoll.add(result.fd);
  const child = spawn("cat", { stdio: ["pipe", "ignore", "ignore", ends.reader.fd] });
  const exit = new Promise((resolve) => child.on("close", resolve));
  ends.reader.close();
  ends.writer.writeSync("x");
  assertEquals(await epoll.wait(), [result]);
  child.stdin!.end();
  await exit;
  await until(() => epoll.tryWait() === undefined);
});

test("Waiting for an Epoll ends when the time is up or it is aborted, and loses nothing", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  epoll.add(ends.reader.fd, { trigger: "edge" });
  for (const timeout of [0, 20]) {
    const start = performance.now();
    await assertTimesOut(() => epoll.wait({ timeout }));
    assertTimeout(() => epoll.waitSync({ timeout }));
    assert(performance.now() - start >= 2 * timeout);
  }
  const controller = new AbortController();
  const { signal } = controller;
  const wait = epoll.wait({ signal });
  await untilWatched(epoll.fd);
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => wait), reason);
  ends.writer.writeSync("x");
  assertStrictEquals(await assertRejects(() => epoll.wait({ signal })), reason);
  await assertRejects(() => epoll.wait({ timeout: -1 }), RangeError);
  assertThrows(() => epoll.waitSync({ timeout: NaN }), RangeError);
  assertEquals(await epoll.wait({ timeout: 0 }), [readable(ends)]);
});

test("Waits by edge that end at random moments lose no event", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  epoll.add(ends.reader.fd, { trigger: "edge" });
  let told = 0;
  for (let i = 0; i < 300; i++) {
    const controller = new AbortController();
    const wait = epoll.wait({ signal: controller.signal }).catch((reason) => {
      assertEquals(reason, "enough");
      return epoll.tryWait();
    });
    if (i % 2 === 0) await passed(Math.random() * 2);
    const write = () => ends.writer.writeSync("x");
    const abort = () => controller.abort("enough");
    for (const step of i % 3 === 0 ? [write, abort] : [abort, write]) {
      step();
      if (i % 5 === 0) await Promise.resolve();
    }
    const results = await wait ?? epoll.tryWait();
    if (results !== undefined) told++;
    assertStrictEquals(epoll.tryWait(), undefined);
  }
  assertEquals(told, 300);
});

test("Two waits for one Epoll are both told by level", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  epoll.add(ends.reader.fd);
  const waits = [epoll.wait(), epoll.wait()];
  await untilWatched(epoll.fd);
  ends.writer.writeSync("x");
  assertEquals(await Promise.all(waits), [[readable(ends)], [readable(ends)]]);
});

test("Of two waits for one Epoll each is told by edge of what the other was not", async () => {
  using ends = pipe();
  using epoll = new Epoll();
  epoll.add(ends.reader.fd, { trigger: "edge" });
  let told = 0;
  const waits = [epoll.wait(), epoll.wait()].map((wait) => wait.then(() => told++));
  for (const count of [1, 2]) {
    await untilWatched(epoll.fd);
    ends.writer.writeSync("x");
    await until(() => told === count);
    assertEquals(told, count);
  }
  await Promise.all(waits);
});

test("An Epoll can be polled, and be in another one", async () => {
  using ends = pipe();
  using inner = new Epoll();
  using outer = new Epoll();
  inner.add(ends.reader.fd);
  outer.add(inner.fd);
  const polled = poll([{ fd: inner.fd }]);
  const waited = outer.wait();
  await untilWatched(outer.fd);
  ends.writer.writeSync("x");
  const result = [{ fd: inner.fd, events: ["readable"] }];
  assertEquals([await polled, await waited], [result, result] as PollResult[][]);
});

test("Iterating over an Epoll gives what is ready as it comes, until it is closed", async () => {
  using all = pipes(3);
  const epoll = new Epoll();
  for (const { reader } of all) epoll.add(reader.fd);
  const told: PollResult[] = [];
  const iteration = (async () => {
    for await (const result of epoll) {
      told.push(result);
      all.find(({ reader }) => reader.fd === result.fd)!.reader.readSync();
    }
  })();
  for (const [i, ends] of all.entries()) {
    ends.writer.writeSync("x");
    await until(() => told.length === i + 1);
  }
  assertEquals(told, all.map(readable));
  epoll.close();
  await iteration;
});

test("Leaving the iteration over an Epoll loses no event", async () => {
  using all = pipes(3);
  using epoll = new Epoll();
  for (const { reader, writer } of all) {
    epoll.add(reader.fd, { trigger: "edge" });
    writer.writeSync("x");
  }
  const told: PollResult[] = [];
  for (const _ of all) {
    for await (const result of epoll) {
      told.push(result);
      break;
    }
  }
  assertEquals(told, all.map(readable));
  assertStrictEquals(epoll.tryWait(), undefined);
});

test("Iterating over an Epoll tells nothing of a descriptor that is removed meanwhile", async () => {
  using all = pipes(3);
  using epoll = new Epoll();
  for (const { reader, writer } of all) {
    epoll.add(reader.fd);
    writer.writeSync("x");
  }
  const [first, second, third] = all as unknown as [Pipe, Pipe, Pipe];
  const told: number[] = [];
  for await (const { fd } of epoll) {
    told.push(fd);
    if (fd === third.reader.fd) break;
    epoll.remove(first.reader.fd);
    epoll.remove(second.reader.fd);
  }
  assertEquals(told, [first.reader.fd, third.reader.fd]);
});

test("poll() for an Epoll that is closed meanwhile fails with EBADF", async () => {
  const epoll = new Epoll();
  const { fd } = epoll;
  const polled = poll([{ fd }]);
  await untilWatched(fd);
  epoll.close();
  const error = await assertRejects(() => polled, IpcError);
  assertEquals([error.code, error.syscall], ["EBADF", "poll"]);
});

test("Iterating over an Epoll ends when it is closed, even if more was ready", async () => {
  using all = pipes(3);
  const epoll = new Epoll();
  for (const { reader, writer } of all) {
    epoll.add(reader.fd);
    writer.writeSync("x");
  }
  let told = 0;
  for await (const _ of epoll) {
    told++;
    epoll.close();
  }
  assertEquals(told, 1);
});

test("A closed Epoll throws a ReferenceError, and so do the waits for it", async () => {
  using ends = pipe();
  const epoll = new Epoll();
  const { fd } = epoll;
  epoll.add(ends.reader.fd);
  const waits = [epoll.wait(), epoll.wait({ timeout: 60_000 })];
  await untilWatched(epoll.fd);
  epoll.close();
  for (const wait of waits) await assertRejects(() => wait, ReferenceError, "closed");
  await assertRejects(() => epoll.wait(), ReferenceError, "closed");
  for (
    const use of [
      () => epoll.fd,
      () => epoll.add(ends.reader.fd),
      () => epoll.modify(ends.reader.fd),
      () => epoll.remove(ends.reader.fd),
      () => epoll.waitSync(),
      () => epoll.tryWait(),
    ]
  ) {
    assertThrows(use, ReferenceError, "closed");
  }
  const next = [pipe()];
  while (!next.some(({ reader, writer }) => reader.fd === fd || writer.fd === fd)) {
    next.push(pipe());
  }
  epoll.close();
  epoll[Symbol.dispose]();
  for (const ends of next) {
    ends.writer.writeSync("safe");
    assertEquals(ends.reader.readSync()?.byteLength, 4);
    ends[Symbol.dispose]();
  }
  ends.writer.writeSync("its descriptors are open");
});

test("Epolls that are closed leave no descriptor", async () => {
  using ends = pipe();
  const round = async () => {
    using epoll = new Epoll();
    epoll.add(ends.reader.fd);
    const early = epoll.wait({ timeout: 1 }).catch(() => {});
    const never = epoll.wait().catch(() => {});
    await early;
    epoll.close();
    await never;
  };
  await round();
  const count = () => readdirSync("/proc/self/fd").length;
  const before = count();
  for (let i = 0; i < 1000; i++) new Epoll().close();
  for (let i = 0; i < 30; i++) await round();
  // What others opened before may be closed by now.
  await until(() => count() <= before);
});

test("Epoll.available tells whether there is epoll", () => {
  assertEquals(Epoll.available, true);
  using epoll = new Epoll();
  assert(Number.isInteger(epoll.fd));
  assert(!(epoll instanceof IpcError));
});
