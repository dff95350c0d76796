import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { pipe } from "@sysv/ipc/unix";
import { nthRuntime, runtimes } from "./support/child.ts";
import { CAPACITY, fill, readAll, runWith, sequence, text } from "./support/pipe_ends.ts";
import { settles } from "./support/time.ts";

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
  await using first = runWith([ends.writer.fd], program(1), nthRuntime(1));
  await using second = runWith([ends.writer.fd], program(2), nthRuntime(2));
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
