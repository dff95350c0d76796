import { test } from "node:test";
import { read, repeat, tryStep } from "../sync/flow.ts";
import * as eventFlows from "../sync/flows/event.ts";
import * as gaugeFlows from "../sync/flows/gauge.ts";
import * as latchFlows from "../sync/flows/latch.ts";
import { gauge, latch } from "../sync/protocols.ts";
import { fails, passes } from "./model/check.ts";
import { eventModel, gaugeModel, latchModel } from "./model/simple.ts";

test("A latch survives every death, cancel and refusal", () => {
  passes(latchModel());
});

test("The model finds a latch that is reset by adding what was missing a moment ago", () => {
  const flows: typeof latchFlows = {
    ...latchFlows,
    reset: (_, count) =>
      repeat(function* () {
        const missing = yield* read((values) => count - values[latch.count]!);
        if (missing <= 0) return undefined as void;
        return (yield* tryStep([{ index: latch.count, delta: missing }])) as unknown as void;
      }),
  };
  fails(latchModel(flows), "The count grows");
});

test("The model finds a tryWait() of a latch that differs: it is content with 1", () => {
  const flows: typeof latchFlows = {
    ...latchFlows,
    tryWait: () =>
      tryStep([{ index: 0, delta: -1 }, { index: 0, delta: 0 }, { index: 0, delta: 1 }]),
  };
  fails(latchModel(flows), "One goes on though the count is not 0");
});

test("An event survives every death, cancel and refusal", () => {
  passes(eventModel());
});

test("The model finds an event that is reset as often as one likes", () => {
  const flows = { ...eventFlows, reset: () => tryStep([{ index: 0, delta: 1 }]) };
  fails(eventModel(flows), "The value has drifted");
});

test("A gauge survives every death, cancel and refusal", () => {
  passes(gaugeModel());
});

test("The model finds a gauge that is entered by one only", () => {
  const flows = { ...gaugeFlows, enter: () => gaugeFlows.enter(gauge, 1) };
  fails(gaugeModel(flows), "The values have drifted");
});

test("The model finds a gauge that is left without undo", () => {
  const flows: typeof gaugeFlows = {
    ...gaugeFlows,
    *leave(p, by) {
      yield* tryStep(p.leave(by).map(({ index, delta }) => ({ index, delta })));
    },
  };
  fails(gaugeModel(flows), "The undo has drifted");
});
