import { assert } from "@std/assert";
import process from "node:process";
import { barrierModel } from "./model/barrier.ts";
import { bulkheadModel } from "./model/bulkhead.ts";
import type { Model } from "./model/explore.ts";
import { leaderModel } from "./model/leader.ts";
import { mutexModel, permits } from "./model/mutex.ts";
import { Replay } from "./model/replay.ts";
import { rwlockModel } from "./model/rwlock.ts";
import { eventModel, gaugeModel, latchModel } from "./model/simple.ts";
import { inKernel, onServer } from "./support/clients.ts";
import { testWhere } from "./support/peer.ts";
import { missingServer } from "./support/postgres.ts";
import { Random } from "./support/random.ts";

const isSoak = process.env.IPC_TEST_SOAK === "1";
const WALKS = isSoak ? 60 : 1;
const STEPS = 60;

/** What the model check explores, by what it is. */
const models: Readonly<Record<string, () => Model<never>>> = {
  "permits": () => permits([{ index: 0, delta: +1, undo: true }]) as Model<never>,
  "a mutex that reports": () => mutexModel({ onDeath: "report" }) as Model<never>,
  "a mutex that refuses": () => mutexModel({ onDeath: "refuse" }) as Model<never>,
  "a lock of readers and writers": () => rwlockModel() as Model<never>,
  "a latch": () => latchModel() as Model<never>,
  "an event": () => eventModel() as Model<never>,
  "a gauge": () => gaugeModel() as Model<never>,
  "a bulkhead of tickets": () => bulkheadModel() as Model<never>,
  "a bulkhead with a quota": () => bulkheadModel({ quota: 0.5 }) as Model<never>,
  "a leader": () => leaderModel() as Model<never>,
  "a barrier that breaks": () => barrierModel({ shrinks: false }) as Model<never>,
  "a barrier that shrinks": () => barrierModel({ shrinks: true }) as Model<never>,
  "a barrier of two of three": () => barrierModel({ shrinks: true, parties: 2 }) as Model<never>,
};

const engines = {
  "in the kernel": { missing: undefined, make: inKernel },
  "on a server": { missing: missingServer, make: onServer },
} as const;

for (const [engine, { missing, make }] of Object.entries(engines)) {
  for (const [what, modelOf] of Object.entries(models)) {
    testWhere(
      missing,
      `Real processes do with ${what} what its model says (${engine})`,
      async () => {
        let steps = 0;
        for (let walk = 0; walk < WALKS; walk++) {
          const seed = Math.floor(Math.random() * 2 ** 31);
          try {
            steps += await Replay.walk(modelOf(), make, new Random(seed), STEPS);
          } catch (error) {
            throw new Error(`Seed ${seed}:\n${(error as Error).message}`, { cause: error });
          }
        }
        assert(steps > 0);
      },
    );
  }
}
