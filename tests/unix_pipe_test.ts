import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { devNull } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { IpcError } from "@sysv/ipc";
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
import { assertIpcError, assertTimeout, assertTimesOut, wrong } from "./support/assert.ts";
import { Child, command, projectFile, type Runtime, runtime, runtimes } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";
import { untilWatched } from "./support/observe.ts";
import { passed, settles, until } from "./support/time.ts";

/** How much a pipe holds, as Linux makes them. */
const CAPACITY = 65536;

const folder = temporaryFolder().path;
let files = 0;
const freshPath = (suffix = "") => join(folder, `${files++}${suffix}`);

const prelude = `
  import process from "node:process";
  import * as unix from ${JSON.stringify(projectFile("unix/mod.ts"))};
  const { pipe, openFifo, PipeReader, PipeWriter } = unix;
  const say = (text) => process.stdout.write(text + "\\n");
  const expected = (start, length) => Uint8Array.from({ length }, (_, i) => (start + i) % 251);
  const lines = (listen) => process.stdin.on("data", (data) => {
    for (const line of String(data).trim().split("\\n")) listen(line);
  });
  void [openFifo, pipe, PipeReader, PipeWriter, say, expected, lines];
`;

/** Runs a program to which descriptors are handed over: as 3, 4 and so on. */
function runWith(descriptors: readonly number[], program: string, runs: Runtime = runtime): Child {
  const path = freshPath(".ts");
  writeFileSync(path, prelude + program);
  const options = { env: process.env, stdio: ["pipe", "pipe", "pipe", ...descriptors] };
  return new Child(command(path, runs, ["--allow-ffi", "--allow-read", "--allow-write"]), options);
}

const text = (bytes: Uint8Array | null | undefined) => bytes && new TextDecoder().decode(bytes);
/** The bytes of a sequence in which each place shows what it lost. */
const sequence = (length: number, start = 0) =>
  Uint8Array.from({ length }, (_, i) => (start + i) % 251);
const openDescriptors = () => readdirSync("/proc/self/fd").length;
async function assertReferenceError(run: () => unknown): Promise<void> {
  await assertRejects(async () => await run(), ReferenceError, "closed");
}

async function assertIpcRejection(
  run: () => Promise<unknown>,
  code: string,
  syscall: string,
): Promise<void> {
  const error = await assertRejects(run, IpcError);
  assertEquals([error.code, error.syscall], [code, syscall]);
}

/** Reads all until the end. */
async function readAll(reader: PipeReader, max?: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const bytes = await reader.read(max);
    if (bytes === null) return Buffer.concat(chunks);
    chunks.push(bytes);
  }
}

/** Writes until there is no room; gives how much it was. */
function fill(writer: PipeWriter): number {
  let sum = 0;
  for (;;) {
    const written = writer.tryWrite(sequence(CAPACITY, sum));
    if (written === undefined) return sum;
    sum += written;
  }
}

function assertSequence(bytes: Uint8Array, length: number): void {
  assertEquals(bytes.byteLength, length);
  assert(bytes.every((byte, i) => byte === i % 251), "a byte is not in its place");
}

const reading = {
  read: (reader: PipeReader, max?: number) => reader.read(max),
  tryRead: (reader: PipeReader, max?: number) => reader.tryRead(max),
  readSync: (reader: PipeReader, max?: number) => reader.readSync(max),
};
const writing = {
  write: (writer: PipeWriter, data: string | ArrayBuffer | ArrayBufferView) => writer.write(data),
  tryWrite: (writer: PipeWriter, data: string | ArrayBuffer | ArrayBufferView) =>
    writer.tryWrite(data),
  writeSync: (writer: PipeWriter, data: string | ArrayBuffer | ArrayBufferView) =>
    writer.writeSync(data),
};

