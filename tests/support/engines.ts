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
import { type Child, run, type Runtime } from "./child.ts";
import { freshName } from "./objects.ts";
import { testWhere } from "./peer.ts";
import { connected, missingServer, server } from "./postgres.ts";

/** How primitives are opened, whatever the engine. */
export interface Opener {
  mutex(name: string, options?: MutexOptions): Promise<Mutex | Remote<Mutex>>;
  rwlock(name: string, options?: RwLockOptions): Promise<RwLock | Remote<RwLock>>;
  latch(name: string, options: LatchOptions): Promise<Latch | Remote<Latch>>;
  event(name: string): Promise<Event | Remote<Event>>;
  barrier(name: string, options: BarrierOptions): Promise<Barrier | Remote<Barrier>>;
  gauge(name: string): Promise<Gauge | Remote<Gauge>>;
  bulkhead(name: string, options: BulkheadLimit): Promise<Bulkhead | Remote<Bulkhead>>;
  leader(name: string): Promise<Leader | Remote<Leader>>;
}

/** An engine. */
export interface Engine {
  readonly name: string;
  readonly missing: string | undefined;
  /** What the test itself opens; another opener is another party, where the engine knows parties apart. */
  opener(): Promise<Opener>;
  /** Text that gives a program `at`, its own opener. */
  prelude(): Promise<string>;
}

const made: { remove(): void }[] = [];

/** Remembers what is to be removed at the end. */
function keep<Made extends { remove(): void }>(object: Made): Made {
  made.push(object);
  return object;
}

const opensInKernel: Opener = {
  mutex: async (name, options) => keep(await Mutex.openOrCreate(name, options)),
  rwlock: async (name, options) => keep(await RwLock.openOrCreate(name, options)),
  latch: async (name, options) => keep(await Latch.openOrCreate(name, options)),
  event: async (name) => keep(await Event.openOrCreate(name)),
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
  opener: () => Promise.resolve(opensInKernel),
  prelude: () =>
    Promise.resolve(`
      import * as sync from ${JSON.stringify(new URL("../../sync/mod.ts", import.meta.url).href)};
      const open = (name) => async (key, options) => sync[name].openOrCreate(key, options);
      const at = Object.fromEntries(["Mutex", "RwLock", "Latch", "Event", "Barrier", "Gauge", "Bulkhead", "Leader"]
        .map((name) => [name.toLowerCase(), open(name)]));
    `),
};

const cluster: Engine = {
  name: "on a server",
  missing: missingServer,
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
