import { assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { pipe, PipeReader } from "@sysv/ipc/unix";
import { assertTimeout, assertTimesOut, wrong } from "./support/assert.ts";
import { runtimes } from "./support/child.ts";
import { untilWatched } from "./support/observe.ts";
import {
  assertIpcRejection,
  assertSequence,
  CAPACITY,
  fill,
  readAll,
  reading,
  runWith,
  sequence,
  text,
  writing,
} from "./support/pipe_ends.ts";
import { passed, until } from "./support/time.ts";

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