for (const nonblocking of [false, true]) {
  const kind = nonblocking ? "a non-blocking pipe" : "a pipe";
  const make = () => pipe({ nonblocking });

  for (const [name, read] of Object.entries(reading)) {
    test(`PipeReader.${name}() gives what is in ${kind}, at most as much as asked for, then null at the end`, async () => {
      using ends = make();
      ends.writer.writeSync("hello");
      assertEquals(text(await read(ends.reader, 2)), "he");
      ends.writer.close();
      assertEquals(text(await read(ends.reader)), "llo");
      assertStrictEquals(await read(ends.reader), null);
      assertStrictEquals(await read(ends.reader, 1), null);
    });
  }

  for (const [name, write] of Object.entries(writing)) {
    test(`PipeWriter.${name}() writes text as UTF-8 and the bytes of any view into ${kind}`, async () => {
      using ends = make();
      assertEquals(await write(ends.writer, "hé"), 3);
      const bytes = sequence(10);
      assertEquals(await write(ends.writer, bytes.subarray(3, 5)), 2);
      assertEquals(await write(ends.writer, new DataView(bytes.buffer, 7, 2)), 2);
      assertEquals(await write(ends.writer, new Uint16Array([0x0a09])), 2);
      assertEquals(await write(ends.writer, bytes.buffer), 10);
      assertEquals(await write(ends.writer, ""), 0);
      const expected = [0x68, 0xc3, 0xa9, 3, 4, 7, 8, 9, 10, ...bytes];
      assertEquals([...ends.reader.tryRead() ?? []], expected);
      assertStrictEquals(ends.reader.tryRead(), undefined);
    });

    test(`PipeWriter.${name}() fails with EPIPE once ${kind} has no reader`, async () => {
      using ends = make();
      ends.writer.writeSync("nobody reads this");
      ends.reader.close();
      for (const data of ["x", sequence(3 * CAPACITY)]) {
        await assertIpcRejection(async () => await write(ends.writer, data), "EPIPE", "write");
      }
    });
  }

  test(`PipeReader.tryRead() tells nothing yet from the end of ${kind}`, () => {
    using ends = make();
    assertStrictEquals(ends.reader.tryRead(), undefined);
    ends.writer.close();
    assertStrictEquals(ends.reader.tryRead(), null);
  });

  test(`PipeReader.read() waits until something is in ${kind}, and the event loop goes on`, async () => {
    using ends = make();
    const read = ends.reader.read();
    await untilWatched(ends.reader.fd);
    await ends.writer.write("now");
    assertEquals(text(await read), "now");
  });

  test(`PipeReader.read() gives null when the writer of ${kind} is closed while it waits`, async () => {
    using ends = make();
    const read = ends.reader.read();
    await untilWatched(ends.reader.fd);
    ends.writer.close();
    assertStrictEquals(await read, null);
  });

  test(`Reading from ${kind} that ends early takes nothing`, async () => {
    using ends = make();
    const { reader, writer } = ends;
    await assertTimesOut(() => reader.read(9, { timeout: 5 }));
    await assertTimesOut(() => reader.read(9, { timeout: 0 }));
    assertTimeout(() => reader.readSync(9, { timeout: 5 }));
    assertTimeout(() => reader.readSync(9, { timeout: 0 }));
    const controller = new AbortController();
    const reason = new DOMException("Cannot see the sea", "TimeoutError");
    const read = reader.read(9, { signal: controller.signal });
    await untilWatched(reader.fd);
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => read), reason);
    writer.writeSync("whole");
    assertStrictEquals(
      await assertRejects(() => reader.read(9, { signal: controller.signal })),
      reason,
    );
    assertEquals(text(await reader.read(9, { timeout: 0 })), "whole");
  });

  test(`PipeWriter.tryWrite() writes as much as there is room for in ${kind}`, () => {
    using ends = make();
    const { reader, writer } = ends;
    assertEquals(writer.tryWrite(sequence(2 * CAPACITY)), CAPACITY);
    assertStrictEquals(writer.tryWrite("x"), undefined);
    assertSequence(reader.tryRead(2 * CAPACITY)!, CAPACITY);
  });

  test(`Writing to ${kind} that is full waits, and ends early with nothing written`, async () => {
    using ends = make();
    const { reader, writer } = ends;
    const size = fill(writer);
    await assertTimesOut(() => writer.write("x", { timeout: 5 }));
    await assertTimesOut(() => writer.write("x", { timeout: 0 }));
    assertTimeout(() => writer.writeSync("x", { timeout: 5 }));
    assertTimeout(() => writer.writeSync("x", { timeout: 0 }));
    const controller = new AbortController();
    const write = writer.write("x", { signal: controller.signal });
    await untilWatched(writer.fd);
    controller.abort("enough");
    assertEquals(await write.catch((reason) => reason), "enough");
    writer.close();
    assertSequence(await readAll(reader), size);
  });

  test(`Writing to ${kind} that ends early tells how much was written`, async () => {
    using ends = make();
    const { reader, writer } = ends;
    assertEquals(await writer.write(sequence(2 * CAPACITY), { timeout: 20 }), CAPACITY);
    assertSequence(reader.readSync(2 * CAPACITY)!, CAPACITY);
    assertEquals(writer.writeSync(sequence(2 * CAPACITY), { timeout: 20 }), CAPACITY);
    assertSequence(reader.readSync(2 * CAPACITY)!, CAPACITY);
    const controller = new AbortController();
    const write = writer.write(sequence(2 * CAPACITY), { signal: controller.signal });
    await untilWatched(writer.fd);
    controller.abort();
    assertEquals(await write, CAPACITY);
  });

  test(`Waits for ${kind} that end at random moments lose no byte and double none`, async () => {
    using ends = make();
    const { reader, writer } = ends;
    const total = 1_000_000;
    const some = () => 1 + Math.floor(Math.random() * 20_000);
    /** Ends a wait in one of the ways that it can end. */
    const ending = () => {
      const controller = new AbortController();
      const when = Math.random() * 3;
      if (when < 1) queueMicrotask(() => controller.abort("enough"));
      else setTimeout(() => controller.abort("enough"), when - 1);
      return Math.random() < 0.5
        ? { signal: controller.signal }
        : { timeout: Math.floor(Math.random() * 3) };
    };
    const early = (reason: unknown) => {
      if (reason === "enough" || (reason as Error).name === "TimeoutError") return undefined;
      throw reason;
    };
    const writes = async () => {
      for (let sum = 0; sum < total;) {
        const bytes = sequence(Math.min(5 * some(), total - sum), sum);
        sum += await writer.write(bytes, ending()).catch(early) ?? 0;
        if (Math.random() < 0.2) await passed(Math.random() * 3);
      }
      writer.close();
    };
    const chunks: Uint8Array[] = [];
    const reads = async () => {
      for (;;) {
        const bytes = await reader.read(some(), ending()).catch(early);
        if (bytes === null) return;
        if (bytes !== undefined) chunks.push(bytes);
        if (Math.random() < 0.2) await passed(Math.random() * 3);
      }
    };
    await Promise.all([writes(), reads()]);
    assertSequence(Buffer.concat(chunks), total);
  });

  for (const runs of runtimes) {
    test(`Megabytes go both ways through ${kind} to and from a process in ${runs}`, async () => {
      using there = make();
      using back = make();
      await using child = runWith(
        [there.reader.fd, back.writer.fd],
        `const reader = new PipeReader(3), writer = new PipeWriter(4);
        for (;;) {
          const bytes = await reader.read(100_000);
          if (bytes === null) break;
          if (await writer.write(bytes) !== bytes.byteLength) throw new Error("short");
        }
        writer.close();
        say("end");`,
        runs,
      );
      there.reader.close();
      back.writer.close();
      const total = 8 << 20;
      const write = there.writer.write(sequence(total)).then((written) => {
        there.writer.close();
        return written;
      });
      assertSequence(await readAll(back.reader), total);
      assertEquals(await write, total);
      assertEquals(await child.hear(), "end");
      assertEquals(await child.exit, { code: 0, signal: null });
    });
  }
}

