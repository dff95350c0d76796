import { assert } from "@std/assert";
import { test } from "node:test";
import { giveBack, type Like, tryStep } from "../sync/flow.ts";
import * as bulkheadFlows from "../sync/flows/bulkhead.ts";
import { bulkhead } from "../sync/protocols.ts";
import {
  assertNoUndo,
  assertValues,
  count,
  fails,
  isKept,
  type Keeper,
  keeping,
  passes,
  withoutKeepers,
  withoutUndo,
} from "./model/check.ts";
import { choose, type Model, note, type State } from "./model/explore.ts";

type Protocol = Like<typeof bulkhead>;
type Flows = typeof bulkheadFlows;

interface Worker extends Keeper {
  holds: boolean;
  registered: boolean;
}

interface BulkheadModel {
  protocol?: Protocol;
  flows?: Flows;
  quota?: number | undefined;
}

/** Every form of a bulkhead. */
function bulkheadModel(
  { protocol: p = bulkhead, flows = bulkheadFlows, quota }: BulkheadModel = {},
): Model<Worker> {
  const inUse = (state: State<Worker>) => count(state, ({ holds }) => holds);
  const workers = (state: State<Worker>) => count(state, ({ registered }) => registered);
  return {
    values: p.values(1),
    facts: { holds: false, registered: false },
    refuses: true,
    *act(worker) {
      const { holds, registered, keeps } = worker;
      if (keeps) yield* choose({});
      if (holds) {
        yield* choose({ will: ["release"] });
        yield* flows.release(p);
        return yield* note<Worker>({ ...worker, holds: false });
      }
      const change = quota === undefined
        ? ["resize to 1", "resize to 2"] as const
        : [registered ? "unregister" : "register"] as const;
      const how = yield* choose({ may: ["acquire", "tryAcquire", "state", ...change] });
      yield* keeping(
        worker,
        (function* () {
          if (how === "resize to 1") return yield* flows.resize(p, 1);
          if (how === "resize to 2") return yield* flows.resize(p, 2);
          if (how === "register") {
            yield* flows.register(p, quota);
            return yield* note<Worker>({ ...worker, registered: true });
          }
          if (how === "unregister") {
            yield* flows.unregister(p);
            yield* note<Worker>({ ...worker, registered: false });
            return yield* flows.adjust(p, quota);
          }
          if (how === "state") {
            const values = yield* flows.state(p, quota);
            const due = quota === undefined ||
              values[p.limit] === flows.share(p, values[p.workers]!, quota);
            assert(due, "The state is not what the quota says");
          } else if (how === "tryAcquire" ? yield* flows.tryAcquire(p, quota) : yield* acquired()) {
            yield* note<Worker>({ ...worker, holds: true });
          }
        })(),
      );
      function* acquired() {
        yield* flows.acquire(p, quota);
        return true;
      }
    },
    witness(before, after) {
      const given = inUse(after) > inUse(before);
      const limit = before.values[p.limit]!;
      assert(!given || inUse(before) < limit, "More tickets are given out than there are");
      return 0;
    },
    mayWait: isKept,
    checkAtRest(state) {
      const settled = withoutKeepers(state);
      const limit = settled.values[p.limit]!;
      assertValues(settled, [bulkhead.floor + limit, limit, workers(settled)]);
      assert(limit === 1 || limit === 2, "The limit has drifted");
      if (quota === undefined) assertNoUndo(settled);
    },
    check() {},
  };
}

/** Demands the number of tickets that the quota says, where nobody dies or is refused. */
function keepsQuota(model: Model<Worker>): Model<Worker> {
  return {
    ...model,
    refuses: false,
    checkAtRest(state) {
      model.checkAtRest(state);
      if (!state.processes.every(({ alive }) => alive)) return;
      const workers = count(state, ({ registered }) => registered);
      const due = bulkheadFlows.share(bulkhead, workers, 0.5);
      assert(state.values[bulkhead.limit] === due, "The limit is not what the quota says");
    },
  };
}

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
