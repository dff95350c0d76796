import { assert, assertEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { IpcError, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { Channel, text } from "@sysv/ipc/shared";
import { Ledger, storm } from "./support/storm.ts";
import { freshName, objectsLeft } from "./support/objects.ts";
import { kinds } from "./support/shared_kinds.ts";

// Processes that make, open, use and remove the same structure at once, while some are killed.

const racing = (key: string) => `
  for (let i = 0;; i++) {
    const options = { members: 1 + i % 9, capacity: 256, codec: text };
    let channel;
    const how = Math.random();
    try {
      if (how < 0.7) channel = Channel.openOrCreate(${JSON.stringify(key)}, options);
      else if (how < 0.8) channel = Channel.open(${JSON.stringify(key)}, options);
      else channel = Channel.create({ ...options, key: ${JSON.stringify(key)}, owner: how < 0.85 });
      if (i % 2 === 0) channel.trySend("message");
      if (i % 3 === 0) channel.tryReceive();
      if (i % 16 === 0) await channel.receive({ timeout: 1 });
      if (i % 5 === 0) channel.remove();
    } catch (error) {
      // Others can have all of so few places.
      // A set of fewer places whose creator was killed before it could initialise it is not finished by all.
      const isUnfinished = /its size is \\d+, not \\d+/.test(String(error));
      if (!isUnfinished) expected(error, "EEXIST", "ENOENT", "EIDRM", "EAGAIN", "ENOSPC", "TimeoutError");
      if (String(error).includes("is it stopped?")) wrong(String(error));
    }
    channel?.[Symbol.dispose]();
    count();
  }
`;

test("Shared structures that all make, open and remove at once are never stuck, whoever is killed", async () => {
  const left = objectsLeft();
  const key = freshName();
  using ledger = new Ledger(1024);
  const outcome = await storm({
    structure: 0,
    ledger,
    programs: [0, 1, 2, 3].map(() => racing(key)),
    kills: process.env.IPC_TEST_SOAK === "1" ? 300 : 20,
  });
  await outcome.end();
  // Of as many places as the last one wanted, whose creator may have been killed.
  const made = Array.from({ length: 9 }, (_, index) => index + 1).find((members) => {
    try {
      using channel = Channel.openOrCreate(key, { members, capacity: 256, codec: text });
      channel.trySend("message");
      channel.remove();
      return true;
    } catch (error) {
      if (error instanceof IpcError && /EINVAL|EAGAIN/.test(error.code)) return false;
      throw error;
    }
  });
  assert(made !== undefined, "Nobody can open it any more");
  assertEquals(ledger.at(0), 0, "Something was wrong");
  ledger[Symbol.dispose]();
  assertEquals(objectsLeft(), left);
});

test("Opening what is just being removed says that it is gone", () => {
  for (const kind of Object.values(kinds)) {
    const key = freshName();
    using whole = kind.create({ key });
    using memory = SharedMemory.fromId(whole.id);
    SemaphoreSet.fromId(new Int32Array(memory.buffer)[4]!, { kind: "members" }).remove();
    for (const run of [() => kind.open(key), () => kind.fromId(whole.id)]) {
      assertEquals((assertThrows(run, IpcError, "semaphores are gone") as IpcError).code, "EIDRM");
    }
  }
});
