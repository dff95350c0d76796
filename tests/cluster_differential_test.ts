import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import type { SemaphoreOperation } from "@sysv/ipc";
import { type Client, inKernel, onServer } from "./support/clients.ts";
import { testWhere } from "./support/peer.ts";
import { missingServer } from "./support/postgres.ts";
import { Random } from "./support/random.ts";
import { passed, until } from "./support/time.ts";

const isSoak = process.env.IPC_TEST_SOAK === "1";
const STEPS = isSoak ? 2500 : 150;
const seeds = isSoak ? [1, 2, 3, 4] : [Date.now() % 2 ** 31];

const deltas = [0, 0, 1, 1, 1, 2, -1, -1, -1, -2, 3, -3, 20000, -20000, 32767, -32767];

function randomOperations(random: Random, size: number): SemaphoreOperation[] {
  return Array.from({ length: 1 + random.below(3) }, () => ({
    index: random.below(size),
    delta: random.of(deltas),
    undo: random.below(2) === 0,
  }));
}

/** Runs the same random steps in the kernel and on the server, and compares after each. */
async function compare(seed: number): Promise<void> {
  const random = new Random(seed);
  const values = Array.from({ length: 1 + random.below(4) }, () => random.of([0, 1, 2, 5]));
  await using kernel = await inKernel(values);
  await using cluster = await onServer(values);
  type Pair = { kernel: Client; cluster: Client; waits: boolean };
  const make = async (): Promise<Pair> => {
    const [one, other] = await Promise.all([kernel.client(), cluster.client()]);
    return { kernel: one, cluster: other, waits: false };
  };
  const pairs: Pair[] = [];
  for (let n = 2 + random.below(4); n > 0; n--) pairs.push(await make());
  const log: string[] = [];
  const context = () => `seed ${seed}:\n${log.slice(-12).join("\n")}`;
  /** Until whatever can happen has. */
  const settle = async () => {
    const pending = () =>
      pairs.filter((pair) => pair.waits && pair.kernel.outcome === undefined).length;
    for (let tries = 0; await kernel.waiting([]) !== pending(); tries++) {
      assert(tries < 10_000, context());
      await passed(1);
    }
    for (let i = 0; i < 500; i++) {
      const same = pairs.every((pair) => pair.kernel.outcome === pair.cluster.outcome);
      if (same && String(await cluster.read()) === String(await kernel.read())) break;
      await passed(5);
    }
    const state = (of: "kernel" | "cluster") => pairs.map((pair) => pair.waits && pair[of].outcome);
    assertEquals(
      { values: await cluster.read(), state: state("cluster") },
      { values: await kernel.read(), state: state("kernel") },
      context(),
    );
    for (const pair of pairs) if (pair.kernel.outcome !== undefined) pair.waits = false;
  };

  for (let step = 0; step < STEPS; step++) {
    const pair = random.of(pairs);
    const index = pairs.indexOf(pair);
    const operations = randomOperations(random, values.length);
    const shown = JSON.stringify(operations.map(({ index, delta, undo }) => [index, delta, undo]));
    if (random.below(40) === 0) {
      log.push(`${index} dies`);
      await Promise.all([pair.kernel.kill(), pair.cluster.kill()]);
      pairs[index] = await make();
    } else if (pair.waits) {
      if (random.below(2) === 0) continue;
      log.push(`${index} aborts`);
      pair.kernel.abort();
      pair.cluster.abort();
      await until(() => pair.kernel.outcome !== undefined);
    } else if (random.below(2) === 0) {
      log.push(`${index} tries ${shown}`);
      const [kernels, clusters] = await Promise.all([
        pair.kernel.attempt(operations),
        pair.cluster.attempt(operations),
      ]);
      assertEquals(clusters, kernels, context());
    } else {
      const timeout = random.below(6) === 0 ? 20 : undefined;
      log.push(`${index} waits for ${shown}${timeout === undefined ? "" : " for 20 ms"}`);
      pair.waits = true;
      pair.kernel.begin(operations, timeout);
      pair.cluster.begin(operations, timeout);
      if (timeout !== undefined) await until(() => pair.kernel.outcome !== undefined);
    }
    await settle();
  }
}

for (const seed of seeds) {
  testWhere(
    missingServer,
    `Semaphores on a server do what the kernel's do over ${STEPS} random steps with deaths`,
    () => compare(seed),
  );
}
