import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { WorkQueue } from "@sysv/ipc/shared";
import { run, runtimes } from "./support/child.ts";
import { passed, until } from "./support/time.ts";

const shared = JSON.stringify(new URL("../shared/mod.ts", import.meta.url).href);
const LOCK = 32;
const GATE = 33;
const WAKE = 1 << 30;

for (const runtime of runtimes) {
  for (
    const [what, end, left] of [
      ["done", "job.done();", [0, 0]],
      ["released", "job.release();", [1, 0]],
      ["given back with its handle", "queue[Symbol.dispose]();", [1, 0]],
    ] as const
  ) {
    test(`A job in ${runtime} is ${what} though signals come while another process has the lock`, async () => {
      using queue = WorkQueue.create<string>();
      queue.sendSync("job");
      await using child = run(
        `
        import { WorkQueue } from ${shared};
        process.on("SIGUSR1", () => {});
        const queue = WorkQueue.fromId(Number(args[0]));
        const job = queue.receiveSync();
        say("received");
        await hear();
        ${end}
        say("ended");
        await hear();
      `,
        { args: [queue.id], runtime },
      );
      assertEquals(await child.hear(), "received");
      using memory = SharedMemory.fromId(queue.id);
      const words = new Int32Array(memory.buffer);
      using set = SemaphoreSet.fromId(words[4]!, { kind: "members" });
      // As if a process that lives had the lock: this one, whose place was taken first.
      const places = set.values.slice(2, 2 + queue.places);
      const held = words[160]! - 256;
      Atomics.store(words, LOCK, places.findIndex((alive, i) => alive === 1 && i + 1 !== held) + 1);
      child.say("end");
      await until(() => Atomics.load(words, GATE) !== 0);
      for (let i = 0; i < 20; i++) {
        process.kill(child.pid, "SIGUSR1");
        await passed(5);
      }
      assertEquals(queue.claimed, 1);
      // Who unlocks wakes the child.
      Atomics.store(words, LOCK, WAKE);
      queue.trySend("next");
      assertEquals(await child.hear(), "ended");
      assertEquals([queue.waiting, queue.claimed], [left[0] + 1, left[1]]);
    });
  }
}
