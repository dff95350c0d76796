import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import {
  Broadcast,
  bytes,
  Channel,
  f64,
  SharedCounters,
  SharedMutex,
  SharedVariable,
  struct,
  text,
  u32,
  utf8,
  WorkQueue,
} from "@sysv/ipc/shared";
import { Child } from "./support/child.ts";
import { sharedC } from "./support/languages.ts";
import { testWith } from "./support/peer.ts";

/** Starts the member in C. */
function member(...args: (string | number)[]): Child {
  const found = sharedC.find();
  if ("missing" in found) throw new Error(found.missing);
  return new Child([...found.command, ...args.map(String)]);
}

testWith([sharedC], "A C program and SharedMutex lock each other out", async () => {
  using mutex = SharedMutex.create();
  using memory = SharedMemory.create({ size: 64 });
  const sum = new Uint32Array(memory.buffer);
  const count = 20_000;
  await using first = member("mutex", mutex.id, count, memory.id);
  await using second = member("mutex", mutex.id, count, memory.id);
  for (let i = 0; i < count; i++) {
    const guard = i % 100 === 0 ? await mutex.lock() : mutex.lockSync();
    sum[0]!++;
    guard.release();
  }
  assertEquals([await first.hear(), await second.hear()], ["done", "done"]);
  assertEquals(sum[0], 3 * count);
});

testWith([sharedC], "A C program and SharedMutex learn of each other's deaths", async () => {
  using mutex = SharedMutex.create();
  await using first = member("hold", mutex.id);
  assertEquals(await first.hear(), "0");
  const wait = mutex.lock();
  await first.kill();
  const guard = await wait;
  assertEquals(guard.abandoned, 1);
  guard.release();
  const other = SharedMutex.fromId(mutex.id);
  other.lockSync();
  other[Symbol.dispose]();
  await using second = member("hold", mutex.id);
  assertEquals(await second.hear(), "1");
});

testWith([sharedC], "A C program and Channel hand messages over, both ways", async () => {
  const count = 3000;
  using there = Channel.create({ codec: text, capacity: 1024 });
  using back = Channel.create({ codec: bytes, capacity: 1024 });
  await using receiver = member("receive", there.id, count);
  for (let i = 0; i < count; i++) {
    if (i % 3 === 0) await there.send(`${i} to C`);
    else there.sendSync(`${i} to C`);
  }
  assertEquals(await receiver.hear(), "done");
  await using sender = member("send", back.id, count);
  for (let i = 0; i < count; i++) {
    const message = i % 3 === 0 ? await back.receive() : back.receiveSync();
    assertEquals(new TextDecoder().decode(message), `${i} from C`);
  }
  assertEquals(await sender.hear(), "done");
  assertEquals([there.used, back.used], [0, 0]);
});

testWith([sharedC], "A C program and struct() mean the same", async () => {
  const stats = struct({ hits: u32, mean: f64, name: utf8(32) });
  using memory = SharedMemory.create({ size: 4096 });
  const live = stats.at(memory);
  live.hits = 41;
  live.mean = 0.5;
  live.name = "héllo";
  await using child = member("struct", memory.id);
  assertEquals(await child.hear(), `41 0.5 héllo ${stats.size}`);
  await child.exit;
  assertEquals([live.hits, live.mean, live.name], [42, 2.5, "from C"]);
});

/** The words of a structure, as another program sees them, and where a line of them begins. */
function wordsOf(memory: SharedMemory): Int32Array {
  return new Int32Array(memory.buffer);
}
const line = (number: number) => 32 * number;

test("Values, messages, jobs and counters lie in memory as docs/shared.md says", () => {
  const maxBytes = 100;
  using variable = SharedVariable.create({ codec: bytes, maxBytes });
  for (let i = 1; i <= 6; i++) variable.setSync(new Uint8Array(3).fill(i));
  using values = SharedMemory.fromId(variable.id);
  const version = wordsOf(values)[line(2)]!;
  const buffer = line(4) + (version & 3) * 128 / 4;
  assertEquals([...wordsOf(values).slice(buffer, buffer + 5)], [3, 6, 0, 0, 0x060606]);

  using news = Broadcast.create({ codec: bytes, capacity: 64 });
  for (let i = 1; i <= 6; i++) news.publishSync(new Uint8Array(4).fill(i));
  using log = SharedMemory.fromId(news.id);
  assertEquals([...wordsOf(log).slice(line(2), line(2) + 4)], [18, 0, 6, 0]);
  assertEquals(wordsOf(log)[line(3)], 12);
  const last = line(5) + 15 % 8 * 2;
  assertEquals([wordsOf(log)[last], wordsOf(log)[line(5)]], [4, 5]);

  using queue = WorkQueue.create({ codec: bytes, maxBytes, capacity: 4 });
  for (const byte of [9, 8]) queue.sendSync(new Uint8Array(2).fill(byte));
  using job = queue.receiveSync();
  using jobs = SharedMemory.fromId(queue.id);
  const table = wordsOf(jobs);
  assertEquals([...table.slice(line(2), line(2) + 6)], [1, 2, 2, 2, 1, 0]);
  const [slots, ring] = [line(5), line(5) + 4 * 4];
  const place = table[slots]! - 256;
  assert(place >= 1 && place <= queue.places);
  assertEquals([...table.slice(slots + 1, slots + 8)], [1, 2, 0, 1, 0, 2, 1]);
  assertEquals([...table.slice(ring, ring + 2)], [0, 1]);
  assertEquals([...jobs.read(4 * (ring + 4), 2), ...jobs.read(4 * (ring + 4) + 128, 2)], [
    9,
    9,
    8,
    8,
  ]);
  job.done();
  assertEquals(table[slots], 0);

  using counters = SharedCounters.create({ counters: { hits: "u32", sum: "i64" } });
  counters.store("hits", 7);
  counters.store("sum", -3n);
  using numbers = SharedMemory.fromId(counters.id);
  const names = "u32 hits\ni64 sum\n";
  assertEquals(new TextDecoder().decode(numbers.read(128, names.length)), names);
  assertEquals([...wordsOf(numbers).slice(line(2), line(2) + 1)], [7]);
  assertEquals(new BigInt64Array(numbers.buffer)[(256 + 64) / 8], -3n);
});