for (const runs of runtimes) {
  test(`readSync() and writeSync() wait for a process in ${runs}`, async () => {
    using there = pipe();
    using back = pipe();
    await using child = runWith(
      [there.reader.fd, back.writer.fd],
      `const reader = new PipeReader(3), writer = new PipeWriter(4);
      writer.writeSync("ready");
      for (let bytes; (bytes = reader.readSync()) !== null;) writer.writeSync(bytes);
      writer.writeSync("end");`,
      runs,
    );
    there.reader.close();
    back.writer.close();
    assertEquals(text(back.reader.readSync()), "ready");
    for (let i = 0; i < 20; i++) {
      assertEquals(there.writer.writeSync(sequence(CAPACITY)), CAPACITY);
      for (let sum = 0; sum < CAPACITY;) {
        const bytes = back.reader.readSync(CAPACITY - sum)!;
        assertEquals(bytes[0], sum % 251);
        sum += bytes.byteLength;
      }
    }
    there.writer.close();
    assertEquals(text(back.reader.readSync()), "end");
    assertStrictEquals(back.reader.readSync(), null);
    assertEquals((await child.exit).code, 0);
  });

  test(`A process in ${runs} that writes to a pipe without readers lives on`, async () => {
    using ends = pipe();
    await using child = runWith(
      [ends.writer.fd],
      `const writer = new PipeWriter(3);
      const failure = async (write) => {
        try {
          return await write();
        } catch (error) {
          return error.code;
        }
      };
      lines(async () => {
        for (const write of ["write", "tryWrite", "writeSync"]) {
          say(await failure(() => writer[write]("x")));
        }
        process.exit(3);
      });
      say("ready");`,
      runs,
    );
    assertEquals(await child.hear(), "ready");
    ends.reader.close();
    child.say("go");
    for (let i = 0; i < 3; i++) assertEquals(await child.hear(), "EPIPE");
    assertEquals(await child.exit, { code: 3, signal: null });
  });

  test(`What a process in ${runs} wrote before it was killed is there to read, then comes the end`, async () => {
    using ends = pipe();
    await using child = runWith(
      [ends.writer.fd],
      `new PipeWriter(3).writeSync("last words"); say("written"); setInterval(() => {}, 1000);`,
      runs,
    );
    ends.writer.close();
    assertEquals(await child.hear(), "written");
    await child.kill();
    assertEquals(text(await ends.reader.read()), "last words");
    assertStrictEquals(await ends.reader.read(), null);
  });

  test(`Processes in ${runs} that read one pipe get each byte once, and none blocks when another was faster`, async () => {
    using ends = pipe();
    const program = `
      const reader = new PipeReader(3);
      lines((line) => say(line));
      say("ready");
      for (let bytes; (bytes = await reader.read(1)) !== null;) say("got " + bytes[0]);
      process.exit();`;
    await using first = runWith([ends.reader.fd], program, runs);
    await using second = runWith([ends.reader.fd], program, runs);
    await using third = runWith([ends.reader.fd], program, runs);
    const children = [first, second, third];
    for (const child of children) assertEquals(await child.hear(), "ready");
    ends.reader.close();
    const got: number[] = [];
    const rounds = 200;
    for (let round = 0; round < rounds; round++) {
      ends.writer.writeSync(Uint8Array.of(round));
      const answers = Promise.all(children.map(async (child) => {
        child.say("here");
        for (;;) {
          const line = await child.hear();
          if (line === "here") return true;
          got.push(Number(line.slice(4)));
        }
      }));
      assert(await settles(answers), `a reader is blocked in round ${round}`);
    }
    ends.writer.close();
    await Promise.all(children.map(async (child) => {
      for (let line; (line = await child.hear().catch(() => undefined)) !== undefined;) {
        got.push(Number(line.slice(4)));
      }
    }));
    assertEquals(got.sort((a, b) => a - b), [...Array(rounds).keys()]);
  });

  test(`Processes in ${runs} that write to one full pipe do not block when another was faster`, async () => {
    using ends = pipe();
    const size = fill(ends.writer);
    const program = `
      const writer = new PipeWriter(3);
      lines((line) => say(line));
      say("ready");
      for (;;) await writer.write(new Uint8Array(4096));`;
    await using first = runWith([ends.writer.fd], program, runs);
    await using second = runWith([ends.writer.fd], program, runs);
    await using third = runWith([ends.writer.fd], program, runs);
    const children = [first, second, third];
    for (const child of children) assertEquals(await child.hear(), "ready");
    assertEquals(size, CAPACITY);
    for (let round = 0; round < 200; round++) {
      assertEquals((await ends.reader.read(4096))?.byteLength, 4096);
      const answers = Promise.all(children.map(async (child) => {
        child.say("here");
        return await child.hear() === "here";
      }));
      assert(await settles(answers), `a writer is blocked in round ${round}`);
    }
  });
}

