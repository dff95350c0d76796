import { test } from "node:test";
import { tryStep, waitFor } from "../sync/flow.ts";
import * as rwlockFlows from "../sync/flows/rwlock.ts";
import { rwlock } from "../sync/protocols.ts";
import { fails, passes, withoutUndo } from "./model/check.ts";
import { type Flows, rwlockModel } from "./model/rwlock.ts";

test("A lock of readers and writers survives every death, cancel and refusal", () => {
  passes(rwlockModel());
});

test("The model finds a lock whose queue a cancelled writer does not leave", () => {
  fails(rwlockModel({ protocol: { ...rwlock, withdraw: [] } }), "The undo has drifted");
});

test("The model finds a writer that forgets to withdraw when it gives up", () => {
  const flows: Flows = {
    ...rwlockFlows,
    *write(p) {
      if (yield* tryStep(p.writeAtOnce)) return;
      yield* tryStep(p.announce);
      yield* waitFor(p.write);
    },
  };
  fails(rwlockModel({ flows }), "The undo has drifted");
});

test("The model finds a writer that does not announce itself", () => {
  const flows: Flows = {
    ...rwlockFlows,
    *write(p) {
      yield* waitFor(p.write);
    },
  };
  fails(rwlockModel({ flows }), "Somebody who lives can never come to rest");
});

test("The model finds a tryWrite() that differs: it does not look for readers", () => {
  const flows: Flows = {
    ...rwlockFlows,
    tryWrite: (p) => tryStep(p.writeAtOnce.filter(({ index }) => index !== 0)),
  };
  fails(rwlockModel({ flows }), "One reads while one writes");
});

test("The model finds a lock that dies with its writer", () => {
  const protocol = {
    ...rwlock,
    writeAtOnce: withoutUndo(rwlock.writeAtOnce),
    write: rwlock.write.map((one) => one.index === rwlock.writer ? { ...one, undo: false } : one),
    endWrite: withoutUndo(rwlock.endWrite),
  };
  fails(rwlockModel({ protocol }), "The values have drifted");
});

test("The model finds a lock whose writers do not wait for each other", () => {
  const write = rwlock.write.filter(({ index, delta }) => index !== rwlock.writer || delta !== 0);
  fails(rwlockModel({ protocol: { ...rwlock, write } }), "Two write");
});

test("The model finds a lock whose readers do not wait for the writer", () => {
  const protocol = { ...rwlock, read: rwlock.read.slice(1) };
  fails(rwlockModel({ protocol }), "One reads while one writes");
});

test("The model finds a lock whose readers leave as writers", () => {
  const flows: Flows = { ...rwlockFlows, endRead: rwlockFlows.endWrite };
  fails(rwlockModel({ flows }), "What is given back has to be possible");
});

test("The model finds a reader that is upgraded beside another", () => {
  const protocol = { ...rwlock, upgrade: rwlock.upgrade.filter(({ delta }) => delta !== 0) };
  fails(rwlockModel({ protocol }), "One reads while one writes");
});

test("The model finds a writer that is downgraded without undo", () => {
  const protocol = { ...rwlock, downgrade: withoutUndo(rwlock.downgrade) };
  fails(rwlockModel({ protocol }), "The values have drifted");
});
