/**
 * A bulkhead and its workers, as models.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Like } from "../../sync/flow.ts";
import * as bulkheadFlows from "../../sync/flows/bulkhead.ts";
import { bulkhead } from "../../sync/protocols.ts";
import {
  assertNoUndo,
  assertValues,
  count,
  isKept,
  type Keeper,
  keeping,
  withoutKeepers,
} from "./check.ts";
import { choose, type Model, note, type State } from "./explore.ts";

export type Protocol = Like<typeof bulkhead>;
export type Flows = typeof bulkheadFlows;

export interface Worker extends Keeper {
  holds: boolean;
  registered: boolean;
}

export interface BulkheadModel {
  protocol?: Protocol;
  flows?: Flows;
  quota?: number | undefined;
}

/** Every form of a bulkhead. */
export function bulkheadModel(
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
export function keepsQuota(model: Model<Worker>): Model<Worker> {
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
