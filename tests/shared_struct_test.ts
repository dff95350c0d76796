import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { IpcError, SharedMemory } from "@sysv/ipc";
import {
  f32,
  f64,
  i16,
  i32,
  i64,
  i8,
  SharedCounters,
  SharedVariable,
  struct,
  u16,
  u32,
  u64,
  u8,
  utf8,
} from "@sysv/ipc/shared";
import { wrong } from "./support/assert.ts";
import { freshName, removing } from "./support/objects.ts";

const all = struct({
  a: i8,
  b: i16,
  c: u8,
  d: i32,
  e: u16,
  f: i64,
  g: f32,
  h: u64,
  i: f64,
  j: u32,
  k: utf8(5),
});
const values = {
  a: -1,
  b: -2,
  c: 255,
  d: -(2 ** 31),
  e: 65535,
  f: -(2n ** 63n),
  g: 0.5,
  h: 2n ** 64n - 1n,
  i: Math.PI,
  j: 2 ** 32 - 1,
  k: "héll",
};

test("struct() lays fields out as C does, and declares them", () => {
  assertEquals(all.offsets, {
    a: 0,
    b: 2,
    c: 4,
    d: 8,
    e: 12,
    f: 16,
    g: 24,
    h: 32,
    i: 40,
    j: 48,
    k: 52,
  });
  assertEquals([all.size, all.align], [64, 8]);
  assertEquals(
    struct({ hits: u32, mean: f64, name: utf8(32) }).declare("stats"),
    "struct stats {\n  uint32_t hits;\n  double mean;\n  char name[32];\n};",
  );
});

test("struct() as a codec gives back what it was given, and refuses what no field can hold", () => {
  assertEquals(all.decode(all.encode(values).slice()), values);
  for (
    const one of [{ a: 128 }, { c: -1 }, { d: 1.5 }, { f: 1 }, { h: -1n }, { k: "too long" }, {
      i: "1",
    }]
  ) assertThrows(() => all.encode({ ...values, ...(one as object) as typeof values }));
  assertThrows(() => all.decode(new Uint8Array(3)), RangeError);
  assertThrows(() => struct({}), TypeError);
});

test("struct() refuses what C cannot declare, and says which field is meant", () => {
  for (const name of ["a b", "1", "", "x;y", "ä", "a\n"]) {
    assertThrows(() => struct({ [name]: u8 }), TypeError, "expected a name as in C");
    assertThrows(() => struct({ a: u8 }).declare(name), TypeError, "expected a name as in C");
  }
  for (const type of wrong("u32", undefined, null, {}, { ...u8, size: 0 }, { ...u8, align: NaN })) {
    assertStringIncludes(assertThrows(() => struct({ hits: type }), Error).message, "hits");
  }
  for (const inner of wrong(struct({ a: u8 }))) {
    assertThrows(() => struct({ in: inner }), TypeError, 'a struct in field "in"');
  }
  for (const fields of wrong(undefined, null, "u8", [u8])) {
    assertThrows(() => struct(fields), TypeError, "as fields: expected an object");
  }
  using memory = SharedMemory.create({ size: 256 });
  const record = all.at(memory);
  const bad = { a: 128, c: -1, d: 1.5, f: 1, g: "1", h: -1n, k: "too long", i: undefined, j: NaN };
  for (const [field, value] of Object.entries(bad)) {
    const writes = [
      () => all.encode({ ...values, [field]: value }),
      () => void Object.assign(record, { [field]: value }),
    ];
    for (const write of writes) {
      assertStringIncludes(assertThrows(write, Error).message, `field "${field}"`);
    }
  }
  for (const record of wrong(null, undefined, 1)) assertThrows(() => all.encode(record), TypeError);
});

test("struct() gives text back as it was, wherever its bytes end", () => {
  const page = struct({ title: utf8(5) });
  for (const title of ["", "\ufeffab", "\u00e9\u00e9a", "a\ufeff", "\u{1f600}a"]) {
    assertEquals(page.decode(page.encode({ title }).slice()), { title });
  }
  // Another program cut a letter in two.
  const cut = new TextEncoder().encode("abcd\u00e9").subarray(0, 5);
  assertEquals(page.decode(cut), { title: "abcd\ufffd" });
});

