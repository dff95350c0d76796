import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { removeOnExit, Semaphore } from "@sysv/ipc";
import { projectFile, run } from "./support/child.ts";
import { assertIpcError } from "./support/assert.ts";

/** Listeners that end the program only if nobody else listens, as libraries add them. */
const polite = {
  "signal-exit 4": `
    const emitter = globalThis[Symbol.for("signal-exit emitter")] = { count: 1 };
    const listeners = {};
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
      process.on(signal, listeners[signal] = () => {
        if (process.listeners(signal).length !== emitter.count) return;
        for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener);
        emitter.count--;
        say("cleaned");
        process.kill(process.pid, signal);
      });
    }
  `,
  "signal-exit 3, wrapped": `
    const emitter = process.__signal_exit_emitter__ = { count: 1 };
    const listeners = {};
    const answer = (signal) => {
      if (process.listeners(signal).length !== emitter.count) return;
      for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener);
      emitter.count--;
      say("cleaned");
      process.kill(process.pid, signal);
    };
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
      process.on(signal, listeners[signal] = () => answer(signal));
    }
  `,
  "one that counts the listeners": `
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
      process.on(signal, function listener() {
        if (process.listenerCount(signal) > 1) return;
        process.off(signal, listener);
        say("cleaned");
        process.kill(process.pid, signal);
      });
    }
  `,
};

const made = `
  const semaphore = Semaphore.create({ owner: false });
  removeOnExit(semaphore);
`;
const ready = `
  setInterval(() => {}, 1000);
  say(semaphore.id);
`;

for (const [name, program] of Object.entries(polite)) {
  for (const [when, text] of [["before", program + made], ["after", made + program]]) {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      test(`removeOnExit() removes on ${signal} beside ${name}, added ${when} the call`, async () => {
        await using child = run(text + ready);
        const id = Number(await child.hear());
        process.kill(child.pid, signal);
        assertEquals(await child.hear(), "cleaned");
        assertEquals(await child.exit, { code: null, signal }, child.stderr);
        assertIpcError(() => Semaphore.fromId(id), "EIDRM", "semctl");
      });
    }
  }

  test(`removeOnExit() leaves a signal to a program that listens, beside ${name}`, async () => {
    await using child = run(`
      ${program}
      ${made}
      process.on("SIGTERM", () => {
        say(semaphore.value);
        process.exit(5);
      });
      ${ready}
    `);
    const id = Number(await child.hear());
    process.kill(child.pid, "SIGTERM");
    assertEquals(await child.hear(), "0");
    assertEquals(await child.exit, { code: 5, signal: null }, child.stderr);
    assertIpcError(() => Semaphore.fromId(id), "EIDRM", "semctl");
  });
}

const copy = `
  const copy = await import("${projectFile("ipc/remove_on_exit.ts")}?copy");
  const second = Semaphore.create({ owner: false });
  copy.removeOnExit(second);
`;

test("removeOnExit() of two copies of the module removes what both know, and the signal ends all", async () => {
  await using child = run(`${made} ${copy} ${ready} say(second.id);`);
  const ids = [Number(await child.hear()), Number(await child.hear())];
  process.kill(child.pid, "SIGTERM");
  assertEquals(await child.exit, { code: null, signal: "SIGTERM" }, child.stderr);
  for (const id of ids) assertIpcError(() => Semaphore.fromId(id), "EIDRM", "semctl");
});

test("removeOnExit() throws for what has no remove() before it registers anything", () => {
  for (const wrong of [undefined, null, 5, "semaphore", {}, [Semaphore], { remove: 1 }]) {
    let error: unknown;
    try {
      removeOnExit(wrong as never);
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof TypeError, String(wrong));
  }
});
