import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { wrong } from "./support/assert.ts";
import { ending, nthRuntime, run, runtimes } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { text } from "./support/segments.ts";

test("SharedMemory is one memory under two handles, both ways", () => {
  using one = SharedMemory.create({ size: 4096 });
  using other = SharedMemory.fromId(one.id);
  assertNotEquals(one.buffer, undefined);
  new Float64Array(one.buffer)[10] = Math.PI;
  assertEquals(new DataView(other.buffer).getFloat64(80, true), Math.PI);
  other.bytes.set([1, 2, 3], 4093);
  assertEquals([...one.read(4093)], [1, 2, 3]);
  one.write("through write", 100);
  assertEquals(text(other.read(100, 13)), "through write");
});

test("SharedMemory gives the same buffer and bytes each time", () => {
  using memory = SharedMemory.create({ size: 10 });
  assert(memory.buffer === memory.buffer);
  assert(memory.bytes === memory.bytes);
  assert(memory.bytes.buffer === memory.buffer);
  assertEquals(memory.bytes.byteOffset, 0);
});

for (const there of runtimes) {
  test(`SharedMemory is one memory here and in a process of ${there}, both ways`, async () => {
    using memory = SharedMemory.create({ size: 1000 });
    memory.write("from the parent");
    await using child = run(
      `
      const memory = SharedMemory.fromId(Number(args[0]));
      say(new TextDecoder().decode(memory.read(0, 15)));
      memory.write("from the child", 500);
      say("written");
      await hear();
      say(String(memory.bytes[999]));
    `,
      { runtime: there, args: [memory.id] },
    );
    assertEquals(await child.hear(), "from the parent");
    assertEquals(await child.hear(), "written");
    assertEquals(text(memory.bytes.subarray(500, 514)), "from the child");
    const { attachments, creatorPid, lastPid } = memory.stat();
    assertEquals([attachments, creatorPid, lastPid], [2, process.pid, child.pid]);
    memory.bytes[999] = 42;
    child.say("go on");
    assertEquals(await child.hear(), "42");
    await child.kill();
    assertEquals(memory.stat().attachments, 1);
    assertEquals(
      text(memory.read(500, 14)),
      "from the child",
      "it keeps what a killed process has written",
    );
  });
}

test("SharedMemory counts exactly with Atomics.add in four processes of all runtimes", async () => {
  const each = 200_000;
  using memory = SharedMemory.create({ size: 64 });
  const program = `
    const memory = SharedMemory.fromId(Number(args[0]));
    const numbers = new Int32Array(memory.buffer), each = Number(args[1]);
    const large = new BigInt64Array(memory.buffer);
    Atomics.add(numbers, 0, 1);
    while (Atomics.load(numbers, 0) < 4);
    for (let i = 0; i < each; i++) {
      Atomics.add(numbers, 1, 1);
      if (i % 100 === 0) Atomics.add(large, 1, 0x1_0000_0001n);
    }
    say("done");
  `;
  const children = [0, 1, 2, 3].map((n) =>
    run(program, { runtime: nthRuntime(n), args: [memory.id, each] })
  );
  await using _ = ending(...children);
  for (const child of children) assertEquals(await child.hear(), "done");
  assertEquals(new Int32Array(memory.buffer)[1], 4 * each);
  assertEquals(new BigInt64Array(memory.buffer)[1], BigInt(4 * each / 100) * 0x1_0000_0001n);
});

test("SharedMemory attached for reading only hands out copies, never the memory", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.write("hello");
  using reader = SharedMemory.fromId(memory.id, { readonly: true });
  assert(reader.readonly && !memory.readonly);
  assertThrows(() => reader.buffer, TypeError, "reading only");
  assertThrows(() => reader.bytes, TypeError, "reading only");
  assertThrows(() => reader.write("x"), TypeError, "reading only");
  const copy = reader.read(0, 5);
  copy[0] = "J".charCodeAt(0);
  assertEquals([text(copy), text(memory.read(0, 5))], ["Jello", "hello"]);
  memory.write("y", 4);
  assertEquals(text(reader.read(0, 5)), "helly", "what is read is live");
  new Uint8Array(reader.read().buffer).fill(1);
  reader.detach();
  assertThrows(() => reader.read(), ReferenceError, "detached");
});

