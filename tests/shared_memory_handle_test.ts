import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { totalmem } from "node:os";
import { test } from "node:test";
import { keyOf, SharedMemory } from "@sysv/ipc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { runtime } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { exists, text } from "./support/segments.ts";

test("SharedMemory.create() makes memory of just the size asked for, all zero", () => {
  for (const size of [1, 100, 4096, 4097, 1 << 20]) {
    using memory = SharedMemory.create({ size });
    assertEquals([memory.size, memory.buffer.byteLength, memory.bytes.length], [size, size, size]);
    assertEquals(memory.stat().size, size);
    assert(memory.bytes.every((byte) => byte === 0));
  }
});

test("SharedMemory.create() makes a private segment, different each time", () => {
  using one = SharedMemory.create({ size: 10 });
  using other = SharedMemory.create({ size: 10 });
  assertNotEquals(one.id, other.id);
  one.write("one");
  assertEquals(text(other.read(0, 3)), "\0\0\0");
  assertEquals([one.key, one.owned, one.readonly, one.attached], [undefined, true, false, true]);
  assertEquals(one.stat().mode, 0o600);
});

test("SharedMemory.create() fails if the key is taken, and leaves the other's alone", () => {
  const key = freshName();
  using memory = SharedMemory.create({ key, size: 10, mode: 0o640 });
  memory.write("kept");
  const error = assertIpcError(() => SharedMemory.create({ key, size: 10 }), "EEXIST", "shmget");
  assertEquals(error.key, keyOf(key));
  assertEquals([text(memory.read(0, 4)), memory.stat().mode], ["kept", 0o640]);
});

test("SharedMemory.create() fails for more memory than there is", () => {
  assertIpcError(() => SharedMemory.create({ size: 2 ** 50 }), "ENOMEM", "shmget");
});

test(
  "SharedMemory of more than the runtime shows in a buffer is refused in words, and none is left",
  {
    skip: runtime !== "bun"
      ? "its buffers hold more than any machine has"
      : totalmem() < 2 ** 33 && "this machine has too little memory",
  },
  () => {
    const key = freshName();
    const size = 2 ** 32 + 1;
    const told = `Cannot view ${size} bytes`;
    assertThrows(() => SharedMemory.create({ key, size }), RangeError, told);
    assertThrows(() => SharedMemory.openOrCreate(key, { size }), RangeError, told);
    assertIpcError(() => SharedMemory.open(key), "ENOENT", "shmget");
  },
);

test("SharedMemory.open() finds by name and by number, with the size it has, and does not own", () => {
  const key = freshName();
  using created = SharedMemory.create({ key, size: 100 });
  created.write("hello");
  {
    using byName = SharedMemory.open(key);
    using byNumber = SharedMemory.open(keyOf(key));
    assertEquals([byName.id, byNumber.id], [created.id, created.id]);
    assertEquals([byName.key, byNumber.key], [keyOf(key), keyOf(key)]);
    assertEquals([byName.owned, byNumber.owned], [false, false]);
    assertEquals([byName.size, text(byNumber.read(0, 5))], [100, "hello"]);
  }
  assertEquals(created.stat().attachments, 1);
});

test("SharedMemory.open() fails if there is none", () => {
  const key = freshName();
  const error = assertIpcError(() => SharedMemory.open(key), "ENOENT", "shmget");
  assertEquals(error.key, keyOf(key));
});

test("SharedMemory.openOrCreate() creates, then opens and leaves the contents alone", () => {
  const key = freshName();
  using created = SharedMemory.openOrCreate(key, { size: 100, mode: 0o640 });
  using _ = removing(created);
  created.write("kept");
  using opened = SharedMemory.openOrCreate(key, { size: 100 });
  assertEquals([opened.id, opened.owned, created.owned], [created.id, false, false]);
  assertEquals([text(opened.read(0, 4)), opened.stat().mode], ["kept", 0o640]);
});

test("SharedMemory.openOrCreate() takes larger memory whole, and refuses smaller", () => {
  const key = freshName();
  using created = SharedMemory.create({ key, size: 100 });
  using smaller = SharedMemory.openOrCreate(key, { size: 1 });
  assertEquals([smaller.size, smaller.bytes.length], [100, 100]);
  const error = assertIpcError(
    () => SharedMemory.openOrCreate(key, { size: 101 }),
    "EINVAL",
    "shmget",
  );
  assertStringIncludes(error.message, "100 bytes, not 101");
  assertEquals(created.stat().attachments, 2, "what is refused does not stay attached");
});

test("SharedMemory.openOrCreate() makes new memory once the old is removed", () => {
  const key = freshName();
  using first = SharedMemory.openOrCreate(key, { size: 10 });
  first.write("old");
  first.remove();
  using second = SharedMemory.openOrCreate(key, { size: 20 });
  using _ = removing(second);
  assertNotEquals(second.id, first.id);
  assertEquals([second.size, text(second.read(0, 3))], [20, "\0\0\0"]);
  assertEquals(text(first.read(0, 3)), "old");
});

