import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { inspect } from "node:util";
import { IpcError, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { Broadcast, Channel, SharedMutex, text, WorkQueue } from "@sysv/ipc/shared";
import { assertRejectsWith } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName, objectsLeft } from "./support/objects.ts";
import { kinds } from "./support/shared_kinds.ts";

function assertCode(run: () => unknown, code: string, what: string): void {
  assertEquals((assertThrows(run, IpcError, undefined, what) as IpcError).code, code, what);
}

const rounds = process.env.IPC_TEST_SOAK === "1" ? 10_000 : 300;

test("What a structure gives is made by its methods alone, and shows whose it is", () => {
  using mutex = SharedMutex.create();
  using broadcast = Broadcast.create();
  const subscription = broadcast.subscribe();
  for (const made of [mutex.lockSync(), subscription]) {
    const Class = made.constructor as new (...given: unknown[]) => unknown;
    assertThrows(() => new Class(), TypeError, "Cannot construct this object");
    assertThrows(() => new Class(mutex, 0), TypeError, "Cannot construct this object");
  }
  assertMatch(
    inspect(subscription),
    new RegExp(`^BroadcastSubscription \\{ id: ${broadcast.id},? `),
  );
});

for (const [name, kind] of Object.entries(kinds)) {
  test(`${name} that is removed refuses whoever would change it or wait for it`, async () => {
    for (const isUsed of [false, true]) {
      const own = kind.create();
      const other = kind.fromId(own.id);
      if (isUsed) { for (const handle of [own, other]) await kind.fill(handle); }
      own.remove();
      for (const handle of [other, own]) {
        for (const [use, run] of Object.entries(kind.usesSync(handle))) {
          if (kind.endsByRemoval(use)) assertCode(run, "EIDRM", use);
          else run();
        }
        for (const run of Object.values(kind.uses(handle))) await assertRejectsWith("EIDRM", run());
        assertCode(() => handle.remove(), "EIDRM", "remove");
        assertCode(() => handle.stat(), "EIDRM", "stat");
        assertCode(() => handle.members, "EIDRM", "members");
        assertCode(() => handle.setPermissions({ mode: 0o600 }), "EIDRM", "setPermissions");
        handle[Symbol.dispose]();
      }
      assertCode(() => kind.fromId(own.id), "EIDRM", "fromId");
    }
  });

  test(`${name}: a handle that is disposed refuses everything`, async () => {
    using own = kind.create();
    await kind.fill(own);
    const other = kind.fromId(own.id);
    await kind.fill(other);
    const [usesSync, uses] = [kind.usesSync(other), kind.uses(other)];
    assertMatch(inspect(other), new RegExp(`^${name} \\{ id: ${own.id},? `));
    other[Symbol.dispose]();
    assertMatch(inspect(other), new RegExp(`^${name} \\{ id: ${own.id},? `));
    other[Symbol.dispose]();
    const all = { ...usesSync, remove: () => other.remove(), stat: () => other.stat() };
    for (const [use, run] of Object.entries(all)) assertThrows(run, ReferenceError, undefined, use);
    for (const run of Object.values(uses)) await assertRejects(run, ReferenceError);
    await kind.fill(own);
  });

  test(`${name} is made by its functions alone`, () => {
    using own = kind.create();
    const Class = own.constructor as new () => unknown;
    assertThrows(() => new Class(), TypeError, "Cannot construct this object");
  });

  test(`${name}: what one of its halves was removed of goes with its owner all the same`, () => {
    const before = objectsLeft();
    for (const half of ["semaphores", "memory"]) {
      const own = kind.create();
      if (half === "memory") {
        using memory = SharedMemory.fromId(own.id);
        memory.remove();
      } else {
        using memory = SharedMemory.fromId(own.id);
        const id = new Int32Array(memory.buffer)[4]!;
        SemaphoreSet.fromId(id, { kind: "members" }).remove();
      }
      own[Symbol.dispose]();
      assertEquals(objectsLeft(), before, half);
    }
  });

  test(`${name}: ${rounds} rounds of create, use and dispose leave nothing`, async () => {
    const before = objectsLeft();
    for (let round = 0; round < rounds; round++) {
      using own = kind.create(round % 7 === 0 ? { key: freshName() } : {});
      using other = kind.fromId(own.id);
      for (const run of Object.values(kind.usesSync(round % 2 === 0 ? own : other))) {
        try {
          run();
        } catch (error) {
          assertEquals((error as Error).name, "TimeoutError");
        }
      }
      if (round % 10 === 0) await kind.fill(other);
    }
    assertEquals(objectsLeft(), before);
  });
}

test("Forms that only try give up on a lock that a process keeps which is stopped", async () => {
  const url = JSON.stringify(new URL("../shared/mod.ts", import.meta.url).href);
  using channel = Channel.create({ codec: text });
  using queue = WorkQueue.create({ codec: text });
  const joining = `
    import { Broadcast, Channel, SharedMutex, text, WorkQueue } from ${url};
    const channel = Channel.fromId(Number(args[0]), { codec: text });
    const queue = WorkQueue.fromId(Number(args[1]), { codec: text });
    channel.sendSync("item");
    queue.sendSync("item");
    say("joined");
    await hear();
  `;
  await using child = run(joining, { args: [channel.id, queue.id] });
  assertEquals(await child.hear(), "joined");
  // So the memory looks when its only member is stopped in the middle.
  const locks = [[channel, 32], [channel, 64], [queue, 32]] as const;
  for (const [{ id }, word] of locks) {
    using memory = SharedMemory.fromId(id);
    const words = new Int32Array(memory.buffer);
    using set = SemaphoreSet.fromId(words[4]!, { kind: "members" });
    words[word] = set.values.findIndex((alive, index) => index > 1 && alive === 1) - 1;
  }
  assertEquals([channel.trySend("next"), channel.tryReceive()], [false, undefined]);
  assertEquals(channel.tryReceiveInto(new Uint8Array(8)), undefined);
  assertEquals([queue.trySend("next"), queue.tryReceive()], [false, undefined]);
  for (const [{ id }, word] of locks) {
    using memory = SharedMemory.fromId(id);
    new Int32Array(memory.buffer)[word] = 0;
  }
  assertEquals([channel.trySend("next"), channel.tryReceive()], [true, "item"]);
  assertEquals([queue.trySend("next"), queue.tryReceive()?.value], [true, "item"]);
});
