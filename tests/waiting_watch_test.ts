import { assertEquals } from "@std/assert";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { MessageQueue, Semaphore, SharedMemory } from "@sysv/ipc";
import { Child, command, projectFile } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";
import { becomes, until } from "./support/time.ts";

test("Nothing of an earlier life waits, holds or is attached when deno run --watch starts a program again", async () => {
  using busy = Semaphore.create({ value: 3 });
  using wanted = Semaphore.create();
  using queue = MessageQueue.create();
  using memory = SharedMemory.create({ size: 1 });
  using folder = temporaryFolder();
  const file = join(folder.path, "watched.ts");
  const program = `
    import { MessageQueue, prepare, Semaphore, SharedMemory } from ${
    JSON.stringify(projectFile("mod.ts"))
  };
    await prepare(2);
    const busy = Semaphore.fromId(${busy.id});
    busy.acquireSync(2);
    void SharedMemory.fromId(${memory.id});
    Semaphore.fromId(${wanted.id}).decrement().then(() => console.log("decremented"));
    MessageQueue.fromId(${queue.id}).receive().then((message) => console.log(message.text()));
    console.log("waits");
    setInterval(() => {}, 1000);`;
  writeFileSync(file, program);
  await using child = new Child(command(file, "deno", ["--allow-ffi", "--watch"]));
  assertEquals(await child.hear(), "waits");
  for (let life = 1; life <= 2; life++) {
    await until(() => wanted.waiting.forIncrease === 1);
    // A change is missed while nobody watches yet.
    let changes = 0;
    const change = () => writeFileSync(file, `${program}\n// ${changes++}\n`);
    change();
    const timer = setInterval(change, 1000);
    assertEquals(await child.hear(), "waits");
    clearInterval(timer);
    assertEquals(busy.value, 1);
    assertEquals(memory.stat().attachments, 2);
    await until(() => wanted.waiting.forIncrease === 1);
    assertEquals(await becomes(() => wanted.waiting.forIncrease > 1), false);
  }
  // What comes now is for the life that is there.
  wanted.increment();
  assertEquals(await child.hear(), "decremented");
  queue.trySend("received");
  assertEquals(await child.hear(), "received");
  await child.kill();
});
