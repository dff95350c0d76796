import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { projectFile, run, runtime } from "./support/child.ts";
import { text } from "./support/segments.ts";
import { until } from "./support/time.ts";

test("SharedMemory.detach() ends all views: their length is 0 and nothing crashes", () => {
  using memory = SharedMemory.create({ size: 100 });
  const { buffer, bytes } = memory;
  const subarray = bytes.subarray(10, 20);
  const numbers = new Int32Array(buffer, 4, 2);
  const data = new DataView(buffer);
  memory.detach();
  assert(!memory.attached);
  assertEquals([buffer.byteLength, bytes.length, subarray.length, numbers.length], [0, 0, 0, 0]);
  assertEquals([bytes[0], subarray[0], numbers[0]], [undefined, undefined, undefined]);
  bytes[0] = 1;
  subarray[0] = 1;
  assertThrows(() => data.getInt8(0), TypeError);
  assertThrows(() => Atomics.add(numbers, 0, 1));
  assertEquals(memory.stat().attachments, 0);
});

test("SharedMemory.detach() does nothing the second time, and leaves the segment", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.write("kept");
  memory.detach();
  memory.detach();
  assertEquals(memory.stat().attachments, 0);
  using again = SharedMemory.fromId(memory.id);
  assertEquals(text(again.read(0, 4)), "kept");
});

test("SharedMemory.detach() leaves the other attachments of the process", () => {
  using one = SharedMemory.create({ size: 100 });
  using other = SharedMemory.fromId(one.id);
  one.detach();
  other.write("alive");
  assertEquals(text(other.read(0, 5)), "alive");
  assertEquals([other.attached, other.stat().attachments], [true, 1]);
});

test("SharedMemory throws ReferenceError for the memory once it is detached", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.detach();
  assertThrows(() => memory.buffer, ReferenceError, "detached");
  assertThrows(() => memory.bytes, ReferenceError, "detached");
  assertThrows(() => memory.read(), ReferenceError, "detached");
  assertThrows(() => memory.write("x"), ReferenceError, "detached");
  assertEquals([memory.size, memory.stat().size], [100, 100]);
});

test("SharedMemory throws ReferenceError for the memory once its buffer is transferred", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.buffer.transfer();
  assert(!memory.attached);
  assertThrows(() => memory.buffer, ReferenceError, "transferred");
  assertThrows(() => memory.bytes, ReferenceError, "transferred");
  assertThrows(() => memory.read(), ReferenceError, "transferred");
  assertThrows(() => memory.write("x"), ReferenceError, "transferred");
});

const transfers: Record<string, (buffer: ArrayBuffer) => ArrayBuffer> = {
  "transfer()": (buffer) => buffer.transfer(),
  "transfer(0)": (buffer) => buffer.transfer(0),
  "transfer(10)": (buffer) => buffer.transfer(10),
  "transfer(8192)": (buffer) => buffer.transfer(8192),
  "structuredClone()": (buffer) => structuredClone(buffer, { transfer: [buffer] }),
};

for (const [how, transfer] of Object.entries(transfers)) {
  test(`SharedMemory.detach() detaches what ${how} took, which shares nothing then, and nothing crashes`, () => {
    using memory = SharedMemory.create({ size: 100 });
    memory.bytes.fill(7);
    const taken = new Uint8Array(transfer(memory.buffer));
    memory.detach();
    assertEquals(memory.stat().attachments, 0);
    taken.fill(8);
    assert(taken.every((byte) => byte === 8));
    using again = SharedMemory.fromId(memory.id);
    assert(again.bytes.every((byte) => byte === 7));
  });
}

const callsUnderWay = {
  "zlib.gzip()": "zlib.gzip(memory.bytes, finish);",
  "crypto.scrypt()": "crypto.scrypt(memory.bytes, 'salt', 32, finish);",
  "crypto.pbkdf2()": "crypto.pbkdf2(memory.bytes, 'salt', 1, 32, 'sha256', finish);",
};

