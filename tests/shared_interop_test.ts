import { assertEquals } from "@std/assert";
import { SharedMemory } from "@sysv/ipc";
import { bytes, Channel, f64, SharedMutex, struct, text, u32, utf8 } from "@sysv/ipc/shared";
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
