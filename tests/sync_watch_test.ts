import { assertEquals } from "@std/assert";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Barrier, Bulkhead, Gauge, Leader, Mutex, RwLock } from "@sysv/ipc/sync";
import { Child, command, projectFile } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";
import { freshName, removing } from "./support/objects.ts";

/** Waits for a line, and changes a file until it comes: a change is missed while nobody watches yet. */
async function hearAgain(child: Child, file: string, text: string): Promise<string> {
  let changes = 0;
  const change = () => writeFileSync(file, `${text}\n// ${changes++}\n`);
  change();
  const timer = setInterval(change, 1000);
  try {
    return await child.hear();
  } finally {
    clearInterval(timer);
  }
}

test("What a program holds is undone when deno run --watch starts it again in the same process", async () => {
  const name = freshName();
  using folder = temporaryFolder();
  const file = join(folder.path, "watched.ts");
  const program = `
    import { Barrier, Bulkhead, Gauge, Leader, Mutex, RwLock } from ${
    JSON.stringify(projectFile("sync/mod.ts"))
  };
    const name = ${JSON.stringify(name)};
    const gauge = Gauge.openOrCreate(name + " gauge");
    const mutex = Mutex.openOrCreate(name + " mutex");
    const lock = RwLock.openOrCreate(name + " lock");
    const leader = Leader.openOrCreate(name + " leader");
    const bulkhead = Bulkhead.openOrCreate(name + " bulkhead", { tickets: 1 });
    const found = [gauge.value, lock.state().readers, bulkhead.state().inUse, bulkhead.state().workers];
    gauge.enter(2);
    lock.readSync();
    bulkhead.register();
    found.push(bulkhead.tryAcquire() !== undefined);
    for (const onDeath of ["shrink", "break"]) {
      const barrier = Barrier.openOrCreate(name + onDeath, { parties: 2, onDeath });
      found.push(barrier.isBroken);
      if (!barrier.isBroken) barrier.join();
    }
    found.push(mutex.tryLock()?.abandoned, leader.tryCampaign()?.term);
    console.log(JSON.stringify(found));
    setInterval(() => {}, 1000);`;
  writeFileSync(file, program);
  const objects = [Gauge, Mutex, RwLock, Leader];
  await using child = new Child([
    ...command(file, "deno", ["--allow-ffi", "--watch"]),
  ]);
  assertEquals(JSON.parse(await child.hear()), [0, 0, 0, 0, true, false, false, 0, 1]);
  const [gauge, mutex, lock, leader] = ["gauge", "mutex", "lock", "leader"].map((kind, i) =>
    objects[i]!.open(`${name} ${kind}`)
  );
  const bulkhead = Bulkhead.open(`${name} bulkhead`);
  using _gauge = removing(gauge!);
  using _mutex = removing(mutex!);
  using _lock = removing(lock!);
  using _leader = removing(leader!);
  using _bulkhead = removing(bulkhead);
  using shrinks = Barrier.open(name + "shrink", { onDeath: "shrink" });
  using _shrinks = removing(shrinks);
  using breaks = Barrier.open(name + "break");
  using _breaks = removing(breaks);
  assertEquals(breaks.isBroken, false);
  for (let time = 1; time <= 2; time++) {
    const found = JSON.parse(await hearAgain(child, file, program));
    // A mutex is told of its holder that ended, and a barrier breaks, as after a death.
    assertEquals(found, [0, 0, 0, 0, true, false, true, time, 1 + time]);
  }
  await child.kill();
});
