import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import process from "node:process";
import { MessageQueue, Semaphore, SharedMemory } from "@sysv/ipc";
import { type Child, type Exit, run, runtime, until } from "./child.ts";
import { assertIpcError, removing } from "./support.ts";

const create = `
  const semaphore = Semaphore.create({ owner: false });
  say(semaphore.id);
`;

const ends: Record<string, { program: string; exit: Exit; says?: string }> = {
  "normally": { program: "", exit: { code: 0, signal: null } },
  "by process.exit()": { program: "process.exit(3);", exit: { code: 3, signal: null } },
  "with an exit code": { program: "process.exitCode = 4;", exit: { code: 4, signal: null } },
  "by an uncaught error": {
    program: `throw new Error("a reason to crash");`,
    exit: { code: 1, signal: null },
    says: "a reason to crash",
  },
  "by an uncaught error in a callback": {
    program: `setTimeout(() => { throw new Error("a reason to crash"); });`,
    exit: { code: 1, signal: null },
    says: "a reason to crash",
  },
  "by a rejected promise": {
    program: `Promise.reject(new Error("a reason to crash"));`,
    exit: { code: 1, signal: null },
    says: "a reason to crash",
  },
};
if (runtime === "deno") {
  ends["by Deno.exit()"] = { program: "Deno.exit(6);", exit: { code: 6, signal: null } };
}

for (const [how, { program, exit, says = "" }] of Object.entries(ends)) {
  test(`removeOnExit() removes when the program ends ${how}`, async () => {
    await using child = run(`${create} removeOnExit(semaphore); await hear(); ${program}`);
    const id = Number(await child.hear());
    assertEquals(Semaphore.fromId(id).value, 0);
    assertEquals(await told(child), exit);
    assertIsGone(id);
    assertStringIncludes(child.stderr, says);
  });
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  test(`removeOnExit() removes on ${signal}, which then ends the program`, async () => {
    await using child = run(`
      ${create}
      removeOnExit(semaphore);
      say("ready");
      await hear();
    `);
    const id = Number(await child.hear());
    assertEquals(await child.hear(), "ready");
    assertEquals(await child.kill(signal), { code: null, signal });
    assertIsGone(id);
  });

  test(`removeOnExit() leaves it to a program that listens to ${signal}`, async () => {
    await using child = run(`
      ${create}
      process.on("${signal}", () => say("listened"));
      removeOnExit(semaphore);
      say("ready");
      await hear();
      process.exit(7);
    `);
    const id = Number(await child.hear());
    assertEquals(await child.hear(), "ready");
    process.kill(child.pid, signal);
    assertEquals(await child.hear(), "listened");
    assertEquals(Semaphore.fromId(id).value, 0);
    assertEquals(await told(child), { code: 7, signal: null });
    assertIsGone(id);
  });
}

test("removeOnExit() leaves it to a program that listens only after the call", async () => {
  await using child = run(`
    ${create}
    removeOnExit(semaphore);
    process.on("SIGTERM", () => say("listened"));
    say("ready");
    await hear();
  `);
  const id = Number(await child.hear());
  assertEquals(await child.hear(), "ready");
  process.kill(child.pid, "SIGTERM");
  assertEquals(await child.hear(), "listened");
  assertEquals(Semaphore.fromId(id).value, 0);
  await told(child);
  assertIsGone(id);
});

test("removeOnExit() leaves the objects of a program that handles its uncaught errors", async () => {
  await using child = run(`
    ${create}
    removeOnExit(semaphore);
    process.on("uncaughtException", (error) => say(error.message));
    setTimeout(() => { throw new Error("handled"); });
    await hear();
  `);
  const id = Number(await child.hear());
  assertEquals(await child.hear(), "handled");
  assertEquals(Semaphore.fromId(id).value, 0);
  assertEquals((await told(child)).code, 0, child.stderr);
  assertIsGone(id);
});

test("removeOnExit() removes when a signal ends a wait that blocks the thread", async () => {
  await using child = run(`
    ${create}
    removeOnExit(semaphore);
    semaphore.decrementSync();
  `);
  const id = Number(await child.hear());
  using semaphore = Semaphore.fromId(id);
  await until(() => semaphore.waiting.forIncrease === 1);
  const { code, signal } = await child.kill("SIGTERM");
  assert(code === 1 || signal === "SIGTERM", `${code} ${signal} ${child.stderr}`);
  assertIsGone(id);
});

