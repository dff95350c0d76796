import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { totalmem } from "node:os";
import process from "node:process";
import { test } from "node:test";
import { keyOf, SharedMemory } from "@sysv/ipc";
import { IPC_STAT, shmctl } from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { otherRuntime, projectFile, run, runtime } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { onlyRoot, onlyUnshared, privileges } from "./support/privilege.ts";
import { until } from "./support/time.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Whether a segment is still there. */
function exists(id: number): boolean {
  try {
    shmctl(id, IPC_STAT);
    return true;
  } catch {
    return false;
  }
}

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
    skip: runtime === "deno"
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

for (const there of ["deno", "bun"] as const) {
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

test("SharedMemory counts exactly with Atomics.add in two processes of Deno and two of Bun", async () => {
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
  const start = (there: "deno" | "bun") =>
    run(program, { runtime: there, args: [memory.id, each] });
  await using a = start("deno");
  await using b = start("bun");
  await using c = start("deno");
  await using d = start("bun");
  for (const child of [a, b, c, d]) assertEquals(await child.hear(), "done");
  assertEquals(new Int32Array(memory.buffer)[1], 4 * each);
  assertEquals(new BigInt64Array(memory.buffer)[1], BigInt(4 * each / 100) * 0x1_0000_0001n);
});

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

test("SharedMemory.stat() describes the segment", () => {
  // The kernel tells whole seconds of a clock that lags a little.
  const start = Math.floor(Date.now() / 1000) * 1000 - 1000;
  using memory = SharedMemory.create({ size: 100, mode: 0o640 });
  const fresh = memory.stat();
  assertEquals([fresh.id, fresh.key, fresh.size, fresh.mode], [memory.id, undefined, 100, 0o640]);
  assertEquals([fresh.uid, fresh.creatorUid], [process.geteuid!(), process.geteuid!()]);
  assertEquals([fresh.gid, fresh.creatorGid], [process.getegid!(), process.getegid!()]);
  assertEquals([fresh.attachments, fresh.creatorPid, fresh.lastPid], [1, process.pid, process.pid]);
  assertEquals([fresh.removed, fresh.locked, fresh.lastDetach], [false, false, undefined]);
  assert(fresh.lastAttach!.getTime() >= start && fresh.lastChange.getTime() >= start);
  SharedMemory.fromId(memory.id)[Symbol.dispose]();
  assert(memory.stat().lastDetach!.getTime() >= start);
  assertEquals(fresh.lastDetach, undefined, "a snapshot does not change");
  assert(Object.isFrozen(fresh));
});

test("SharedMemory.lock() and unlock() set the mark, and may be repeated", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.lock();
  memory.lock();
  assertEquals([memory.stat().locked, memory.stat().mode], [true, 0o600]);
  memory.unlock();
  memory.unlock();
  assertEquals(memory.stat().locked, false);
});

test("SharedMemory.setPermissions() changes what is given, and leaves the rest", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.lock();
  memory.setPermissions({ mode: 0o664 });
  assertEquals([memory.stat().mode, memory.stat().locked], [0o664, true]);
  memory.setPermissions({});
  assertEquals([memory.stat().mode, memory.stat().uid], [0o664, process.geteuid!()]);
  for (const permissions of [{ mode: 0o1000 }, { uid: -1 }, { gid: 0xffffffff }, { mode: 0.5 }]) {
    assertThrows(() => memory.setPermissions({ mode: 0o600, ...permissions }), RangeError);
  }
  assertEquals(memory.stat().mode, 0o664);
});

test(
  "SharedMemory.setPermissions() gives the segment to another user, and the creator stays",
  onlyRoot,
  () => {
    using memory = SharedMemory.create({ size: 100 });
    memory.setPermissions({ uid: 65534, gid: 65533 });
    const { uid, gid, creatorUid, mode } = memory.stat();
    assertEquals([uid, gid, creatorUid, mode], [65534, 65533, 0, 0o600]);
  },
);

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

test("SharedMemory that is ephemeral is marked, shared by identifier, and gone with its last user", () => {
  using memory = SharedMemory.create({ size: 100, ephemeral: true });
  assertEquals([memory.stat().removed, memory.owned], [true, false]);
  using other = SharedMemory.fromId(memory.id);
  memory.write("hello");
  memory[Symbol.dispose]();
  assertEquals(text(other.read(0, 5)), "hello");
  assert(exists(memory.id));
  other.detach();
  assert(!exists(memory.id));
});

test("SharedMemory that is ephemeral goes with a process that is killed", async () => {
  await using child = run(`
    const memory = SharedMemory.create({ size: 100, ephemeral: true });
    memory.write("hello");
    say(String(memory.id));
    await hear();
  `);
  const id = Number(await child.hear());
  {
    using memory = SharedMemory.fromId(id);
    assertEquals(text(memory.read(0, 5)), "hello");
  }
  assert(exists(id));
  await child.kill();
  await until(() => !exists(id));
});

