import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { pipe } from "@sysv/ipc/unix";
import { assertIpcError, wrong } from "./support/assert.ts";
import { untilWatched } from "./support/observe.ts";
import {
  assertIpcRejection,
  assertSequence,
  CAPACITY,
  fill,
  readAll,
  sequence,
  text,
} from "./support/pipe_ends.ts";
import { passed } from "./support/time.ts";

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