test("SharedMemory.fromId() takes a segment, learns its key, and does not own it", () => {
  const key = freshName();
  using created = SharedMemory.create({ key, size: 10 });
  {
    using taken = SharedMemory.fromId(created.id);
    assertEquals([taken.id, taken.key, taken.owned], [created.id, keyOf(key), false]);
  }
  assertEquals(created.stat().attachments, 1);
});

test("SharedMemory.fromId() fails with EIDRM if the segment is gone", () => {
  const memory = SharedMemory.create({ size: 10 });
  memory[Symbol.dispose]();
  const error = assertIpcError(() => SharedMemory.fromId(memory.id), "EIDRM", "shmctl");
  assertEquals(error.id, memory.id);
});

test("SharedMemory.remove() leaves the memory to those who have it, and to nobody else", () => {
  const key = freshName();
  using memory = SharedMemory.create({ key, size: 100 });
  using other = SharedMemory.open(key);
  memory.remove();
  assertIpcError(() => SharedMemory.open(key), "ENOENT", "shmget");
  assertEquals([other.stat().removed, other.stat().key], [true, undefined]);
  memory.write("still");
  assertEquals(text(other.read(0, 5)), "still");
  memory.detach();
  assertEquals(text(other.read(0, 5)), "still");
  other.detach();
  assert(!exists(memory.id));
});

test("SharedMemory fails with EIDRM after remove(), in what needs the segment", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.remove();
  const operations = [
    () => memory.stat(),
    () => memory.lock(),
    () => memory.unlock(),
    () => memory.setPermissions({ mode: 0o600 }),
    () => memory.remove(),
  ];
  for (const operation of operations) assertIpcError(operation, "EIDRM", "shmctl");
  assert(memory.attached);
});

test("SharedMemory fails with EIDRM once the segment is gone", () => {
  const owner = SharedMemory.create({ size: 100 });
  using memory = SharedMemory.fromId(owner.id);
  memory.detach();
  owner[Symbol.dispose]();
  const operations = [
    () => memory.stat(),
    () => memory.lock(),
    () => memory.setPermissions({ mode: 0o600 }),
    () => memory.remove(),
  ];
  for (const operation of operations) assertIpcError(operation, "EIDRM", "shmctl");
});

test("SharedMemory[Symbol.dispose]() detaches and removes an owned segment, and nothing the second time", () => {
  const memory = SharedMemory.create({ size: 100 });
  const { bytes } = memory;
  memory[Symbol.dispose]();
  memory[Symbol.dispose]();
  assertEquals([bytes.length, memory.attached, exists(memory.id)], [0, false, false]);
  assertThrows(() => memory.stat(), ReferenceError, "disposed");
  assertThrows(() => memory.setPermissions({}), ReferenceError, "disposed");
  assertThrows(() => memory.lock(), ReferenceError, "disposed");
  assertThrows(() => memory.remove(), ReferenceError, "disposed");
  for (const use of [() => memory.buffer, () => memory.read(), () => memory.write("x")]) {
    assertThrows(use, ReferenceError);
  }
  memory.detach();
});

test("SharedMemory[Symbol.dispose]() of what is opened only detaches", () => {
  using memory = SharedMemory.create({ size: 100 });
  const other = SharedMemory.fromId(memory.id);
  other[Symbol.dispose]();
  assertEquals([exists(memory.id), memory.stat().attachments], [true, 1]);
});

test("SharedMemory[Symbol.dispose]() leaves a segment that was created with owner false", () => {
  const memory = SharedMemory.create({ size: 100, owner: false });
  memory.write("outlives");
  memory[Symbol.dispose]();
  using same = SharedMemory.fromId(memory.id);
  using _ = removing(same);
  assertEquals(text(same.read(0, 8)), "outlives");
});

test("SharedMemory[Symbol.dispose]() does nothing more when somebody else removed the segment", () => {
  const memory = SharedMemory.create({ size: 100 });
  const other = SharedMemory.fromId(memory.id);
  other.remove();
  other.detach();
  memory[Symbol.dispose]();
  assert(!exists(memory.id));
});

test("SharedMemory throws for wrong arguments before it creates anything", () => {
  const key = freshName();
  for (const size of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => SharedMemory.create({ key, size }), RangeError);
    assertThrows(() => SharedMemory.openOrCreate(key, { size }), RangeError);
  }
  for (const size of wrong(undefined, null, "5", 5n, {})) {
    assertThrows(() => SharedMemory.create({ key, size }), TypeError);
    assertThrows(() => SharedMemory.openOrCreate(key, { size }), TypeError);
  }
  assertThrows(() => SharedMemory.create({ key, size: 5, mode: 0o1000 }), RangeError);
  assertThrows(() => SharedMemory.openOrCreate(key, { size: 5, mode: -1 }), RangeError);
  for (const id of [-1, 1.5, 2 ** 31]) assertThrows(() => SharedMemory.fromId(id), RangeError);
  for (const id of wrong("1", null, undefined)) {
    assertThrows(() => SharedMemory.fromId(id), TypeError);
  }
  assertIpcError(() => SharedMemory.open(key), "ENOENT", "shmget");
});