test("SharedMemory that is ephemeral stays with those who live when its creator is killed", async () => {
  await using child = run(
    `
    const memory = SharedMemory.create({ size: 100, ephemeral: true });
    memory.write("hello");
    say(String(memory.id));
    await hear();
  `,
    { runtime: otherRuntime },
  );
  using memory = SharedMemory.fromId(Number(await child.hear()));
  await child.kill();
  assertEquals(text(memory.read(0, 5)), "hello");
});

test("SharedMemory cannot be ephemeral with a key, and nothing is created then", () => {
  const key = freshName();
  assertThrows(() => SharedMemory.create({ key, size: 100, ephemeral: true }), TypeError, "key");
  assertIpcError(() => SharedMemory.open(key), "ENOENT", "shmget");
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

test(
  "SharedMemory obeys its mode: another user may do what it permits, and nothing more",
  onlyRoot,
  async () => {
    using secret = SharedMemory.create({ key: freshName(), size: 100 });
    using readable = SharedMemory.create({ key: freshName(), size: 100, mode: 0o604 });
    using shared = SharedMemory.create({ key: freshName(), size: 100, mode: 0o606 });
    readable.write("readable");
    await using child = run(
      `${privileges}
    becomeNobody();
    const [secret, readable, shared] = args.map(Number);
    say(failure(() => SharedMemory.open(secret)));
    say(failure(() => SharedMemory.open(secret, { readonly: true })));
    say(failure(() => SharedMemory.open(readable)));
    const reader = SharedMemory.open(readable, { readonly: true });
    say(new TextDecoder().decode(reader.read(0, 8)));
    say(failure(() => reader.setPermissions({ mode: 0o666 })));
    say(failure(() => reader.remove()));
    say(failure(() => SharedMemory.fromId(reader.id)));
    say(failure(() => SharedMemory.openOrCreate(shared, { size: 100 })));
    SharedMemory.openOrCreate(shared, { size: 100, allowForeign: true }).write("shared");
    say("done");
    say(failure(() => SharedMemory.create({ size: 100, mode: 0 })));
  `,
      { args: [secret.key!, readable.key!, shared.key!], permissions: ["--allow-all"] },
    );
    const answers = [
      "EACCES shmget",
      "EACCES shmget",
      "EACCES shmget",
      "readable",
      "EPERM shmctl",
      "EPERM shmctl",
      "EACCES shmat",
      "EPERM shmget",
      "done",
    ];
    for (const answer of answers) assertEquals(await child.hear(), answer);
    assertEquals(text(shared.read(0, 6)), "shared");
    assertStringIncludes(await child.hear(), "EACCES");
  },
);

test("SharedMemory tells which limit of the system is reached", onlyUnshared, async () => {
  await using child = run(
    `${privileges}
    leaveNamespace();
    const tell = (size) => {
      try {
        SharedMemory.create({ size });
      } catch (error) {
        say(error.code + " " + error.syscall + " " + error.message);
      }
    };
    limit("shmmax", 8192);
    tell(8193);
    limit("shmall", 2);
    using memory = SharedMemory.create({ size: 4096 });
    tell(8192);
    limit("shmmni", 1);
    tell(1);
  `,
    { permissions: ["--allow-all"] },
  );
  const told = [await child.hear(), await child.hear(), await child.hear()];
  const wanted = [["EINVAL shmget", "SHMMAX", "8192"], ["ENOSPC shmget", "SHMALL"], [
    "ENOSPC shmget",
    "SHMMNI",
    "1 of at most 1 segments",
    "ipcs -m",
  ]];
  for (const [index, words] of wanted.entries()) {
    for (const word of words) assertStringIncludes(told[index]!, word);
  }
});

test("SharedMemory tells what keeps huge pages and locks from a process", onlyRoot, async () => {
  await using child = run(
    `${privileges}
    const tell = (action) => {
      try {
        action();
      } catch (error) {
        say(error.code + " " + error.syscall + " " + error.message);
      }
    };
    tell(() => SharedMemory.create({ size: 2 ** 40, hugePages: true }));
    const { setrlimit } = openLibc({ setrlimit: { parameters: ["i32", "buffer"], result: "i32" } });
    const RLIMIT_MEMLOCK = 8;
    const limitLocks = (bytes) =>
      setrlimit(RLIMIT_MEMLOCK, new Uint8Array(BigUint64Array.of(bytes, bytes).buffer));
    limitLocks(4096n);
    becomeNobody();
    tell(() => SharedMemory.create({ size: 4096, hugePages: true }));
    using memory = SharedMemory.create({ size: 8192 });
    tell(() => memory.lock());
    limitLocks(0n);
    tell(() => memory.lock());
  `,
    { permissions: ["--allow-all"] },
  );
  const wanted = [
    ["ENOMEM shmget", "vm.nr_hugepages"],
    ["EPERM shmget", "CAP_IPC_LOCK"],
    ["ENOMEM shmctl", "RLIMIT_MEMLOCK"],
    ["EPERM shmctl", "RLIMIT_MEMLOCK"],
  ];
  for (const words of wanted) {
    const told = await child.hear();
    for (const word of words) assertStringIncludes(told, word);
  }
  assertEquals((await child.exit).code, 0, child.stderr);
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
