/**
 * A lock of readers and writers, as models.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Flow, Like } from "../../sync/flow.ts";
import * as rwlockFlows from "../../sync/flows/rwlock.ts";
import { rwlock } from "../../sync/protocols.ts";
import {
  assertNoUndo,
  assertValues,
  count,
  isKept,
  type Keeper,
  keeping,
  withoutKeepers,
} from "./check.ts";
import { choose, type Model, note } from "./explore.ts";

export type Protocol = Like<typeof rwlock>;
export type Flows = typeof rwlockFlows;

export interface User extends Keeper {
  is: "idle" | "reading" | "writing";
}

export interface RwLockModel {
  protocol?: Protocol;
  flows?: Flows;
}

/** Every form of a lock of readers and writers. */
export function rwlockModel(
  { protocol: p = rwlock, flows = rwlockFlows }: RwLockModel = {},
): Model<User> {
  function* always(flow: Flow<void>): Flow<boolean> {
    yield* flow;
    return true;
  }
  const forms: Record<string, [User["is"], () => Flow<boolean>]> = {
    read: ["reading", () => always(flows.read(p, false))],
    readAfterWriters: ["reading", () => always(flows.read(p, true))],
    tryRead: ["reading", () => flows.tryRead(p, false)],
    tryReadAfterWriters: ["reading", () => flows.tryRead(p, true)],
    write: ["writing", () => always(flows.write(p))],
    tryWrite: ["writing", () => flows.tryWrite(p)],
  };
  return {
    values: p.values,
    facts: { is: "idle" },
    refuses: true,
    *act(facts) {
      if (facts.keeps) yield* choose({});
      if (facts.is !== "idle") {
        const reads = facts.is === "reading";
        const how = yield* choose({ will: ["unlock"], may: [reads ? "upgrade" : "downgrade"] });
        if (how === "upgrade") {
          if (yield* flows.tryUpgrade(p)) yield* note<User>({ is: "writing" });
        } else if (how === "downgrade") {
          yield* flows.downgrade(p);
          yield* note<User>({ is: "reading" });
        } else {
          yield* reads ? flows.endRead(p) : flows.endWrite(p);
          yield* note<User>({ is: "idle" });
        }
        return;
      }
      const [is, form] = forms[yield* choose({ may: Object.keys(forms) })]!;
      yield* keeping(
        facts,
        (function* () {
          if (yield* form()) yield* note<User>({ is });
        })(),
      );
    },
    mayWait: isKept,
    check(state) {
      const writing = count(state, ({ is }) => is === "writing");
      const reading = count(state, ({ is }) => is === "reading");
      assert(writing <= 1, "Two write");
      assert(writing === 0 || reading === 0, "One reads while one writes");
    },
    checkAtRest(state) {
      const settled = withoutKeepers(state);
      assertNoUndo(settled);
      assertValues(settled, [0, 0, 0]);
    },
  };
}
