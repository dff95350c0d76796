import { test } from "node:test";
import { tryStep, waitFor } from "../sync/flow.ts";
import * as barrierFlows from "../sync/flows/barrier.ts";
import { barrier, type Step } from "../sync/protocols.ts";
import { fails, passes } from "./model/check.ts";
import { barrierModel, type Flows } from "./model/barrier.ts";

for (const [rule, shrinks] of [["breaks", false], ["shrinks", true]] as const) {
  test(`A barrier that ${rule} survives every death and cancel`, () => {
    passes(barrierModel({ shrinks }));
  });

  test(`A barrier that ${rule} survives every refusal, too`, () => {
    passes(barrierModel({ shrinks, refuses: true, processes: [1, 1] }));
  });

  test(`A barrier that ${rule} survives them with two parties in one process`, () => {
    passes(barrierModel({ shrinks, processes: [2, 1] }));
  });

  test(`A barrier that ${rule} survives them with more processes than parties`, () => {
    passes(barrierModel({ shrinks, parties: 2 }));
  });

  test(`The model finds a barrier that ${rule} and has only two counters`, () => {
    const two = (step: Step): Step =>
      step.map((one) => one.index === 2 ? { ...one, index: 0 } : one);
    const protocol = {
      ...barrier,
      next: (round: number) => 1 - round,
      arrive: (round: number, token: boolean) => two(barrier.arrive(round, token)),
      retreat: (round: number, token: boolean) => barrier.retreat(round, token).map(two),
    };
    fails(barrierModel({ shrinks, protocol }), "A round is over before");
  });
}

test("The model finds a barrier that has the last to join forgotten by who gives up", () => {
  const retreat = (round: number, token: boolean) => barrier.retreat(round, token).toReversed();
  const protocol = { ...barrier, retreat };
  fails(barrierModel({ shrinks: true, protocol }), "A round is over before");
});

test("The model finds a barrier that goes on with those whom the last has left meanwhile", () => {
  const join = (values: readonly number[], token: boolean) => {
    const step = barrier.join(values, token);
    // Without the test that somebody is still in.
    return values.slice(0, barrier.rounds).some((value) => value > 0) ? step?.slice(2) : step;
  };
  const protocol = { ...barrier, join };
  fails(barrierModel({ shrinks: false, protocol }), "A round is over before all have joined");
});

test("The model finds a barrier that serves one run only", () => {
  const join = (values: readonly number[], token: boolean) =>
    values[barrier.missing] === 0 ? undefined : barrier.join(values, token);
  const protocol = { ...barrier, join };
  fails(barrierModel({ shrinks: true, protocol }), "One is refused though nobody is in");
});

test("The model finds a barrier that begins anew twice at once", () => {
  const join = (values: readonly number[], token: boolean) => {
    const step = barrier.join(values, token);
    // Without the tests that nobody is in.
    return values.slice(0, barrier.rounds).some((value) => value > 0) ? step : step?.slice(3);
  };
  const model = barrierModel({ shrinks: false, protocol: { ...barrier, join }, parties: 2 });
  fails(model, "More join than there are parties");
});

test("The model finds a barrier that does not break", () => {
  const protocol = { ...barrier, arm: () => [], disarm: () => [] };
  fails(barrierModel({ shrinks: false, protocol }), "The values have drifted");
});

test("The model finds a barrier that does not shrink", () => {
  const join = (values: readonly number[]) => barrier.join(values, false);
  const protocol = { ...barrier, join };
  fails(barrierModel({ shrinks: true, protocol }), "A party does not know where its token is");
});

test("The model finds a party that gives up and leaves its token where it has arrived", () => {
  const flows: Flows = {
    ...barrierFlows,
    *wait(p, { shrinks }, party) {
      if (!(yield* tryStep(p.arrive(party.round, shrinks)))) return "broken";
      yield* waitFor(p.wait(party.round));
      party.round = party.token = p.next(party.round);
      return "passed";
    },
  };
  fails(barrierModel({ shrinks: true, flows }), "A party does not know where its token is");
});

test("The model finds a party that arrives twice, as it could not take its token back", () => {
  const flows: Flows = {
    ...barrierFlows,
    wait(p, rule, party) {
      // As if it had not arrived.
      party.token = party.round;
      return barrierFlows.wait(p, rule, party);
    },
  };
  const model = barrierModel({ shrinks: true, flows, processes: [1, 1], refuses: true });
  fails(model, "A party does not know where its token is");
});

test("The model finds a tryWait() that differs: it does not wait for those who are missing", () => {
  const flows: Flows = {
    ...barrierFlows,
    *tryWait(p, { shrinks }, party) {
      const step = [...p.arrive(party.round, shrinks), ...p.wait(party.round).slice(1)];
      if (!(yield* tryStep(step))) return "missing";
      party.round = party.token = p.next(party.round);
      return "passed";
    },
  };
  fails(barrierModel({ shrinks: true, flows }), "A round is over before all have joined");
});

test("The model finds a party that leaves where it should have broken the barrier", () => {
  const flows: Flows = {
    ...barrierFlows,
    *abandon(p, rule, party) {
      yield* barrierFlows.leave(p, rule, party);
    },
  };
  fails(barrierModel({ shrinks: false, flows }), "A party does not know where its token is");
});
