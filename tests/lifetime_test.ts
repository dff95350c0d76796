import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore, SharedMemory } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { Child, command, type Exit, projectFile, run, runtime, told } from "./support/child.ts";
import { removing } from "./support/objects.ts";
import { until } from "./support/time.ts";
import { temporaryFolder } from "./support/folder.ts";

const create = `
  const semaphore = Semaphore.create({ owner: false });
  say(semaphore.id);
`;

interface End {
  /** What is done before the call, and what ends the program. */
  before?: string;
  program: string;
  exit: Exit;
  says?: string;
}

const ends: Record<string, End> = {
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
  "by a listener of the end that exits": {
    program: `process.exit(3);`,
    before: `process.on("exit", () => process.exit(5));`,
    exit: { code: 5, signal: null },
  },
  "by a listener of the end that throws": {
    program: `process.exit(3);`,
    before: `process.on("exit", () => { throw new Error("a reason to crash"); });`,
    exit: { code: runtime === "node" ? 3 : 1, signal: null },
    says: "a reason to crash",
  },
};
if (runtime === "deno") {
  ends["by an uncaught error in a Worker"] = {
    program: `
      new Worker("data:text/javascript,throw new Error('a reason to crash')", { type: "module" });
    `,
    exit: { code: 1, signal: null },
    says: "a reason to crash",
  };
  ends["by Deno.exit()"] = { program: "Deno.exit(6);", exit: { code: 6, signal: null } };
}