test("removeOnExit() removes objects of every kind, of several calls", async () => {
  await using child = run(`
    const objects = [
      Semaphore.create({ owner: false }),
      SemaphoreSet.create({ values: [1, 2], owner: false }),
      MessageQueue.create({ owner: false }),
      SharedMemory.create({ size: 1, owner: false }),
    ];
    const [semaphore, ...others] = objects;
    removeOnExit(semaphore);
    removeOnExit(...others);
    for (const { id } of objects) say(id);
    await hear();
  `);
  const ids: number[] = [];
  for (let i = 0; i < 4; i++) ids.push(Number(await child.hear()));
  assertEquals((await told(child)).code, 0, child.stderr);
  const [semaphore, set, queue, memory] = ids;
  assertIsGone(semaphore!);
  assertIsGone(set!);
  assertIpcError(() => MessageQueue.fromId(queue!), "EIDRM", "msgctl");
  assertIpcError(() => SharedMemory.fromId(memory!), "EIDRM", "shmctl");
});

test("removeOnExit() removes the others when one cannot be removed", async () => {
  using gone = Semaphore.create();
  await using child = run(
    `
    const gone = Semaphore.fromId(Number(args[0]));
    ${create}
    removeOnExit(gone, semaphore);
    await hear();
  `,
    { args: [gone.id] },
  );
  const id = Number(await child.hear());
  gone.remove();
  assertEquals(await told(child), { code: 0, signal: null }, child.stderr);
  assertEquals(child.stderr, "");
  assertIsGone(id);
});

test("removeOnExit() is called off by disposing what it gives", async () => {
  await using child = run(`
    ${create}
    const off = removeOnExit(semaphore);
    off[Symbol.dispose]();
    off[Symbol.dispose]();
    await hear();
  `);
  const id = Number(await child.hear());
  using left = Semaphore.fromId(id);
  using _ = removing(left);
  assertEquals(await told(child), { code: 0, signal: null }, child.stderr);
  assertEquals(left.value, 0);
});

test("removeOnExit() called off for some still removes the others", async () => {
  await using child = run(`
    ${create}
    const other = Semaphore.create({ owner: false });
    say(other.id);
    removeOnExit(other);
    { using _off = removeOnExit(semaphore); }
    await hear();
  `);
  using left = Semaphore.fromId(Number(await child.hear()));
  using _ = removing(left);
  const other = Number(await child.hear());
  await told(child);
  assertEquals(left.value, 0);
  assertIsGone(other);
});

test("removeOnExit() leaves alone what is disposed by then", async () => {
  using semaphore = Semaphore.create({ value: 3 });
  await using child = run(
    `
    {
      using opened = Semaphore.fromId(Number(args[0]));
      removeOnExit(opened);
    }
    {
      using owned = Semaphore.create();
      removeOnExit(owned);
    }
    say("ready");
    await hear();
  `,
    { args: [semaphore.id] },
  );
  assertEquals(await child.hear(), "ready");
  assertEquals(await told(child), { code: 0, signal: null });
  assertEquals([child.stderr, semaphore.value], ["", 3]);
});

test("removeOnExit() removes what the program does not own, if it is told to", async () => {
  using semaphore = Semaphore.create();
  await using child = run(
    `removeOnExit(Semaphore.fromId(Number(args[0]))); say("ready"); await hear();`,
    { args: [semaphore.id] },
  );
  assertEquals(await child.hear(), "ready");
  await told(child);
  assertIsGone(semaphore.id);
});

test("removeOnExit() removes nothing on SIGKILL", async () => {
  await using child = run(`${create} removeOnExit(semaphore); say("ready"); await hear();`);
  using left = Semaphore.fromId(Number(await child.hear()));
  using _ = removing(left);
  assertEquals(await child.hear(), "ready");
  await child.kill();
  assertEquals(left.value, 0);
});

test("removeOnExit() does not keep the program alive", async () => {
  await using child = run(`${create} removeOnExit(semaphore);`);
  const id = Number(await child.hear());
  child.end();
  assertEquals(await child.exit, { code: 0, signal: null });
  assertIsGone(id);
});

/** Tells a child to go on to its end, and waits for it. */
async function told(child: Child): Promise<Exit> {
  child.say("end");
  child.end();
  return await child.exit;
}

function assertIsGone(id: number): void {
  assertIpcError(() => Semaphore.fromId(id), "EIDRM", "semctl");
}
