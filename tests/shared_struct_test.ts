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
  for (const counters of wrong(undefined, {}, { a: "u8" }, { "a\nb": "u32" }, "name")) {
    assertThrows(() => SharedCounters.create({ counters }), TypeError);
  }
  const ended = SharedCounters.create({ counters: { a: "u32" } });
  ended[Symbol.dispose]();
  assertThrows(() => ended.add("a", 1), ReferenceError);
});