test("Up to 4,096 bytes are never mixed with what other processes write", async () => {
  using ends = pipe();
  const program = (mark: number) => `
    const writer = new PipeWriter(3);
    for (let i = 0; i < 300; i++) await writer.write(new Uint8Array(4096).fill(${mark}));`;
  await using first = runWith([ends.writer.fd], program(1), "deno");
  await using second = runWith([ends.writer.fd], program(2), "bun");
  ends.writer.close();
  const all = await readAll(ends.reader);
  const sums = [0, 0, 0];
  for (let at = 0; at < all.byteLength; at += 4096) {
    const block = all.subarray(at, at + 4096);
    assert(block.every((byte) => byte === block[0]), "two writes are mixed");
    sums[block[0]!]!++;
  }
  assertEquals(sums, [0, 300, 300]);
  assertEquals([(await first.exit).code, (await second.exit).code], [0, 0]);
});

test("Of reads that wait for one pipe each gets what the others did not", async () => {
  using ends = pipe();
  const other = new PipeReader(ends.reader.fd);
  const reads = [ends.reader.read(1), ends.reader.read(1), other.read(1)];
  const got: (string | null | undefined)[] = [];
  reads.forEach((read) => read.then((bytes) => got.push(text(bytes))));
  for (const [i, letter] of ["a", "b", "c"].entries()) {
    ends.writer.writeSync(letter);
    await until(() => got.length === i + 1);
    assertStrictEquals(ends.reader.tryRead(), undefined);
  }
  assertEquals(got.sort(), ["a", "b", "c"]);
});

