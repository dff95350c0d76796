import { assertEquals } from "@std/assert";
import process from "node:process";
import { type SemaphoreOperation, SemaphoreSet } from "@sysv/ipc";
import type { Cluster, ClusterSemaphores } from "@sysv/ipc/cluster";
import { type Child, otherRuntime, run } from "./support/child.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, nameIn, server } from "./support/postgres.ts";
import { until } from "./support/time.ts";

const isSoak = process.env.IPC_TEST_SOAK === "1";
const STEPS = isSoak ? 2500 : 150;
const seeds = isSoak ? [1, 2, 3, 4] : [Date.now() % 2 ** 31];

/** A random sequence that its seed repeats. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.#state / 2 ** 32 * limit);
  }

  of<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }
}

/** How an operation ended. */
type Outcome = "done" | "EAGAIN" | "ERANGE" | "aborted" | "TimeoutError";

function outcomeOf(error: unknown): Outcome {
  const { code, name, message } = error as { code?: unknown; name: string; message: string };
  if (name === "TimeoutError") return "TimeoutError";
  if (message === "aborted") return "aborted";
  if (code === "ERANGE") return "ERANGE";
  throw error;
}

/** One of those who operate on the same semaphores; it waits for one thing at a time. */
interface Client {
  attempt(operations: readonly SemaphoreOperation[]): Promise<Outcome>;
  begin(operations: readonly SemaphoreOperation[], timeout?: number): void;
  abort(): void;
  kill(): Promise<void>;
  /** What it waited for has ended so; undefined as long as it waits. */
  outcome: Outcome | undefined;
}

/** In the kernel: a process. In Bun, whose first wait in a thread keeps its place in the kernel's line. */
class KernelClient implements Client {
  outcome: Outcome | undefined;
  readonly #child: Child;

  constructor(id: number) {
    this.#child = run(
      `
      const set = SemaphoreSet.fromId(Number(args[0]));
      let controller;
      const outcomeOf = (error) => error.name === "TimeoutError" ? "TimeoutError" : error.code ?? error.message;
      for (let line; (line = await hear()) !== undefined;) {
        const { verb, operations, timeout } = JSON.parse(line);
        if (verb === "attempt") {
          try {
            say(set.tryOperate(operations) ? "done" : "EAGAIN");
          } catch (error) {
            say(outcomeOf(error));
          }
        } else if (verb === "abort") controller.abort(new Error("aborted"));
        else {
          controller = new AbortController();
          set.operate(operations, { signal: controller.signal, timeout })
            .then(() => say("done"), (error) => say(outcomeOf(error)));
        }
      }`,
      { runtime: otherRuntime, args: [id] },
    );
  }

  async attempt(operations: readonly SemaphoreOperation[]): Promise<Outcome> {
    this.#child.say(JSON.stringify({ verb: "attempt", operations }));
    return await this.#child.hear() as Outcome;
  }

  begin(operations: readonly SemaphoreOperation[], timeout?: number): void {
    this.outcome = undefined;
    this.#child.say(JSON.stringify({ verb: "begin", operations, timeout }));
    this.#child.hear().then((outcome) => this.outcome = outcome as Outcome, () => {});
  }

  abort(): void {
    this.#child.say(JSON.stringify({ verb: "abort" }));
  }

  async kill(): Promise<void> {
    await this.#child.kill();
  }
}

/** On the server: a session. */
class ClusterClient implements Client {
  outcome: Outcome | undefined;
  readonly cluster: Cluster;
  readonly #set: ClusterSemaphores;
  #controller = new AbortController();

  constructor(cluster: Cluster, set: ClusterSemaphores) {
    this.cluster = cluster;
    this.#set = set;
  }

  async attempt(operations: readonly SemaphoreOperation[]): Promise<Outcome> {
    try {
      return await this.#set.tryOperate(operations) ? "done" : "EAGAIN";
    } catch (error) {
      return outcomeOf(error);
    }
  }

  begin(operations: readonly SemaphoreOperation[], timeout?: number): void {
    this.outcome = undefined;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    this.#set.operate(operations, { signal, timeout }).then(
      () => this.outcome = "done",
      (error) => {
        const ended = error.name === "SessionLostError" || error instanceof ReferenceError;
        if (!ended) this.outcome = outcomeOf(error);
      },
    );
  }

  abort(): void {
    this.#controller.abort(new Error("aborted"));
  }

  async kill(): Promise<void> {
    const { session } = this.cluster;
    const { lost } = this.cluster;
    (await server()).query(
      `SELECT pg_terminate_backend(pid, 5000) FROM ipc.session WHERE sid = ${session}`,
    );
    await until(() => lost.aborted);
  }
}

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
  using kernel = SemaphoreSet.create({ values });
  await using watcher = await connected();
  const name = nameIn("differential");
  const remote = await watcher.semaphores(name, values);
  type Pair = { kernel: KernelClient; cluster: ClusterClient; waits: boolean };
  const make = async (): Promise<Pair> => {
    const cluster = await connected();
    return {
      kernel: new KernelClient(kernel.id),
      cluster: new ClusterClient(cluster, await cluster.semaphores(name, values)),
      waits: false,
    };
  };
  const pairs: Pair[] = [];
  for (let n = 2 + random.below(4); n > 0; n--) pairs.push(await make());
  const waiting = () => {
    let count = 0;
    for (let i = 0; i < kernel.size; i++) {
      const { forIncrease, forZero } = kernel.at(i).waiting;
      count += forIncrease + forZero;
    }
    return count;
  };
  const log: string[] = [];
  const pending = (of: "kernel" | "cluster") =>
    pairs.filter((pair) => pair.waits && pair[of].outcome === undefined).length;
  /** Until whatever can happen has. */
  const settle = async () => {
    await until(() => waiting() === pending("kernel"));
    for (let i = 0; i < 500; i++) {
      const same = pairs.every((pair) => pair.kernel.outcome === pair.cluster.outcome);
      if (same && String(await remote.read()) === String(kernel.values)) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const state = (of: "kernel" | "cluster") => pairs.map((pair) => pair.waits && pair[of].outcome);
    const context = `seed ${seed}:\n${log.slice(-12).join("\n")}`;
    assertEquals(
      { values: await remote.read(), state: state("cluster") },
      { values: kernel.values, state: state("kernel") },
      context,
    );
    for (const pair of pairs) if (pair.kernel.outcome !== undefined) pair.waits = false;
  };

  try {
    for (let step = 0; step < STEPS; step++) {
      const pair = random.of(pairs);
      const index = pairs.indexOf(pair);
      const operations = randomOperations(random, values.length);
      const shown = JSON.stringify(
        operations.map(({ index, delta, undo }) => [index, delta, undo]),
      );
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
        assertEquals(clusters, kernels, `seed ${seed}:\n${log.slice(-12).join("\n")}`);
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
  } finally {
    await Promise.all(pairs.map(({ kernel }) => kernel.kill()));
    await Promise.all(pairs.map(({ cluster }) => cluster.cluster.close()));
  }
}

for (const seed of seeds) {
  testWhere(
    missingServer,
    `Semaphores on a server do what the kernel's do over ${STEPS} random steps with deaths`,
    () => compare(seed),
  );
}
