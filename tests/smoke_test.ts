import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { Semaphore } from "@sysv/ipc";
import { run } from "./child.ts";

test("Semaphore.increment() with undo is undone by the kernel when the process is killed", async () => {
  using busy = Semaphore.create();
  await using child = run(
    `
    Semaphore.fromId(Number(args[0])).increment(1, { undo: true });
    say("busy");
    await hear();
  `,
    { args: [busy.id] },
  );
  assertEquals(await child.hear(), "busy");
  assertEquals(busy.value, 1);
  await child.kill();
  assertEquals(busy.value, 0);
});