for (const [name, call] of Object.entries(callsUnderWay)) {
  test(`SharedMemory.detach() leaves a ${name} that is under way something to read`, async () => {
    await using child = run(
      `
      import crypto from "node:crypto";
      import zlib from "node:zlib";
      const memory = SharedMemory.create({ size: 2 ** 24, ephemeral: true });
      const view = memory.bytes.fill(1);
      const { promise, resolve: finish } = Promise.withResolvers();
      ${call}
      memory.detach();
      say(String(memory.attached));
      say(String(view[2 ** 20] ?? 0));
      try {
        libc.shmctl(memory.id, libc.IPC_STAT);
      } catch (error) {
        say(error.code);
      }
      say(String((await promise) ?? "finished"));
    `,
      { permissions: ["--allow-all"] },
    );
    assertEquals(await child.hear(), "false");
    assertEquals(await child.hear(), "0");
    assertEquals(await child.hear(), "EINVAL", "the kernel has freed it");
    assertEquals(await child.hear(), "finished");
    assertEquals((await child.exit).code, 0, child.stderr);
  });
}

test(
  "SharedMemory.detach() leaves an fs.write() that is under way zeros to write",
  { skip: runtime === "deno" && "its fs.write() to a full pipe blocks the thread" },
  async () => {
    await using child = run(`
      import fs from "node:fs";
      const { pipe } = await import(${JSON.stringify(projectFile("unix/mod.ts"))});
      const memory = SharedMemory.create({ size: 2 ** 24 });
      const view = memory.bytes.fill(1);
      const { reader, writer } = pipe();
      fs.write(writer.fd, view, () => writer[Symbol.dispose]());
      let length = (await reader.read()).length;
      memory[Symbol.dispose]();
      say(String(view[2 ** 20] ?? 0));
      let last;
      for (let bytes; bytes = await reader.read(); length += bytes.length) last = bytes.at(-1);
      say(length + " bytes, the last " + last);
    `);
    assertEquals(await child.hear(), "0");
    assertEquals(await child.hear(), `${2 ** 24} bytes, the last 0`);
    assertEquals((await child.exit).code, 0, child.stderr);
  },
);

test("SharedMemory leaves nothing attached after hundreds of rounds", () => {
  using memory = SharedMemory.create({ size: 100_000 });
  for (let round = 0; round < 500; round++) {
    using other = SharedMemory.fromId(memory.id, { readonly: round % 2 === 0 });
    if (!other.readonly) other.bytes[round] = 1;
  }
  assertEquals(memory.stat().attachments, 1);
  assertEquals(memory.read(0, 500).reduce((sum, byte) => sum + byte), 250);
});

test("SharedMemory is attached hundreds of times at once, and is the same each time", () => {
  using memory = SharedMemory.create({ size: 8 });
  using stack = new DisposableStack();
  const all = Array.from({ length: 300 }, () => stack.use(SharedMemory.fromId(memory.id)));
  for (const { buffer } of all) Atomics.add(new Int32Array(buffer), 0, 1);
  assertEquals(new Int32Array(memory.buffer)[0], 300);
  assertEquals(memory.stat().attachments, 301);
  stack.dispose();
  assertEquals(memory.stat().attachments, 1);
});

test("SharedMemory detaches when a process ends by itself", async () => {
  using memory = SharedMemory.create({ size: 100 });
  await using child = run(
    `
    SharedMemory.fromId(Number(args[0])).write("bye");
    process.exit();
  `,
    { runtime, args: [memory.id] },
  );
  assertEquals((await child.exit).code, 0, child.stderr);
  assertEquals([memory.stat().attachments, memory.stat().lastPid], [1, child.pid]);
  assertEquals(text(memory.read(0, 3)), "bye");
});

test("SharedMemory that is attached for reading and forgotten is detached by the collector", async () => {
  using memory = SharedMemory.create({ size: 4096 });
  const attach = () => {
    for (let i = 0; i < 5; i++) SharedMemory.fromId(memory.id, { readonly: true }).read();
  };
  attach();
  using kept = SharedMemory.fromId(memory.id, { readonly: true });
  assertEquals(memory.stat().attachments, 7);
  // Garbage, so that there is something to collect.
  await until(() => Array.from({ length: 1e5 }, () => ({})) && memory.stat().attachments === 2);
  assertEquals([kept.attached, kept.read()[0]], [true, 0]);
});