test("PipeReader.readable gives all, nothing before it is asked, and ends at the end of file", async () => {
  using ends = pipe();
  const { reader, writer } = ends;
  assertStrictEquals(reader.readable, reader.readable);
  writer.writeSync("not taken ahead");
  const stream = reader.readable.getReader();
  await passed(1);
  assertEquals(text(reader.tryRead()), "not taken ahead");
  const first = stream.read();
  writer.writeSync("first");
  assertEquals(text((await first).value), "first");
  writer.writeSync("second");
  writer.close();
  assertEquals(text((await stream.read()).value), "second");
  assertEquals(reader.closed, false);
  assertEquals((await stream.read()).done, true);
  assert(reader.closed);
});

test("Cancelling PipeReader.readable closes the end, even while it is read", async () => {
  using ends = pipe();
  const stream = ends.reader.readable.getReader();
  const read = stream.read();
  await untilWatched(ends.reader.fd);
  await stream.cancel("enough");
  assertEquals((await read).done, true);
  assert(ends.reader.closed);
  assertIpcError(() => ends.writer.writeSync("x"), "EPIPE", "write");
});

test("PipeWriter.writable makes writers wait while the pipe is full, and closes it at its end", async () => {
  using ends = pipe();
  const { reader, writer } = ends;
  assertStrictEquals(writer.writable, writer.writable);
  const size = fill(writer);
  const stream = writer.writable.getWriter();
  let written = false;
  const write = stream.write(sequence(10, size)).then(() => written = true);
  const end = stream.close();
  await untilWatched(writer.fd);
  assertEquals([written, stream.desiredSize! <= 0], [false, true]);
  const half = reader.readSync(5000)!;
  await write;
  await end;
  assert(writer.closed);
  assertSequence(Buffer.concat([half, await readAll(reader)]), size + 10);
});

test("Aborting PipeWriter.writable closes the end, even while a write waits", async () => {
  using ends = pipe();
  const size = fill(ends.writer);
  const stream = ends.writer.writable.getWriter();
  const write = stream.write("too much").catch((reason) => reason);
  stream.closed.catch(() => {});
  await untilWatched(ends.writer.fd);
  await stream.abort("enough");
  assertEquals(await write, "enough");
  assert(ends.writer.closed);
  assertSequence(await readAll(ends.reader), size);
});

