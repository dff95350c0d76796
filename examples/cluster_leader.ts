/**
 * One leader among processes of many hosts: when it is killed another one leads a moment later, and by
 * its term a store refuses the commands of former leaders.
 *
 *     PGHOST=db.example PGDATABASE=ipc deno run --allow-net --allow-env --allow-run examples/cluster_leader.ts
 *     PGHOST=db.example PGDATABASE=ipc bun examples/cluster_leader.ts
 *
 * Three candidates campaign, each with a session of its own with the PostgreSQL server that PGHOST and
 * its like name. The leader writes to a variable as a careful program writes to a store: only if no
 * later leader has written. It is killed with SIGKILL, five times.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { type Cluster, connect } from "@sysv/ipc/cluster";

const KILLS = 5;

/** What the leaders write. */
interface Written {
  readonly pid: number;
  /** The term of the leader that wrote it. */
  readonly term: number;
  readonly count: number;
}

const store = (cluster: Cluster, name: string) => cluster.variable<Written>(name);

/** Leads as soon as nobody else does, and writes until it is killed. */
async function compete(cluster: Cluster, name: string): Promise<void> {
  const leader = await cluster.leader(name);
  const written = await store(cluster, name);
  await leader.every(10, async ({ term }) => {
    await written.update((last) => {
      if (last !== undefined && last.term > term) {
        throw new Error(`Term ${term} has ended: ${last.term} writes now`);
      }
      return { pid: process.pid, term, count: (last?.count ?? 0) + 1 };
    });
  }, { immediate: true });
}

function start(name: string): ChildProcess {
  const self = import.meta.filename!;
  const permissions = ["run", "--allow-net", "--allow-env", "--allow-run"];
  const args = "Deno" in globalThis ? [...permissions, self, name] : [self, name];
  return spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
}

async function watch(cluster: Cluster, name: string): Promise<void> {
  const written = await store(cluster, name);
  const candidates = new Map<number, ChildProcess>();
  const join = () => {
    const candidate = start(name);
    candidates.set(candidate.pid!, candidate);
  };
  for (let n = 0; n < 3; n++) join();

  let { value: last, version } = await written.wait({ newerThan: 0 });
  const delays: number[] = [];
  for (let kill = 1; kill <= KILLS; kill++) {
    const { pid, term } = last;
    candidates.get(pid)!.kill("SIGKILL");
    candidates.delete(pid);
    const killed = performance.now();
    while (last.term === term) {
      ({ value: last, version } = await written.wait({ newerThan: version }));
    }
    delays.push(performance.now() - killed);
    assert(last.term > term, "a term went back");
    assert(candidates.has(last.pid));
    join();
  }
  for (const candidate of candidates.values()) candidate.kill("SIGKILL");
  delays.sort((a, b) => a - b);
  const median = delays[KILLS >> 1]!.toFixed(0);
  console.log(`${KILLS} leaders were killed, and another led after ${median} ms (median).`);
  console.log("The terms only grew, so no write of a former leader came through.");
}

const [given] = process.argv.slice(2);
const name = given ?? `my-app/leader/${crypto.randomUUID()}`;
const cluster = await connect({ label: given === undefined ? "watcher" : "candidate" });
if (given !== undefined) await compete(cluster, name);
else {
  await watch(cluster, name);
  await (await cluster.leader(name)).remove();
  await (await store(cluster, name)).remove();
  await cluster.close();
  console.log("Nothing is left on the server.");
}