for (const [how, { before = "", program, exit, says = "" }] of Object.entries(ends)) {
  test(`removeOnExit() removes when the program ends ${how}`, async () => {
    await using child = run(
      `${create} ${before} removeOnExit(semaphore); await hear(); ${program}`,
    );
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

const echo = `
  say("ready");
  for (let line; (line = await hear()) !== undefined;) say(line);
`;

const leaving: Record<string, { before?: string; after?: string }> = {
  "by process.once()": { before: `process.once("SIGTERM", () => say("listened"));` },
  "by events.once()": {
    before: `
      const { once } = await import("node:events");
      once(process, "SIGTERM").then(() => say("listened"));
    `,
  },
  "by a listener that takes itself away": {
    before: `
      process.on("SIGTERM", function listener() {
        process.off("SIGTERM", listener);
        say("listened");
      });
    `,
  },
  "by a listener that is prepended later": {
    after: `process.prependOnceListener("SIGTERM", () => say("listened"));`,
  },
};

for (const [how, { before = "", after = "" }] of Object.entries(leaving)) {
  test(`removeOnExit() leaves the first signal to a program that listens ${how}`, async () => {
    await using child = run(`${create} ${before} removeOnExit(semaphore); ${after} ${echo}`);
    const id = Number(await child.hear());
    assertEquals(await child.hear(), "ready");
    process.kill(child.pid, "SIGTERM");
    assertEquals(await child.hear(), "listened");
    child.say("goes on");
    assertEquals(await child.hear(), "goes on");
    assertEquals(Semaphore.fromId(id).value, 0);
    assertEquals(await child.kill("SIGTERM"), { code: null, signal: "SIGTERM" });
    assertIsGone(id);
  });
}

test("removeOnExit() removes on a signal once the program listens no more", async () => {
  await using child = run(`
    ${create}
    const listener = () => say("listened");
    process.on("SIGTERM", listener);
    removeOnExit(semaphore);
    process.off("SIGTERM", listener);
    ${echo}
  `);
  const id = Number(await child.hear());
  assertEquals(await child.hear(), "ready");
  assertEquals(await child.kill("SIGTERM"), { code: null, signal: "SIGTERM" });
  assertIsGone(id);
});

const namespace = ["unshare", "--pid", "--fork", "--kill-child"];
const onlyNamespace = {
  skip: spawnSync(namespace[0]!, [...namespace.slice(1), "true"]).status === 0
    ? false
    : "this user may not have a namespace of processes",
};

test(
  "removeOnExit() ends the first process of a container on a signal",
  onlyNamespace,
  async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "init.ts");
    writeFileSync(
      file,
      `
        import { removeOnExit, Semaphore } from "${projectFile("mod.ts")}";
        const semaphore = Semaphore.create({ owner: false });
        removeOnExit(semaphore);
        setTimeout(() => {}, 10_000);
        console.log(semaphore.id);
      `,
    );
    await using child = new Child([...namespace, ...command(file)]);
    const id = Number(await child.hear());
    const init = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
    process.kill(Number(init), "SIGTERM");
    assertEquals(await child.exit, { code: 143, signal: null }, child.stderr);
    assertIsGone(id);
  },
);

test("removeOnExit() leaves a signal ignored that the program was started to ignore", async () => {
  await using child = run(`
    const { signal } = await import("${projectFile("ffi/calls.ts")}");
    const [SIGHUP, SIG_IGN] = [1, 1];
    signal(SIGHUP, SIG_IGN);
    ${create}
    removeOnExit(semaphore);
    ${echo}
  `);
  const id = Number(await child.hear());
  assertEquals(await child.hear(), "ready");
  if (runtime === "deno") {
    // It ends on SIGHUP by itself, so there is nothing to leave.
    assertEquals(await child.kill("SIGHUP"), { code: null, signal: "SIGHUP" });
  } else {
    process.kill(child.pid, "SIGHUP");
    child.say("goes on");
    assertEquals(await child.hear(), "goes on");
    assertEquals(Semaphore.fromId(id).value, 0);
    child.end();
    assertEquals(await child.exit, { code: 0, signal: null }, child.stderr);
  }
  assertIsGone(id);
});

const thrown = `setTimeout(() => { throw new Error("handled"); });`;
const rejected = `Promise.reject(new Error("handled"));`;
const handlings: Record<string, { program: string; error: string }> = {
  "uncaught errors": {
    program: `process.on("uncaughtException", (error) => say(error.message));`,
    error: thrown,
  },
  "uncaught errors by a callback": {
    program: `process.setUncaughtExceptionCaptureCallback((error) => say(error.message));`,
    error: thrown,
  },
  "unhandled rejections": {
    program: `process.on("unhandledRejection", (error) => say(error.message));`,
    error: rejected,
  },
};
if (runtime === "deno") {
  handlings["unhandled rejections by a callback"] = {
    program: `process.setUncaughtExceptionCaptureCallback((error) => say(error.message));`,
    error: rejected,
  };
  handlings["errors by preventing their default"] = {
    program: `
      addEventListener("error", (event) => {
        event.preventDefault();
        say(event.error.message);
      });
    `,
    error: thrown,
  };
  handlings["rejections by preventing their default"] = {
    program: `
      addEventListener("unhandledrejection", (event) => {
        event.preventDefault();
        say(event.reason.message);
      });
    `,
    error: rejected,
  };
  handlings["errors of Workers, which are unhandled rejections"] = {
    program: `process.on("unhandledRejection", () => say("handled"));`,
    error: `new Worker("data:text/javascript,throw new Error('gone')", { type: "module" });`,
  };
}

for (const [what, { program, error }] of Object.entries(handlings)) {
  test(`removeOnExit() leaves the objects of a program that handles its ${what}`, async () => {
    await using child = run(`
      ${create}
      ${program}
      removeOnExit(semaphore);
      ${error}
      say(await hear());
      await hear();
    `);
    const id = Number(await child.hear());
    assertEquals(await child.hear(), "handled");
    child.say("goes on");
    assertEquals(await child.hear(), "goes on");
    assertEquals(Semaphore.fromId(id).value, 0);
    assertEquals(await told(child), { code: 0, signal: null }, child.stderr);
    assertIsGone(id);
  });
}

for (const end of ["", "process.exit();"]) {
  test(`removeOnExit() removes before the listeners of the end ${end || "without exit()"}`, async () => {
    await using child = run(`
      ${create}
      const listener = () => {
        try {
          say(Semaphore.fromId(semaphore.id).value);
        } catch (error) {
          say(error.code);
        }
      };
      process.on("exit", listener);
      removeOnExit(semaphore);
      process.on("exit", listener);
      await hear();
      ${end}
    `);
    await child.hear();
    assertEquals(await told(child), { code: 0, signal: null });
    assertEquals([await child.hear(), await child.hear()], ["EIDRM", "EIDRM"]);
  });
}

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

test("removeOnExit() called off once still removes what was registered twice", async () => {
  await using child = run(`
    ${create}
    const off = removeOnExit(semaphore);
    removeOnExit(semaphore);
    off[Symbol.dispose]();
    await hear();
  `);
  const id = Number(await child.hear());
  assertEquals(await told(child), { code: 0, signal: null }, child.stderr);
  assertIsGone(id);
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

function assertIsGone(id: number): void {
  assertIpcError(() => Semaphore.fromId(id), "EIDRM", "semctl");
}
