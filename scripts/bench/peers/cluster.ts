/**
 * Locks across hosts: what scripts/bench_cluster.ts has each engine do in each runtime.
 *
 * @module
 */

import { Redis } from "ioredis";
import process from "node:process";
// @ts-types="@types/pg"
import pg from "pg";
import { Mutex, Semaphore } from "redis-semaphore";
import { connect } from "../../../cluster/mod.ts";

/** A lock of one client, with so many units. */
interface Lock {
  /** Takes a unit, and returns what gives it back. */
  take(): Promise<() => Promise<unknown>>;
}

/** Makes clients that share a lock. */
type Engine = (units: number) => Promise<Lock>;

const [engine, task, rounds, postgres, redis] = process.argv.slice(2);
const server = {
  host: "127.0.0.1",
  port: Number(postgres),
  user: "postgres",
  database: "postgres",
};
const name = `bench/${engine}/${task}/${process.pid}`;

const engines: Record<string, Engine> = {
  async "cluster semaphore"(units) {
    const semaphore = await (await connect(server)).semaphore(name, { value: units });
    return {
      async take() {
        const permit = await semaphore.acquire();
        return () => permit.release();
      },
    };
  },
  async "cluster Mutex"() {
    const mutex = await (await connect(server)).mutex(name);
    return {
      async take() {
        const guard = await mutex.lock();
        return () => guard.release();
      },
    };
  },
  async "advisory lock"(units) {
    const client = new pg.Client(server);
    await client.connect();
    let next = 0;
    return {
      async take() {
        // One unit is waited for; of several the first that is free is taken, else one of them waited for.
        for (let tries = 0; tries < units && units > 1; tries++) {
          const unit = ++next % units;
          const { rows } = await client.query("SELECT pg_try_advisory_lock($1, $2) AS got", [
            7,
            unit,
          ]);
          if (rows[0].got) {
            return () => client.query("SELECT pg_advisory_unlock($1, $2)", [7, unit]);
          }
        }
        const unit = ++next % units;
        await client.query("SELECT pg_advisory_lock($1, $2)", [7, unit]);
        return () => client.query("SELECT pg_advisory_unlock($1, $2)", [7, unit]);
      },
    };
  },
  "redis-semaphore"(units) {
    const client = new Redis(Number(redis), "127.0.0.1");
    const make = () => units === 1 ? new Mutex(client, name) : new Semaphore(client, name, units);
    return Promise.resolve({
      async take() {
        const lock = make();
        await lock.acquire();
        return () => lock.release();
      },
    });
  },
};

const make = engines[engine!]!;
const count = Number(rounds);

/** Milliseconds of a round. */
const tasks: Record<string, () => Promise<number>> = {
  async pair() {
    const lock = await make(1);
    return await timed(count, async () => await (await lock.take())());
  },
  async "hand-over"() {
    const [one, other] = [await make(1), await make(1)];
    let release = await one.take();
    let turn = 0;
    return await timed(count, async () => {
      const next = (turn++ % 2 === 0 ? other : one).take();
      // It is in line.
      await new Promise((resolve) => setTimeout(resolve, 5));
      const start = performance.now();
      await Promise.all([release(), next]);
      release = await next;
      return performance.now() - start;
    });
  },
  async crowd() {
    const locks = await Promise.all(Array.from({ length: 8 }, () => make(4)));
    const start = performance.now();
    await Promise.all(locks.map(async (lock) => {
      for (let i = 0; i < count / 8; i++) await (await lock.take())();
    }));
    return (performance.now() - start) / count;
  },
};

/** The median of so many rounds, each of which may say itself how long it took. */
async function timed(count: number, round: () => Promise<number | unknown>): Promise<number> {
  for (let i = 0; i < count / 5; i++) await round();
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const said = await round();
    times.push(typeof said === "number" ? said : performance.now() - start);
  }
  return times.sort((a, b) => a - b)[count >> 1]!;
}

console.log(await tasks[task!]!());
process.exit();
