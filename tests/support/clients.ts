/**
 * Processes that operate on the same semaphores, in the kernel or on a server, for tests that compare.
 *
 * @module
 */

import { type SemaphoreOperation, SemaphoreSet } from "@sysv/ipc";
import type { Cluster, ClusterSemaphores } from "@sysv/ipc/cluster";
// @ts-types="@types/pg"
import pg from "pg";
import { type Child, run } from "./child.ts";
import { connected, nameIn, server } from "./postgres.ts";
import { until } from "./time.ts";

/** How an operation ended. */
export type Outcome = "done" | "EAGAIN" | "ERANGE" | "aborted" | "TimeoutError";

/** One of those who operate on the same semaphores. */
export interface Client {
  attempt(operations: readonly SemaphoreOperation[]): Promise<Outcome>;
  read(): Promise<readonly number[]>;
  /** Waits, one wait at a time. */
  begin(operations: readonly SemaphoreOperation[], timeout?: number): void;
  abort(): void;
  kill(): Promise<void>;
  /** What it waited for has ended so; undefined as long as it waits. */
  outcome: Outcome | undefined;
}

/** Semaphores that clients operate on, as somebody sees them who does not. */
export interface Semaphores extends AsyncDisposable {
  client(): Promise<Client>;
  /** The values, the dead undone. */
  read(): Promise<readonly number[]>;
  /** How many of these wait. */
  waiting(clients: readonly Client[]): Promise<number>;
}

/** In the kernel: a process. In Bun, whose first wait in a thread keeps its place in the kernel's line. */
class KernelClient implements Client {
  outcome: Outcome | undefined;
  readonly child: Child;

  constructor(id: number) {
    this.child = run(
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
        } else if (verb === "read") say(set.values.join());
        else if (verb === "abort") controller.abort(new Error("aborted"));
        else {
          controller = new AbortController();
          set.operate(operations, { signal: controller.signal, timeout })
            .then(() => say("done"), (error) => say(outcomeOf(error)));
        }
      }`,
      { runtime: "bun", args: [id] },
    );
  }

  async attempt(operations: readonly SemaphoreOperation[]): Promise<Outcome> {
    this.#tell("attempt", operations);
    return await this.child.hear() as Outcome;
  }

  async read(): Promise<readonly number[]> {
    this.#tell("read");
    return (await this.child.hear()).split(",").map(Number);
  }

  begin(operations: readonly SemaphoreOperation[], timeout?: number): void {
    this.outcome = undefined;
    this.#tell("begin", operations, timeout);
    this.child.hear().then((outcome) => this.outcome = outcome as Outcome, () => {});
  }

  abort(): void {
    this.#tell("abort");
  }

  async kill(): Promise<void> {
    await this.child.kill();
  }

  #tell(verb: string, operations?: readonly SemaphoreOperation[], timeout?: number): void {
    this.child.say(JSON.stringify({ verb, operations, timeout }));
  }
}

/** Makes semaphores in the kernel. */
export function inKernel(values: readonly number[]): Promise<Semaphores> {
  const set = SemaphoreSet.create({ values: [...values] });
  const clients: KernelClient[] = [];
  const waiting = () => {
    let count = 0;
    for (let index = 0; index < set.size; index++) {
      const { forIncrease, forZero } = set.at(index).waiting;
      count += forIncrease + forZero;
    }
    return count;
  };
  return Promise.resolve({
    client() {
      clients.push(new KernelClient(set.id));
      return Promise.resolve(clients.at(-1)!);
    },
    read: () => Promise.resolve(set.values),
    waiting: () => Promise.resolve(waiting()),
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.kill()));
      set[Symbol.dispose]();
    },
  });
}

function outcomeOf(error: unknown): Outcome {
  const { code, name, message } = error as { code?: unknown; name: string; message: string };
  if (name === "TimeoutError") return "TimeoutError";
  if (message === "aborted") return "aborted";
  if (code === "ERANGE") return "ERANGE";
  throw error;
}

/** On the server: a session. */
class ClusterClient implements Client {
  outcome: Outcome | undefined;
  readonly cluster: Cluster;
  readonly #set: ClusterSemaphores;
  readonly #admin: pg.Client;
  #controller = new AbortController();

  constructor(cluster: Cluster, set: ClusterSemaphores, admin: pg.Client) {
    this.cluster = cluster;
    this.#set = set;
    this.#admin = admin;
  }

  async attempt(operations: readonly SemaphoreOperation[]): Promise<Outcome> {
    try {
      return await this.#set.tryOperate(operations) ? "done" : "EAGAIN";
    } catch (error) {
      return outcomeOf(error);
    }
  }

  async read(): Promise<readonly number[]> {
    return await this.#set.read();
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
    const { session, lost } = this.cluster;
    const ends = "SELECT pg_terminate_backend(pid, 5000) FROM ipc.session WHERE sid = $1";
    await this.#admin.query(ends, [session]);
    await until(() => lost.aborted);
  }
}

/** Makes semaphores on a server. */
export async function onServer(values: readonly number[]): Promise<Semaphores> {
  const watcher = await connected();
  const name = nameIn("semaphores");
  const set = await watcher.semaphores(name, values);
  const admin = new pg.Client({ ...(await server()).options as pg.ClientConfig });
  await admin.connect();
  const clients: ClusterClient[] = [];
  return {
    async client() {
      const cluster = await connected();
      const client = new ClusterClient(cluster, await cluster.semaphores(name, values), admin);
      clients.push(client);
      return client;
    },
    read: () => set.read(),
    async waiting(those) {
      const sids = (those as ClusterClient[]).map(({ cluster }) => cluster.session);
      const count = "SELECT count(*)::int AS n FROM ipc.wait WHERE id = $1 AND sid = ANY($2)";
      const { rows } = await admin.query<{ n: number }>(count, [set.id, sids]);
      return rows[0]!.n;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map(({ cluster }) => cluster.close()));
      await set.remove();
      await watcher.close();
      await admin.end();
    },
  };
}
