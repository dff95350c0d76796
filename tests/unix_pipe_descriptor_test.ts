import { assert, assertEquals, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import {
  Epoll,
  makeFifo,
  openFifo,
  type Pipe,
  pipe,
  PipeReader,
  PipeWriter,
  poll,
  setNonblocking,
} from "@sysv/ipc/unix";
import { assertIpcError, wrong } from "./support/assert.ts";
import { Child, command } from "./support/child.ts";
import { untilWatched } from "./support/observe.ts";
import {
  assertReferenceError,
  fill,
  freshPath,
  openDescriptors,
  prelude,
  reading,
  runWith,
  text,
  writing,
} from "./support/pipe_ends.ts";
import { until } from "./support/time.ts";

test("A closed end throws a ReferenceError, whatever is done with it", async () => {
  using ends = pipe();
  const { reader, writer } = ends;
  assertEquals([reader.closed, writer.closed], [false, false]);
  ends[Symbol.dispose]();
  assertEquals([reader.closed, writer.closed], [true, true]);
  await assertReferenceError(() => reader.fd);
  await assertReferenceError(() => writer.fd);
  for (const read of Object.values(reading)) await assertReferenceError(() => read(reader));
  for (const write of Object.values(writing)) {
    await assertReferenceError(() => write(writer, "x"));
    await assertReferenceError(() => write(writer, ""));
  }
});

test("Waits reject with a ReferenceError when their end is closed", async () => {
  using ends = pipe();
  const { reader, writer } = ends;
  const reads = [reader.read(), reader.read(1, { timeout: 60_000 })];
  await untilWatched(reader.fd);
  reader.close();
  for (const read of reads) await assertReferenceError(() => read);
  using other = pipe();
  fill(other.writer);
  const write = other.writer.write("x");
  await untilWatched(other.writer.fd);
  other.writer.close();
  await assertReferenceError(() => write);
  writer.close();
});

test("A closed end that is closed again leaves alone who has its number now", () => {
  const former = pipe();
  const { fd } = former.reader;
  former.reader.close();
  const next = [pipe()];
  const hasNumber = ({ reader, writer }: Pipe) => reader.fd === fd || writer.fd === fd;
  while (!next.some(hasNumber)) next.push(pipe());
  former.reader.close();
  former.reader[Symbol.dispose]();
  for (const ends of next) {
    ends.writer.writeSync("safe");
    assertEquals(text(ends.reader.readSync()), "safe");
    ends[Symbol.dispose]();
  }
  former[Symbol.dispose]();
});

test("PipeReader and PipeWriter take no descriptor that is not open for them", () => {
  using ends = pipe();
  const closed = pipe();
  const numbers = [closed.reader.fd, closed.writer.fd, -1, 1_000_000];
  closed[Symbol.dispose]();
  for (const fd of numbers) {
    assertIpcError(() => new PipeReader(fd), "EBADF", "fcntl");
    assertIpcError(() => new PipeWriter(fd), "EBADF", "fcntl");
    assertIpcError(() => setNonblocking(fd, true), "EBADF", "fcntl");
  }
  assertIpcError(() => new PipeReader(ends.writer.fd), "EBADF", "fcntl");
  assertIpcError(() => new PipeWriter(ends.reader.fd), "EBADF", "fcntl");
  for (const End of [PipeReader, PipeWriter]) {
    for (const fd of wrong("3", undefined)) assertThrows(() => new End(fd), TypeError);
    for (const fd of [1.5, NaN, 2 ** 32]) assertThrows(() => new End(fd), RangeError);
  }
});

test("An end whose descriptor was closed by others fails with EBADF", async () => {
  // In a process of its own, as whoever opens a file at the same moment would get the number.
  await using child = runWith(
    [],
    `const failure = async (run) => {
      try {
        return await run();
      } catch (error) {
        return error.code + " " + error.syscall;
      }
    };
    const failures = [];
    const fails = (run) => failures.push(failure(run));
    const { reader, writer } = pipe();
    new PipeReader(reader.fd).close();
    new PipeWriter(writer.fd).close();
    fails(() => reader.read());
    fails(() => reader.tryRead());
    fails(() => reader.readSync());
    fails(() => writer.write("x"));
    fails(() => writer.tryWrite("x"));
    fails(() => writer.writeSync("x"));
    fails(() => reader.close());
    fails(() => writer.close());
    fails(() => reader.closed && writer.closed);
    for (const failure of failures) say(await failure);`,
  );
  for (const call of ["read", "read", "poll"]) assertEquals(await child.hear(), `EBADF ${call}`);
  for (let i = 0; i < 3; i++) assertEquals(await child.hear(), "EBADF write");
  for (let i = 0; i < 2; i++) assertEquals(await child.hear(), "EBADF close");
  assertEquals(await child.hear(), "true");
});

/** The flags of an open file, as fcntl tells them. */
function flagsOf(fd: number, pid: number | "self" = "self"): number {
  const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8");
  return parseInt(/flags:\s*(\d+)/.exec(info)![1]!, 8);
}

test("setNonblocking() holds for whoever else uses the open file", () => {
  using ends = pipe();
  const { fd } = ends.reader;
  const flags = () => flagsOf(fd);
  const O_NONBLOCK = 0o4000;
  const before = flags();
  setNonblocking(fd, true);
  assertEquals(flags(), before | O_NONBLOCK);
  for (const on of wrong("yes", 1, undefined, null)) {
    assertThrows(() => setNonblocking(fd, on), TypeError);
    assertThrows(() => pipe({ nonblocking: on ?? 0 as never }), TypeError);
  }
  assertEquals(flags(), before | O_NONBLOCK);
  setNonblocking(fd, false);
  assertEquals(flags(), before);
});

test("PipeReader and PipeWriter leave it to others who inherits their descriptors", async () => {
  using ends = pipe();
  await using child = runWith(
    [ends.reader.fd, ends.writer.fd],
    `say("ready");
    lines(() => {
      const taken = [new PipeReader(3), new PipeWriter(4)];
      say(taken.length);
    });`,
  );
  assertEquals(await child.hear(), "ready");
  // Bun itself keeps from its children what it was handed.
  const before = [3, 4].map((fd) => flagsOf(fd, child.pid));
  child.say("take them");
  assertEquals(await child.hear(), "2");
  assertEquals([3, 4].map((fd) => flagsOf(fd, child.pid)), before);
});

test("10,000 pipes that are closed, and waits that end, leave no descriptor", async () => {
  const round = async () => {
    using ends = pipe();
    const read = ends.reader.read();
    ends.writer.writeSync("x");
    await read;
    const early = ends.reader.read(1, { timeout: 1 }).catch(() => {});
    const never = ends.reader.read().catch(() => {});
    await early;
    ends.reader.close();
    await never;
  };
  await round();
  const before = openDescriptors();
  for (let i = 0; i < 10_000; i++) pipe({ nonblocking: i % 2 === 0 })[Symbol.dispose]();
  for (let i = 0; i < 50; i++) await round();
  // What others opened before may be closed by now.
  await until(() => openDescriptors() <= before);
});

test("pipe() fails with EMFILE when this process has too many open files, and leaves none", async () => {
  const path = freshPath(".ts");
  writeFileSync(
    path,
    `${prelude}
    const all = [];
    let failure;
    try {
      for (;;) all.push(pipe());
    } catch (error) {
      failure = error;
    }
    const count = all.length;
    for (const ends of all.splice(0)) ends[Symbol.dispose]();
    for (let i = 0; i < count; i++) all.push(pipe());
    for (const ends of all) ends[Symbol.dispose]();
    say(failure.code + " " + failure.syscall);`,
  );
  await using child = new Child([
    "sh",
    "-c",
    `ulimit -n 100 && exec "$@"`,
    "sh",
    ...command(path, "bun"),
  ]);
  assertEquals(await child.hear(), "EMFILE pipe");
});

test("Children inherit nothing that was not handed over", async () => {
  using kept = pipe();
  using handed = pipe();
  using fifo = { path: freshPath(), [Symbol.dispose]() {} };
  makeFifo(fifo.path);
  using fifoReader = await openFifo(fifo.path, "read");
  using epoll = new Epoll();
  epoll.add(kept.reader.fd);
  const controller = new AbortController();
  const wait = poll([{ fd: kept.reader.fd }], { signal: controller.signal }).catch(() => {});
  const inode = (fd: number | string, pid: number | "self" = "self") => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  };
  const child = spawn("cat", { stdio: ["pipe", "ignore", "ignore", handed.reader.fd] });
  await until(() => readlinkSync(`/proc/${child.pid}/exe`).endsWith("/cat"));
  const has = readdirSync(`/proc/${child.pid}/fd`).map((fd) => inode(fd, child.pid));
  assert(has.includes(inode(handed.reader.fd)));
  for (const fd of [kept.reader.fd, kept.writer.fd, fifoReader.fd]) {
    assertEquals(has.includes(inode(fd)), false, inode(fd));
  }
  assertEquals(has.filter((file) => file.includes("eventpoll")), []);
  const exit = new Promise((resolve) => child.on("close", resolve));
  child.stdin!.end();
  await exit;
  controller.abort();
  await wait;
});
