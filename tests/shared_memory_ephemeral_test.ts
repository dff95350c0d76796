import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { exists, text } from "./support/segments.ts";
import { until } from "./support/time.ts";

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