test("Closing an end while its stream writes does not pretend that all was written", async () => {
  using ends = pipe();
  const stream = ends.writer.writable.getWriter();
  stream.closed.catch(() => {});
  const write = stream.write(sequence(2 * CAPACITY)).then(() => "all", () => "not all");
  await untilWatched(ends.writer.fd);
  ends.writer.close();
  assertEquals(await write, "not all");
});

test("A stream of a pipe fails with EPIPE when its reader goes", async () => {
  using ends = pipe();
  const stream = ends.writer.writable.getWriter();
  stream.closed.catch(() => {});
  const write = stream.write(sequence(2 * CAPACITY));
  await untilWatched(ends.writer.fd);
  ends.reader.close();
  await assertIpcRejection(() => write, "EPIPE", "write");
  assert(ends.writer.closed);
});

test("A stream of a pipe that is given what it cannot write closes the end", async () => {
  using ends = pipe();
  const stream = ends.writer.writable.getWriter();
  stream.closed.catch(() => {});
  const [chunk] = wrong(1);
  await assertRejects(() => stream.write(chunk!), TypeError);
  assert(ends.writer.closed);
});

test("PipeWriter.write() writes what the data was at the call, whatever becomes of it", async () => {
  const length = 2 * CAPACITY;
  const changes: Record<string, (buffer: ArrayBuffer) => void> = {
    overwritten: (buffer) => new Uint8Array(buffer).fill(255),
    shortened: (buffer) => buffer.resize(10),
    transferred: (buffer) => structuredClone(buffer, { transfer: [buffer] }),
  };
  for (const change of Object.values(changes)) {
    for (const View of [Uint8Array, Buffer]) {
      for (const streams of [false, true]) {
        using ends = pipe();
        const buffer = new ArrayBuffer(length, { maxByteLength: length });
        new Uint8Array(buffer).set(sequence(length));
        const data = View === Buffer ? Buffer.from(buffer) : new Uint8Array(buffer);
        const stream = streams ? ends.writer.writable.getWriter() : undefined;
        const written = stream?.write(data) ?? ends.writer.write(data);
        await untilWatched(ends.writer.fd);
        change(buffer);
        const all = readAll(ends.reader);
        assertEquals(await written, streams ? undefined : length);
        ends.writer.close();
        assertSequence(await all, length);
      }
    }
  }
});

test("The streams of two pipes can be joined", async () => {
  using there = pipe();
  using back = pipe();
  const joined = there.reader.readable.pipeTo(back.writer.writable);
  const total = 500_000;
  const write = there.writer.write(sequence(total)).then(() => there.writer.close());
  assertSequence(await readAll(back.reader), total);
  await Promise.all([write, joined]);
  assert(back.writer.closed);
});

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

