import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { IpcError, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { freshName, objectsLeft, removing } from "./support/objects.ts";
import { kinds } from "./support/shared_kinds.ts";

// Another program can have a segment under the key of a structure, with anything in it. It is refused, as it was,
// and nothing is left of the attempt.

const isSoak = process.env.IPC_TEST_SOAK === "1";

const KIND = / shared (mutex|channel|work queue|variable|broadcast|counters) /;

for (const [name, kind] of Object.entries(kinds)) {
  test(`${name} leaves alone what another program has under its key`, () => {
    const size = sizeOf(name);
    const key = freshName();
    const squatters: [size: number, from: number, byte: number][] = [
      [4, 0, 0],
      [128, 0, 7],
      // As large as wanted, and 0 where a header would begin.
      [size, 0, 7],
      [size, 4, 7],
      [size, 4, 1],
      [size, 100, 7],
      [size, 200, 7],
      [size + 4096, size + 4096, 0],
      [size + 4096, 0, 7],
    ];
    for (const [bytes, from, byte] of squatters) {
      using memory = SharedMemory.create({ key, size: bytes });
      memory.bytes.fill(byte, from);
      const [before, left] = [memory.read(), objectsLeft()];
      for (const run of [kind.open, kind.openOrCreate, (key: string) => kind.create({ key })]) {
        const error = assertThrows(() => run(key), IpcError, undefined, `${bytes} ${from}`);
        assertMatch(error.message, KIND);
        assertEquals(objectsLeft(), left, "Something is left");
      }
      assertEquals(memory.read(), before, "Another program's memory was changed");
    }
    using _ = removing(kind.openOrCreate(key));
  });

  test(`${name} finishes what its creator left of it, and nothing larger or smaller`, () => {
    const size = sizeOf(name);
    const key = freshName();
    for (const header of [[], [0, 1], [0, 1, 3], [0, 1, 3, size], [0, 1, 3, size, 5, 4, 3, 2, 1]]) {
      // Its set is gone, or never was.
      const memory = SharedMemory.openOrCreate(key, { size });
      new Int32Array(memory.buffer).set(header);
      memory[Symbol.dispose]();
      const made = kind.openOrCreate(key);
      assertEquals(made.created, true);
      made.remove();
      made[Symbol.dispose]();
    }
  });
}

test("Shared structures refuse a segment beyond 2 GiB under their key", () => {
  using memory = SharedMemory.create({ key: freshName(), size: 3 * 2 ** 30 });
  for (const kind of Object.values(kinds)) {
    for (const run of [kind.open, kind.openOrCreate]) {
      const error = assertThrows(() => run(memory.name!), IpcError);
      assertMatch(error.message, KIND);
    }
  }
});

test("Errors of finding a shared structure name its kind, and how to remove both objects", () => {
  for (const kind of Object.values(kinds)) {
    const key = freshName();
    assertMatch(assertThrows(() => kind.open(key), IpcError).message, KIND);
    assertMatch(assertThrows(() => kind.fromId(2 ** 30), IpcError).message, KIND);
    using _ = kind.create({ key });
    const { message } = assertThrows(() => kind.create({ key }), IpcError);
    assertMatch(message, KIND);
    assertMatch(message, /"ipcrm -M (0x[0-9a-f]{8}) -S \1" removes it/);
  }
});

test("openOrCreate gives up on who stops as it makes the same", { skip: !isSoak }, () => {
  const key = freshName();
  using mutex = kinds.SharedMutex!.create({ key });
  using memory = SharedMemory.fromId(mutex.id);
  using set = SemaphoreSet.fromId(new Int32Array(memory.buffer)[4]!, { kind: "members" });
  // So the set is while somebody settles what was left.
  set.operateSync([{ index: 0, delta: -1 }]);
  const left = objectsLeft();
  const error = assertThrows(
    () => kinds.SharedMutex!.openOrCreate(key),
    IpcError,
    "is it stopped?",
  );
  assertEquals([(error as IpcError).code, objectsLeft()], ["EAGAIN", left]);
  set.operateSync([{ index: 0, delta: +1 }]);
  kinds.SharedMutex!.openOrCreate(key)[Symbol.dispose]();
});

function sizeOf(name: string): number {
  using structure = kinds[name]!.create();
  return structure.stat().size;
}