test("struct().at() shows records at any place of a segment beyond 2 GiB", () => {
  using memory = SharedMemory.create({ size: 3 * 2 ** 30 });
  for (const offset of [0, 2 ** 31 - 64, 2 ** 31, 3 * 2 ** 30 - all.size]) {
    Object.assign(all.at(memory, offset), values);
    assertEquals(all.decode(memory.read(offset, all.size)), values);
  }
});

test("struct() in a variable is read as a whole, and is told from another struct", () => {
  using variable = SharedVariable.create({ codec: all, maxBytes: all.size });
  variable.setSync(values);
  assertEquals(variable.get(), values);
  const other = struct({ a: i8 });
  const error = assertThrows(() => SharedVariable.fromId(variable.id, { codec: other }), IpcError);
  assertStringIncludes((error as IpcError).message, "another codec");
});

test("struct().at() shows a segment, until it is detached", () => {
  using memory = SharedMemory.create({ size: 256 });
  using same = SharedMemory.fromId(memory.id);
  const [here, there] = [all.at(memory, 64), all.at(same, 64)];
  Object.assign(here, values);
  assertEquals({ ...there }, values);
  here.j = 0;
  assertEquals(there.j, 0);
  for (const offset of [-8, 3, 256]) assertThrows(() => all.at(memory, offset), RangeError);
  using small = SharedMemory.create({ size: 8 });
  assertThrows(() => all.at(small), RangeError, "64 bytes in a segment of 8");
  for (const memory of wrong(undefined, null, {}, new ArrayBuffer(64))) {
    assertThrows(() => all.at(memory), TypeError, "expected a SharedMemory");
  }
  memory.detach();
  assertThrows(() => here.j, ReferenceError);
  assertThrows(() => here.a = 1, ReferenceError);
  assertEquals(there.j, 0);
});

test("SharedCounters count in every handle, and bring their names", () => {
  const name = freshName();
  const counters = { hits: "u32", left: "i32", bytes: "u64", "with a name": "i64" } as const;
  using one = SharedCounters.openOrCreate(name, { counters });
  using _ = removing(one);
  using two = SharedCounters.open<typeof counters>(name);
  assertEquals(two.names, ["hits", "left", "bytes", "with a name"]);
  assertEquals(one.add("hits", 5), 0);
  assertEquals(two.add("hits", -6), 5);
  assertEquals(one.load("hits"), 2 ** 32 - 1);
  two.store("left", -7);
  assertEquals(one.compareExchange("left", -7, 8), -7);
  assertEquals(one.compareExchange("left", -7, 9), 8);
  two.add("bytes", 2n ** 40n);
  one.add("with a name", -3n);
  assertEquals(one.values(), { hits: 2 ** 32 - 1, left: 8, bytes: 2n ** 40n, "with a name": -3n });
  assertThrows(() => one.load(...wrong("other") as [never]), RangeError);
  const other = { hits: "u32" } as const;
  assertThrows(() => SharedCounters.openOrCreate(name, { counters: other }), IpcError);
});

test("SharedCounters refuse what are no names and types", () => {
  for (
    const counters of wrong(undefined, {}, { a: "u8" }, { "a\nb": "u32" }, "name", {
      "\ud800": "u32",
    })
  ) {
    assertThrows(() => SharedCounters.create({ counters }), TypeError, "Cannot");
    assertThrows(() => SharedCounters.openOrCreate(freshName(), { counters }), TypeError, "Cannot");
  }
  for (const options of wrong(undefined, null)) {
    assertThrows(() => SharedCounters.create(options), TypeError, "Cannot use");
  }
  const long = { ["x".repeat(2 ** 20)]: "u32" } as const;
  assertThrows(
    () => SharedCounters.create({ counters: long }),
    RangeError,
    "names of 1048576 bytes",
  );
  const ended = SharedCounters.create({ counters: { a: "u32" } });
  ended[Symbol.dispose]();
  assertThrows(() => ended.add("a", 1), ReferenceError);
});