test("Reading and writing refuse arguments that mean nothing", async () => {
  using ends = pipe();
  const { reader, writer } = ends;
  writer.writeSync("still here");
  for (const max of [0, -1, 1.5, NaN, Infinity]) {
    for (const read of Object.values(reading)) {
      await assertRejects(async () => await read(reader, max), RangeError);
    }
  }
  for (const timeout of [-1, NaN]) {
    await assertRejects(() => reader.read(1, { timeout }), RangeError);
    assertThrows(() => reader.readSync(1, { timeout }), RangeError);
    await assertRejects(() => writer.write("x", { timeout }), RangeError);
    assertThrows(() => writer.writeSync("x", { timeout }), RangeError);
  }
  for (const data of wrong(1, null, undefined, {}, [1])) {
    for (const write of Object.values(writing)) {
      await assertRejects(async () => await write(writer, data), TypeError);
    }
  }
  assertEquals(text(reader.tryRead()), "still here");
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

test("makeFifo() makes a FIFO for its owner, and fails where something is", () => {
  const path = freshPath();
  makeFifo(path);
  const stat = statSync(path);
  assertEquals([stat.isFIFO(), stat.mode & 0o777], [true, 0o600]);
  assertIpcError(() => makeFifo(path), "EEXIST", "mkfifo");
  assertIpcError(() => makeFifo(join(freshPath(), "x")), "ENOENT", "mkfifo");
  assertThrows(() => makeFifo(path, { mode: 0o1000 }), RangeError);
  for (const path of wrong("", "a\0b", 1)) assertThrows(() => makeFifo(path), TypeError);
  const wider = freshPath();
  makeFifo(wider, { mode: 0o640 });
  assertEquals(statSync(wider).mode & 0o777, 0o640 & ~process.umask());
});

test("A reader of a FIFO waits for its writers, and finds an end after each", async () => {
  const path = freshPath();
  makeFifo(path);
  using reader = await openFifo(path, "read");
  assertStrictEquals(reader.tryRead(), undefined);
  assertTimeout(() => reader.readSync(1, { timeout: 5 }));
  const first = reader.read();
  (await openFifo(path, "write")).close();
  assertStrictEquals(await first, null);
  for (const words of ["first", "second"]) {
    {
      using writer = await openFifo(path, "write");
      writer.writeSync(words);
      assertEquals(text(await reader.read()), words);
      assertStrictEquals(reader.tryRead(), undefined);
    }
    assertStrictEquals(await reader.read(), null);
  }
});

test("openFifo() waits for a reader before it writes, until its time is up or it is aborted", async () => {
  const path = freshPath();
  makeFifo(path);
  const before = openDescriptors();
  await assertTimesOut(() => openFifo(path, "write", { timeout: 30 }));
  await assertTimesOut(() => openFifo(path, "write", { timeout: 0 }));
  const controller = new AbortController();
  const open = openFifo(path, "write", { signal: controller.signal });
  await passed(5);
  controller.abort("enough");
  assertEquals(await open.catch((reason) => reason), "enough");
  assertEquals(
    await openFifo(path, "write", { signal: controller.signal }).catch((reason) => reason),
    "enough",
  );
  await until(() => openDescriptors() <= before);
  const later = openFifo(path, "write");
  await passed(5);
  using reader = await openFifo(path, "read");
  using writer = await later;
  writer.writeSync("x");
  assertEquals(text(await reader.read()), "x");
});

test("openFifo() fails where there is none, or this user may not", async () => {
  for (const end of ["read", "write"] as const) {
    const open = (path: string) =>
      end === "read" ? openFifo(path, "read") : openFifo(path, "write");
    await assertIpcRejection(() => open(freshPath()), "ENOENT", "open");
    await assertRejects(() => open(""), TypeError);
    const before = openDescriptors();
    const file = freshPath();
    writeFileSync(file, "precious");
    await assertIpcRejection(() => open(file), "EINVAL", "open");
    await assertIpcRejection(() => open(folder), end === "read" ? "EINVAL" : "EISDIR", "open");
    await assertIpcRejection(() => open(devNull), "EINVAL", "open");
    assertEquals(readFileSync(file, "utf8"), "precious");
    // What others opened before may be closed by now.
    assert(openDescriptors() <= before);
  }
  for (const end of wrong("rw", "w", "", undefined, 1)) {
    await assertRejects(() => openFifo(freshPath(), end), TypeError, `expected "read" or "write"`);
  }
});

test("Unrelated programs meet at a FIFO", async () => {
  const path = freshPath();
  makeFifo(path);
  await using cat = new Child(["cat", path]);
  {
    using writer = await openFifo(path, "write");
    await writer.write("from here\n");
  }
  assertEquals(await cat.hear(), "from here");
  // While it reads, what others write may be its.
  assertEquals((await cat.exit).code, 0);
  await using echo = new Child(["sh", "-c", `echo from there > ${path}`]);
  using reader = await openFifo(path, "read");
  assertEquals(text(await reader.read()), "from there\n");
  assertEquals((await echo.exit).code, 0);
  for (const runs of runtimes) {
    await using child = runWith(
      [],
      `using writer = await openFifo(${JSON.stringify(path)}, "write");
      await writer.write("from ${runs}");
      say("written");`,
      runs,
    );
    assertEquals(await child.hear(), "written");
    assertEquals(text(await reader.read()), `from ${runs}`);
    assertEquals((await child.exit).code, 0);
  }
});