test("SharedMemory.open() attaches for reading only too, and knows the difference in one process", () => {
  const key = freshName();
  using memory = SharedMemory.create({ key, size: 100 });
  using reader = SharedMemory.open(key, { readonly: true });
  using writer = SharedMemory.open(key, { readonly: false });
  writer.write("seen");
  assertEquals([reader.readonly, text(reader.read(0, 4))], [true, "seen"]);
  assertEquals(memory.stat().attachments, 3);
});

test("SharedMemory.read() gives a copy, and at the end what there is", () => {
  using memory = SharedMemory.create({ size: 10 });
  memory.write("0123456789");
  assertEquals(text(memory.read()), "0123456789");
  assertEquals(text(memory.read(7)), "789");
  assertEquals(text(memory.read(2, 3)), "234");
  assertEquals(text(memory.read(7, 100)), "789");
  assertEquals(text(memory.read(9, 2 ** 53 - 1)), "9");
  assertEquals(memory.read(3, 0).length, 0);
  const copy = memory.read();
  copy.fill(0);
  assertEquals(copy.buffer.byteLength, 10);
  assertEquals(text(memory.read()), "0123456789");
});

test("SharedMemory.read() throws for an offset outside and a negative length", () => {
  using memory = SharedMemory.create({ size: 10 });
  for (const offset of [10, 11, -1, 0.5, NaN, Infinity]) {
    assertThrows(() => memory.read(offset), RangeError);
  }
  for (const length of [-1, 0.5, NaN, Infinity]) {
    assertThrows(() => memory.read(0, length), RangeError);
  }
  for (const value of wrong("1", null, {}, 1n)) {
    assertThrows(() => memory.read(value), TypeError);
    assertThrows(() => memory.read(0, value), TypeError);
  }
});

test("SharedMemory.write() takes text and what any view shows", () => {
  using memory = SharedMemory.create({ size: 10 });
  const around = Uint8Array.from([9, 9, 1, 2, 3, 4, 9, 9]);
  const views = [
    around.subarray(2, 6),
    new DataView(around.buffer, 2, 4),
    new Uint16Array(around.buffer, 2, 2),
    around.buffer.slice(2, 6),
  ];
  for (const view of views) {
    memory.bytes.fill(0);
    memory.write(view, 3);
    assertEquals([...memory.read()], [0, 0, 0, 1, 2, 3, 4, 0, 0, 0]);
  }
  memory.write("€\ud800", 1);
  assertEquals(text(memory.read(1, 6)), "€\ufffd");
  memory.write("");
  memory.write("", 10);
  memory.write("0123456789");
  assertEquals(text(memory.read()), "0123456789");
});

test("SharedMemory.write() copies rightly from itself, overlaps included", () => {
  using memory = SharedMemory.create({ size: 10 });
  memory.write("0123456789");
  memory.write(memory.bytes.subarray(0, 8), 2);
  assertEquals(text(memory.read()), "0101234567");
});

test("SharedMemory.write() writes all or nothing", () => {
  using memory = SharedMemory.create({ size: 10 });
  assertThrows(() => memory.write("0123456789x"), RangeError, "11 bytes");
  assertThrows(() => memory.write("€€", 5), RangeError);
  assertThrows(() => memory.write("x", 10), RangeError);
  for (const offset of [11, -1, 0.5, NaN, Infinity]) {
    assertThrows(() => memory.write("x", offset), RangeError);
  }
  for (const value of wrong(undefined, null, 5, {}, [1])) {
    assertThrows(() => memory.write(value), TypeError);
  }
  for (const value of wrong("1", null, 1n)) {
    assertThrows(() => memory.write("x", value), TypeError);
  }
  assert(memory.read().every((byte) => byte === 0));
});
