import { assert, assertThrows } from "@std/assert";
import { test } from "node:test";
import { SemaphoreSet } from "@sysv/ipc";
import { Barrier, Bulkhead, Mutex, RwLock } from "@sysv/ipc/sync";
import { assertIpcError, wrong } from "./support/assert.ts";
import { freshName } from "./support/objects.ts";

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

/** What opens what exists, by options that may be wrong. */
const openings: Record<string, (key: string, option: never) => unknown> = {
  "Mutex.open(key, { onDeath })": (key, onDeath) => Mutex.open(key, { onDeath }),
  "Mutex.fromId(id, { onDeath })": (_, onDeath) => Mutex.fromId(nobody, { onDeath }),
  "RwLock.open(key, { prefer })": (key, prefer) => RwLock.open(key, { prefer }),
  "RwLock.fromId(id, { prefer })": (_, prefer) => RwLock.fromId(nobody, { prefer }),
  "Barrier.open(key, { onDeath })": (key, onDeath) => Barrier.open(key, { onDeath }),
  "Barrier.fromId(id, { onDeath })": (_, onDeath) => Barrier.fromId(nobody, { onDeath }),
  "Barrier.open(key, { parties })": (key, parties) => Barrier.open(key, { parties }),
  "Barrier.openOrCreate(key, { parties })": (key, parties) =>
    Barrier.openOrCreate(key, { parties }),
  "Barrier.fromId(id, { parties })": (_, parties) => Barrier.fromId(nobody, { parties }),
  "Bulkhead.open(key, { quota })": (key, quota) => Bulkhead.open(key, { quota }),
  "Bulkhead.openOrCreate(key, { quota })": (key, quota) => Bulkhead.openOrCreate(key, { quota }),
  "Bulkhead.fromId(id, { quota })": (_, quota) => Bulkhead.fromId(nobody, { quota }),
};

/** The identifier of a set that was removed. */
const nobody = (() => {
  using set = SemaphoreSet.create({ values: [0] });
  return set.id;
})();

for (const [call, open] of Object.entries(openings)) {
  test(`${call} refuses a wrong option before it looks for anything`, () => {
    for (const option of wrong("reprot", 0, null)) {
      const error = assertThrows(() => open(freshName(), option), Error, "expected");
      assert(error instanceof TypeError || error instanceof RangeError, String(error));
    }
  });
}
