import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { projectFile, run } from "./support/child.ts";
import { untilIn } from "./support/privilege.ts";

// Two signals at once: one thread of the runtime often handles both, and not the one that waits.

/** Calls that no descriptor ends, and the function of the kernel in which they wait. */
const calls: Record<string, { text: string; within: string }> = {
  "pollSync()": { text: `pollSync([{ fd }])`, within: "poll" },
  "pollSync() with a timeout": {
    text: `pollSync([{ fd, events: ["readable", "priority"] }, { fd }], { timeout: 1e9 })`,
    within: "poll",
  },
  "pollSync() with a file that is never ready": {
    text: `pollSync([{ fd }, { fd: file, events: "priority" }])`,
    within: "poll",
  },
  "selectSync()": { text: `selectSync({ read: [fd] })`, within: "poll" },
  "Epoll.waitSync()": { text: `epoll.waitSync()`, within: "poll" },
  "Semaphore.acquireSync()": { text: `semaphore.acquireSync()`, within: "sem" },
};

const program = (call: string) => `
  const { openSync } = await import("node:fs");
  const { Epoll, pipe, pollSync, selectSync } = await import(${
  JSON.stringify(projectFile("unix/mod.ts"))
});
  using semaphore = Semaphore.create();
  const { reader: { fd }, writer } = pipe();
  const file = openSync(${JSON.stringify(projectFile("deno.json"))});
  const epoll = new Epoll();
  epoll.add(fd);
  let heard = 0;
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => heard++);
  for (let round = 1; await hear() === "go"; round++) {
    say("waiting");
    try {
      ${call};
      say("ended");
    } catch (error) {
      say(error.code ?? String(error));
    }
    while (heard < 2 * round) await new Promise((resolve) => setTimeout(resolve, 1));
  }
`;

for (const [name, { text, within }] of Object.entries(calls)) {
  test(`${name} ends with EINTR when two signals arrive at once`, async () => {
    await using child = run(program(text), { permissions: ["-A"] });
    for (let round = 0; round < 20; round++) {
      child.say("go");
      assertEquals(await child.hear(), "waiting");
      await untilIn(child.pid, within);
      process.kill(child.pid, "SIGINT");
      process.kill(child.pid, "SIGTERM");
      assertEquals(await child.hear(), "EINTR");
    }
    child.say("end");
    assertEquals(await child.exit, { code: 0, signal: null });
  });
}
