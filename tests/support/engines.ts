/**
 * The engines of the primitives, for tests that all of them have to pass: the kernel of this machine
 * and a server.
 *
 * @module
 */

import {
  Barrier,
  type BarrierOptions,
  Bulkhead,
  type BulkheadLimit,
  Event,
  type EventOptions,
  Gauge,
  Latch,
  type LatchOptions,
  Leader,
  Mutex,
  type MutexOptions,
  RwLock,
  type RwLockOptions,
} from "@sysv/ipc/sync";
import type { Remote } from "@sysv/ipc/cluster";
import { after } from "node:test";
// @ts-types="@types/pg"
import pg from "pg";
import { type Child, run, type Runtime } from "./child.ts";
import { freshName } from "./objects.ts";
import { testWhere } from "./peer.ts";
import { connected, missingServer, server } from "./postgres.ts";
import { type Primitive, semaphoresOf, valuesOf, waitersOf } from "./sync.ts";
import { passed } from "./time.ts";

/** How primitives are opened, whatever the engine. */
export interface Opener {
  mutex(name: string, options?: MutexOptions): Promise<Mutex | Remote<Mutex>>;
  rwlock(name: string, options?: RwLockOptions): Promise<RwLock | Remote<RwLock>>;
  latch(name: string, options: LatchOptions): Promise<Latch | Remote<Latch>>;
  event(name: string, options?: EventOptions): Promise<Event | Remote<Event>>;
  barrier(name: string, options: BarrierOptions): Promise<Barrier | Remote<Barrier>>;
  gauge(name: string): Promise<Gauge | Remote<Gauge>>;
  bulkhead(name: string, options: BulkheadLimit): Promise<Bulkhead | Remote<Bulkhead>>;
  leader(name: string): Promise<Leader | Remote<Leader>>;
}

/** Any primitive of an engine. */
export interface Handle extends Disposable {
  readonly name: string | undefined;
  remove(): void | Promise<void>;
}

/** An engine. */
export interface Engine {
  readonly name: string;
  readonly missing: string | undefined;
  /** The values of a primitive, the dead undone. */
  values(handle: Handle): Promise<readonly number[]>;
  /** How many wait for it. In the kernel, equal waits of a thread are one. */
  waiters(handle: Handle): Promise<number>;
  /** What the test itself opens; another opener is another party, where the engine knows parties apart. */
  opener(): Promise<Opener>;
  /** Text that gives a program `at`, its own opener. */
  prelude(): Promise<string>;
}

const made: { remove(): void }[] = [];

/** Remembers what is to be removed at the end. */
function keep<Made extends Primitive>(object: Made): Made {
  // Tests dispose their handles.
  made.push(semaphoresOf(object));
  return object;
}

const opensInKernel: Opener = {
  mutex: async (name, options) => keep(await Mutex.openOrCreate(name, options)),
  rwlock: async (name, options) => keep(await RwLock.openOrCreate(name, options)),
  latch: async (name, options) => keep(await Latch.openOrCreate(name, options)),
  event: async (name, options) => keep(await Event.openOrCreate(name, options)),
  barrier: async (name, options) => keep(await Barrier.openOrCreate(name, options)),
  gauge: async (name) => keep(await Gauge.openOrCreate(name)),
  bulkhead: async (name, options) => keep(await Bulkhead.openOrCreate(name, options)),
  leader: async (name) => keep(await Leader.openOrCreate(name)),
};

after(() => {
  for (const object of made) {
    try {
      object.remove();
    } catch (error) {
      // Opened twice, or removed by its test.
      if ((error as { code?: unknown }).code !== "EIDRM") throw error;
    }
  }
});

const kernel: Engine = {
  name: "in the kernel",
  missing: undefined,
  values: (handle) => Promise.resolve(valuesOf(handle as Mutex)),
  waiters: (handle) => Promise.resolve(waitersOf(handle as Mutex)),
  opener: () => Promise.resolve(opensInKernel),
  prelude: () =>
    Promise.resolve(`
      import * as sync from ${JSON.stringify(new URL("../../sync/mod.ts", import.meta.url).href)};
      const open = (name) => async (key, options) => sync[name].openOrCreate(key, options);
      const at = Object.fromEntries(["Mutex", "RwLock", "Latch", "Event", "Barrier", "Gauge", "Bulkhead", "Leader"]
        .map((name) => [name.toLowerCase(), open(name)]));
    `),
};

let admin: Promise<pg.Client> | undefined;

/** Who looks at a server and waits for nothing. */
async function ask<Row extends object>(sql: string, ...values: unknown[]): Promise<Row[]> {
  admin ??= (async () => {
    const client = new pg.Client((await server()).options as pg.ClientConfig);
    // The server may end before it.
    client.on("error", () => {});
    await client.connect();
    return client;
  })();
  return (await (await admin).query<Row>(sql, values)).rows;
}

after(async () => await (await admin)?.end());

const cluster: Engine = {
  name: "on a server",
  missing: missingServer,
  async values({ name }) {
    const sql = "SELECT ipc.read(id) AS values FROM ipc.sem WHERE name = $1";
    return (await ask<{ values: number[] }>(sql, name))[0]!.values;
  },
  async waiters({ name }) {
    // What a dead session waited for stays until somebody asks; one that lives has its advisory lock.
    const sql =
      `SELECT count(*)::int AS n FROM ipc.wait w, ipc.sem s WHERE s.name = $1 AND w.id = s.id
      AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1769235300 AND objid = w.sid::oid)`;
    return (await ask<{ n: number }>(sql, name))[0]!.n;
  },
  opener: () => connected(),
  async prelude() {
    const { options } = await server();
    return `
      import { connect } from ${
      JSON.stringify(new URL("../../cluster/mod.ts", import.meta.url).href)
    };
      const at = await connect(${JSON.stringify(options)});
    `;
  },
};

/** All engines. */
export const engines: readonly Engine[] = [kernel, cluster];

/** Waits until so many wait for a primitive, at least. */
export async function untilWaiting(engine: Engine, handle: Handle, count = 1): Promise<void> {
  await untilIs(async () => await engine.waiters(handle) >= count);
}

/** Waits until a question is answered with yes. */
export async function untilIs(ask: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !await ask(); tries++) {
    if (tries === 2000) throw new Error(`Not within 20 s: ${ask}`);
    await passed(tries < 20 ? 1 : 10);
  }
}

/** Starts a program in a process of its own that knows an engine as `at`, and `name`. */
export async function runAt(
  engine: Engine,
  name: string,
  program: string,
  runtime?: Runtime,
): Promise<Child> {
  return run((await engine.prelude()) + `const name = args[0];` + program, {
    args: [name],
    permissions: ["-A"],
    configured: true,
    ...(runtime === undefined ? {} : { runtime }),
  });
}

/** A test for all engines: it is given one, an opener, and a name of its own. */
export function testEngines(
  title: string,
  body: (at: Opener, name: string, engine: Engine) => Promise<void>,
): void {
  for (const engine of engines) {
    testWhere(engine.missing, `${title} (${engine.name})`, async () => {
      await body(await engine.opener(), freshName(), engine);
    });
  }
}
