import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import type { Gauge, Latch, Mutex, RwLock } from "@sysv/ipc/sync";
import type { Cluster, Remote } from "@sysv/ipc/cluster";
import { projectFile } from "./support/child.ts";

/** What the compiler has to refuse; this is checked, and never run. */
export async function mistakes(cluster: Cluster): Promise<void> {
  const latch = await cluster.latch("a", { count: 1 });
  const gauge = await cluster.gauge("b");
  const mutex = await cluster.mutex("c");
  // @ts-expect-error A forgotten await: a promise is always true.
  if (latch.countDown()) return;
  // @ts-expect-error A forgotten await.
  const count: number = latch.count;
  // @ts-expect-error A promise of a guard is no guard.
  using _entry = gauge.enter();
  // @ts-expect-error Nothing blocks the thread for a server.
  latch.waitSync();
  // @ts-expect-error There are no numbers of the kernel.
  void [mutex.id, count];
  // @ts-expect-error There are no processes of this machine.
  void mutex.ownerPid;
  // @ts-expect-error A mutex of the kernel has no fencing term.
  void ((guard: Awaited<ReturnType<Mutex["lock"]>>) => guard.term);
}

/** What serves both engines. */
export async function both(
  latch: Latch | Remote<Latch>,
  gauge: Gauge | Remote<Gauge>,
  mutex: Mutex | Remote<Mutex>,
  lock: RwLock | Remote<RwLock>,
): Promise<number> {
  await using _entry = await gauge.enter();
  await using guard = await mutex.lock({ timeout: 5 });
  await using reader = await lock.read();
  if (guard.lost.aborted || await latch.countDown()) return guard.abandoned;
  if (await reader.tryUpgrade()) await reader.downgrade();
  const result: number = await mutex.run((held) => held.abandoned);
  await latch.wait();
  return result + await gauge.value + await latch.count;
}

/** What is typed on a server alone. */
export async function remote(cluster: Cluster): Promise<number> {
  await using guard = await (await cluster.mutex("c")).lock();
  await using leadership = await (await cluster.leader("d")).campaign();
  const tried = await (await cluster.mutex("c")).tryLock();
  const variable = await cluster.variable<string>("e");
  const value: string | undefined = await variable.get();
  const subscription = await (await cluster.broadcast<number>("f")).subscribe();
  const { value: item, missed } = await subscription.receive();
  await guard.release();
  return guard.term + leadership.term + (tried?.term ?? 0) + (value?.length ?? 0) + item + missed;
}

test("the types of a cluster refuse mistakes and serve both engines", async () => {
  // The compiler is Deno's: each @ts-expect-error above has to be an error, and nothing else.
  await promisify(execFile)("deno", [
    "check",
    "--quiet",
    projectFile("tests/cluster_types_test.ts"),
  ], {
    cwd: projectFile("."),
  });
});
