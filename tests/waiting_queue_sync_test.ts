import { assert, assertEquals, assertRejects } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { MessageQueue } from "@sysv/ipc";
import { assertTimeout } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { create, fill } from "./support/queue_waits.ts";
import { until } from "./support/time.ts";

/** Waits until the main thread of a process waits in a call. */
async function untilBlocked(pid: number, call: "msgrcv" | "msgsnd"): Promise<void> {
  await until(() => readFileSync(`/proc/${pid}/wchan`, "utf8").startsWith(`do_${call}`));
}

// The Sync forms with a timeout, which the kernel does not know for queues.

const syncForms: Record<string, {
  block(queue: MessageQueue): void;
  unblock(queue: MessageQueue): void;
  wait(queue: MessageQueue, timeout: number): unknown;
  /** The same in a program, its first arguments, and what it says of the result. */
  inChild: string;
  given: string;
  result: string;
  call: "msgrcv" | "msgsnd";
}> = {
  "MessageQueue.receiveSync()": {
    block() {},
    unblock: (queue) => assert(queue.trySend("hello")),
    wait: (queue, timeout) => queue.receiveSync({ timeout }),
    inChild: "receiveSync",
    given: "",
    result: `"hello"`,
    call: "msgrcv",
  },
  "MessageQueue.receiveIntoSync()": {
    block() {},
    unblock: (queue) => assert(queue.trySend("hello")),
    wait: (queue, timeout) => queue.receiveIntoSync(new Uint8Array(5), { timeout }),
    inChild: "receiveIntoSync",
    given: "new Uint8Array(5), ",
    result: `{"length":5,"type":1}`,
    call: "msgrcv",
  },
  "MessageQueue.sendSync()": {
    block: fill,
    unblock: (queue) => assert(queue.tryReceive()),
    wait: (queue, timeout) => queue.sendSync("hello", { timeout }),
    inChild: "sendSync",
    given: `"hello", `,
    result: `"sent"`,
    call: "msgsnd",
  },
};

for (const [name, form] of Object.entries(syncForms)) {
  const { block, unblock, wait, inChild, given, result, call } = form;
  test(`${name} gives up when the time is up, not earlier, with nothing changed`, () => {
    using queue = create();
    block(queue);
    const { messages } = queue.stat();
    for (const timeout of [0, 0.01, 1, 20.5]) {
      const start = performance.now();
      assertTimeout(() => wait(queue, timeout));
      assert(performance.now() - start >= timeout);
      assertEquals(queue.stat().messages, messages);
    }
    unblock(queue);
    wait(queue, 0);
    assertEquals(queue.stat().messages, 1 - messages > 0 && call === "msgrcv" ? 0 : 1);
  });

  test(`${name} refuses wrong timeouts before it changes anything`, async () => {
    using queue = create();
    block(queue);
    unblock(queue);
    const { messages } = queue.stat();
    for (const timeout of [-1, NaN, -Infinity]) {
      await assertRejects(() => Promise.resolve().then(() => wait(queue, timeout)), RangeError);
    }
    assertEquals(queue.stat().messages, messages);
  });

  test(`${name} with any timeout goes on when another process makes it possible, and ends with EIDRM when it removes the queue`, async () => {
    await using child = run(`
      for (;;) {
        const [id, timeout] = (await hear()).split(" ");
        const queue = MessageQueue.fromId(Number(id));
        try {
          const result = queue.${inChild}(${given}{ timeout: Number(timeout) });
          say(JSON.stringify(result?.text?.() ?? result ?? "sent"));
        } catch (error) {
          say(error.code + " " + error.syscall);
        }
      }
    `);
    for (const timeout of [Infinity, 1e12, 2 ** 31, 2 ** 32, 60_000]) {
      using queue = create();
      block(queue);
      child.say(`${queue.id} ${timeout}`);
      await untilBlocked(child.pid, call);
      unblock(queue);
      assertEquals(await child.hear(), result);
      while (queue.tryReceive());
      block(queue);
      child.say(`${queue.id} ${timeout}`);
      await untilBlocked(child.pid, call);
      queue.remove();
      assertEquals(await child.hear(), `EIDRM ${call}`);
    }
  });
}

test("A timeout of a Sync call leaves one timer and one handler behind", async () => {
  await using child = run(
    `
    const { readFileSync } = await import("node:fs");
    const handled = () => {
      const [, mask] = readFileSync("/proc/self/status", "utf8").match(/^SigCgt:\\s*(\\w+)$/m);
      return (BigInt("0x" + mask) >> 22n & 1n) === 1n;
    };
    const timers = () => readFileSync("/proc/self/timers", "utf8").match(/^ID:/mg)?.length ?? 0;
    using queue = MessageQueue.create();
    const before = timers();
    for (let i = 0; i < 5; i++) {
      try { queue.receiveSync({ timeout: 2 }); } catch { say(handled() + " " + (timers() - before)); }
    }
  `,
    { permissions: ["-A"] },
  );
  for (let i = 0; i < 5; i++) assertEquals(await child.hear(), "true 1");
  child.end();
  assertEquals(await child.exit, { code: 0, signal: null });
});
