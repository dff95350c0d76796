import { assertThrows } from "@std/assert";
import { test } from "node:test";
import { SemaphoreSet } from "@sysv/ipc";
import { Barrier, Mutex, RwLock } from "@sysv/ipc/sync";
import { wrong } from "./privilege.ts";
import { assertIpcError, freshName } from "./support.ts";

/** What takes one of several words. */
const uses: Record<string, (key: string, word: never) => unknown> = {
  "Mutex.create({ onDeath })": (key, onDeath) => Mutex.create({ key, onDeath }),
  "Mutex.openOrCreate(key, { onDeath })": (key, onDeath) => Mutex.openOrCreate(key, { onDeath }),
  "RwLock.create({ prefer })": (key, prefer) => RwLock.create({ key, prefer }),
  "RwLock.openOrCreate(key, { prefer })": (key, prefer) => RwLock.openOrCreate(key, { prefer }),
  "Barrier.create({ onDeath })": (key, onDeath) => Barrier.create({ key, parties: 1, onDeath }),
  "Barrier.openOrCreate(key, { onDeath })": (key, onDeath) =>
    Barrier.openOrCreate(key, { parties: 1, onDeath }),
  "SemaphoreSet.create({ kind })": (key, kind) => SemaphoreSet.create({ key, values: [1], kind }),
  "SemaphoreSet.openOrCreate(key, { kind })": (key, kind) =>
    SemaphoreSet.openOrCreate(key, { values: [1], kind }),
};

for (const [call, use] of Object.entries(uses)) {
  const option = call.match(/\w+(?= \})/)![0];
  test(`${call} refuses a word that means nothing, and makes nothing`, () => {
    for (const word of wrong("reprot", "", 1, null, ["report"])) {
      const key = freshName();
      assertThrows(() => use(key, word), TypeError, `as ${option}: expected "`);
      assertIpcError(() => SemaphoreSet.open(key), "ENOENT", "semget");
    }
  });
}
