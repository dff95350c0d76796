import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { giveBack, read, tryStep, waitFor } from "../sync/flow.ts";
import * as mutexFlows from "../sync/flows/mutex.ts";
import { mutex } from "../sync/protocols.ts";
import { fails, passes, withoutUndo } from "./model/check.ts";
import { explore } from "./model/explore.ts";
import { type Flows, mutexModel, permits } from "./model/mutex.ts";

test("Permits that are taken and released with undo survive every death and cancel", () => {
  passes(permits([{ index: 0, delta: +1, undo: true }]));
});

test("The model finds permits that are released without undo", () => {
  fails(permits([{ index: 0, delta: +1 }]), "The undo has drifted");
});

for (const onDeath of ["report", "refuse"] as const) {
  test(`A mutex whose rule is ${onDeath} survives every death, cancel and refusal`, () => {
    passes(mutexModel({ onDeath }));
  });

  test(`A mutex whose rule is ${onDeath} survives them with two flows in one process`, () => {
    passes(mutexModel({ onDeath, processes: [2, 1] }));
  });
}

test("The model finds a mutex that dies with its holder, and tells a shortest way there", () => {
  const protocol = {
    ...mutex,
    takeClean: withoutUndo(mutex.takeClean),
    take: withoutUndo(mutex.take),
    release: (dirty: number) => withoutUndo(mutex.release(dirty)),
  };
  assertEquals(explore(mutexModel({ protocol })).failure?.split("\n"), [
    "The values have drifted",
    "   1 0",
    '   0.0 choose: "lock" -> 1 0',
    "   0.0 try [(1, 0), (0, -1), (1, +1)]: true -> 0 1",
    "   0.0 dies -> 0 1",
  ]);
});

test("The model finds a mutex that is released without undo", () => {
  const release = (dirty: number) => withoutUndo(mutex.release(dirty));
  fails(mutexModel({ protocol: { ...mutex, release } }), "The undo has drifted");
});

test("The model finds a mutex that is clean as soon as it is taken back", () => {
  const protocol = { ...mutex, take: mutex.takeClean, takeClean: mutex.take };
  fails(mutexModel({ protocol }), "A holder is not told how many have died");
});

test("The model finds a lock that keeps what it took when it cannot read how many died", () => {
  const flows: Flows = {
    ...mutexFlows,
    *lockInLine(p, refuses) {
      yield* waitFor(p.take);
      const dirty = yield* read((values) => values[p.dirty]!);
      const refused = refuses && dirty > 1;
      if (refused) yield* giveBack(p.putBack);
      return { dirty, refused };
    },
  };
  assertEquals(explore(mutexModel({ flows })).failure?.split("\n"), [
    "The undo has drifted",
    "   1 0",
    '   0.0 choose: "lockInLine" -> 1 0',
    '   0.0 wait [(0, -1, UNDO), (1, +1)]: "done" -> 0 1',
    '   0.0 read: "refused" -> 0 1',
  ]);
});

test("The model finds a tryLock() that differs: it takes an abandoned mutex for a clean one", () => {
  const flows: Flows = {
    ...mutexFlows,
    *tryLock(p) {
      if (yield* tryStep(p.takeClean)) return mutexFlows.clean;
      return (yield* tryStep(p.take)) ? mutexFlows.clean : undefined;
    },
  };
  fails(mutexModel({ flows }), "A holder is not told how many have died");
});

test("The model finds a lock that does not give back the mutex that it refuses", () => {
  const flows: Flows = {
    ...mutexFlows,
    *lock(p, refuses) {
      if (yield* tryStep(p.takeClean)) return mutexFlows.clean;
      yield* waitFor(p.take);
      const dirty = yield* read((values) => values[p.dirty]!);
      return { dirty, refused: refuses && dirty > 1 };
    },
  };
  fails(mutexModel({ flows, onDeath: "refuse" }), "The undo has drifted");
});

test("The model finds a recovery that unlocks as if nobody had died", () => {
  const flows: Flows = { ...mutexFlows, unlock: (p) => mutexFlows.unlock(p, 1) };
  fails(mutexModel({ flows, onDeath: "refuse" }), "The values have drifted");
});

test("The model finds a mutex that is put back as clean when its state cannot be read", () => {
  const protocol = { ...mutex, putBack: mutex.release(2) };
  fails(mutexModel({ protocol }), "What is given back has to be possible");
});
