import { test } from "node:test";
import { giveBack, tryStep } from "../sync/flow.ts";
import * as bulkheadFlows from "../sync/flows/bulkhead.ts";
import { bulkhead } from "../sync/protocols.ts";
import { fails, passes, withoutUndo } from "./model/check.ts";
import { bulkheadModel, type Flows, keepsQuota } from "./model/bulkhead.ts";

test("A bulkhead of tickets survives every resize, death, cancel and refusal", () => {
  passes(bulkheadModel());
});

test("A bulkhead with a quota survives every registration, death, cancel and refusal", () => {
  passes(bulkheadModel({ quota: 0.5 }));
});

test("A bulkhead with a quota has as many tickets as that says, if nobody dies or is refused", () => {
  passes(keepsQuota(bulkheadModel({ quota: 0.5 })));
});

test("The model finds a bulkhead that forgets that it has shrunk", () => {
  const protocol = { ...bulkhead, acquire: [-2, +1].map((delta) => ({ delta, undo: true })) };
  fails(bulkheadModel({ protocol }), "More tickets are given out than there are");
});

test("The model finds a bulkhead whose tickets are given back without undo", () => {
  const protocol = { ...bulkhead, release: withoutUndo(bulkhead.release) };
  fails(bulkheadModel({ protocol }), "The undo has drifted");
});

test("The model finds a bulkhead that is resized twice at once", () => {
  const resize = (from: number, to: number) =>
    [{ index: bulkhead.limit, delta: to - from }, { index: bulkhead.room, delta: to - from }]
      .filter(({ delta }) => delta !== 0);
  fails(bulkheadModel({ protocol: { ...bulkhead, resize } }), "The limit has drifted");
});

test("The model finds a bulkhead that waits for its room to be 0 when it keeps its size", () => {
  const resize = (from: number, to: number) =>
    from === to ? [{ index: bulkhead.room, delta: 0 }] : bulkhead.resize(from, to);
  fails(bulkheadModel({ protocol: { ...bulkhead, resize } }), "are spoilt");
});

test("The model finds a worker that stays registered when the quota cannot be kept", () => {
  const flows: Flows = {
    ...bulkheadFlows,
    *register(p, quota) {
      yield* tryStep(p.register);
      yield* bulkheadFlows.adjust(p, quota);
    },
  };
  fails(bulkheadModel({ flows, quota: 0.5 }), "The values have drifted");
});

test("The model finds a tryAcquire() that differs: it gives back what it takes", () => {
  const flows: Flows = {
    ...bulkheadFlows,
    *tryAcquire(p) {
      const may = yield* tryStep(p.acquire);
      if (may) yield* giveBack(p.release);
      return may;
    },
  };
  fails(bulkheadModel({ flows }), "More tickets are given out than there are");
});

test("The model finds a worker that registers without keeping the quota", () => {
  const flows: Flows = {
    ...bulkheadFlows,
    *register(p) {
      yield* tryStep(p.register);
    },
  };
  const model = keepsQuota(bulkheadModel({ flows, quota: 0.5 }));
  fails(model, "The limit is not what the quota says");
});
