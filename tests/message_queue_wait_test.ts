import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue } from "@sysv/ipc";
import { ending, otherRuntime, run, runtimes } from "./support/child.ts";
import { removing } from "./support/objects.ts";
import { untilIn } from "./support/privilege.ts";
import { drain } from "./support/queues.ts";
import { passed, until } from "./support/time.ts";

for (const runtime of runtimes) {
  test(`MessageQueue.receiveSync() waits for a message of its type, in a process of ${runtime}`, async () => {
    using queue = MessageQueue.create();
    await using child = run(
      `
      const { type, bytes } = MessageQueue.fromId(Number(args[0])).receiveSync({ type: 2 });
      say(type + " " + bytes.join());
    `,
      { runtime, args: [queue.id] },
    );
    await untilIn(child.pid, "msgrcv");
    queue.sendSync("not this", { type: 1 });
    queue.sendSync(Uint8Array.of(7, 0, 255), { type: 2 });
    assertEquals(await child.hear(), "2 7,0,255");
    assertEquals(queue.stat().lastReceivePid, child.pid);
    assertEquals(drain(queue), ["1:not this"]);
  });
}

test("MessageQueue.sendSync() waits for room", async () => {
  using queue = MessageQueue.create({ maxBytes: 10 });
  queue.sendSync("full is it");
  await using child = run(
    `
    MessageQueue.fromId(Number(args[0])).sendSync("more");
    say("sent");
  `,
    { runtime: otherRuntime, args: [queue.id] },
  );
  await untilIn(child.pid, "msgsnd");
  assertEquals(queue.stat().messages, 1);
  assertEquals(queue.receiveSync().text(), "full is it");
  assertEquals(await child.hear(), "sent");
  assertEquals(queue.receiveSync().text(), "more");
});

test("MessageQueue.sendSync() goes on when the limit is raised", async () => {
  using queue = MessageQueue.create({ maxBytes: 10 });
  queue.trySend("full is it");
  await using child = run(
    `
    MessageQueue.fromId(Number(args[0])).sendSync("more");
    say("sent");
  `,
    { args: [queue.id] },
  );
  await untilIn(child.pid, "msgsnd");
  queue.setPermissions({ maxBytes: 100 });
  assertEquals(await child.hear(), "sent");
  assertEquals(queue.receiveSync().text(), "full is it");
  assertEquals(queue.receiveSync().text(), "more");
});

const waits = {
  "receiveSync()": ["queue.receiveSync()", "msgrcv"],
  "receiveIntoSync()": ["queue.receiveIntoSync(new Uint8Array(9))", "msgrcv"],
  "sendSync()": ['queue.sendSync("x")', "msgsnd"],
} as const;

for (const [name, [operation, syscall]] of Object.entries(waits)) {
  const program = `
    const queue = MessageQueue.fromId(Number(args[0]));
    process.on("SIGHUP", () => {});
    try {
      ${operation};
      say("done");
    } catch (error) {
      say([error instanceof IpcError, error.code, error.syscall, error.id].join(" "));
    }
    process.exit();
  `;

  test(`MessageQueue.${name} ends with EIDRM when the queue is removed`, async () => {
    const queue = MessageQueue.create({ maxBytes: 0 });
    using _ = removing(queue);
    await using child = run(program, { args: [queue.id] });
    await untilIn(child.pid, syscall);
    queue.remove();
    assertEquals(await child.hear(), `true EIDRM ${syscall} ${queue.id}`);
  });

  test(`MessageQueue.${name} ends with EINTR when the program handles a signal`, async () => {
    using queue = MessageQueue.create({ maxBytes: 0 });
    await using child = run(program, { args: [queue.id] });
    await untilIn(child.pid, syscall);
    const heard = child.hear();
    let line: string | void = undefined;
    while (line === undefined) {
      process.kill(child.pid, "SIGHUP");
      // Another thread of the runtime may take one; the next ends the call: see docs/waiting.md.
      line = await Promise.race([heard, passed(500)]);
    }
    assertEquals(line, `true EINTR ${syscall} ${queue.id}`);
  });
}

test("MessageQueue.receiveIntoSync() that waits fails when too long a message comes, which stays", async () => {
  using queue = MessageQueue.create();
  await using child = run(
    `
    const queue = MessageQueue.fromId(Number(args[0]));
    try {
      queue.receiveIntoSync(new Uint8Array(3));
    } catch (error) {
      say(error.code);
    }
  `,
    { args: [queue.id] },
  );
  await untilIn(child.pid, "msgrcv");
  queue.sendSync("12345");
  assertEquals(await child.hear(), "E2BIG");
  assertEquals(queue.receiveSync().text(), "12345");
});

test("MessageQueue gives each message to one receiver, whole, between processes of all runtimes", async () => {
  using queue = MessageQueue.create();
  const program = `
    const queue = MessageQueue.fromId(Number(args[0]));
    const seen = [];
    for (;;) {
      const { type, bytes } = queue.receiveSync({ type: { atMost: 2 } });
      if (type === 2) break;
      const number = bytes[0] * 256 + bytes[1];
      seen.push(bytes.length === 2 + number && bytes.subarray(2).every((byte) => byte === bytes[1]) ? number : -1);
    }
    say(seen.join());
  `;
  const children = runtimes.map((runtime) => run(program, { runtime, args: [queue.id] }));
  await using _ = ending(...children);
  const numbers = Array.from({ length: 600 }, (_, index) => index);
  for (const number of numbers) {
    const message = new Uint8Array(2 + number).fill(number % 256, 2);
    message.set([number >> 8, number % 256]);
    queue.sendSync(message);
  }
  await until(() => queue.stat().messages === 0);
  for (const _ of children) queue.sendSync("", { type: 2 });
  const lines = await Promise.all(children.map((child) => child.hear()));
  const seen = lines.flatMap((line) => line === "" ? [] : line.split(",").map(Number));
  assertEquals(seen.sort((a, b) => a - b), numbers);
});
