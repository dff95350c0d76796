import { assert, assertEquals, assertMatch } from "@std/assert";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";
import { keyOf } from "@sysv/ipc";
import { runtime } from "./support/child.ts";
import { oldNode } from "./support/old_nodes.ts";
import { filesOf, packageProject } from "./support/package.ts";
import { temporaryFolder } from "./support/folder.ts";

const execute = promisify(execFile);
const only = { skip: runtime === "node" ? false : "it is for Node" };

let made: Promise<string> | undefined;
/** The project that has the package, made once. */
const project = () => made ??= packageProject();

/** Writes a program in the project and runs it; returns what it prints. */
async function run(name: string, program: string, command = [process.execPath]): Promise<string> {
  const cwd = await project();
  writeFileSync(join(cwd, name), program);
  const [path, ...args] = [...command, name];
  const { stdout, stderr } = await execute(path!, args, { cwd });
  assertEquals(stderr, "");
  return stdout;
}

/** Holds something, waits in the kernel, and is let go on. */
const waiting = `
  const semaphore = Semaphore.create();
  const waiting = semaphore.decrement();
  const timer = setInterval(() => {
    if (semaphore.waiting.forIncrease === 1) semaphore.increment();
  }, 1);
  waiting.then(() => {
    clearInterval(timer);
    semaphore.remove();
    console.log("waited");
  });
`;

test("The package for npm is JavaScript beside declarations", only, async () => {
  const files = filesOf(await project());
  for (const module of ["mod", "sync/mod", "shared/mod", "unix/mod", "cluster/mod", "ffi/node"]) {
    assert(files.includes(`${module}.js`) && files.includes(`${module}.d.ts`), module);
  }
  assertEquals(files.filter((name) => /(?<!\.d)\.ts$/.test(name)), []);
});

test("The package is imported, by all its names", only, async () => {
  const program = `
    import { Semaphore } from "@sysv/ipc";
    import { Mutex } from "@sysv/ipc/sync";
    import { Channel, text } from "@sysv/ipc/shared";
    import { pipe } from "@sysv/ipc/unix";
    import { list } from "@sysv/ipc/inventory";
    import { semget } from "@sysv/ipc/libc";
    import { connect } from "@sysv/ipc/cluster";
    console.log([Mutex, Channel, text, pipe, list, semget, connect].every(Boolean));
    ${waiting}`;
  assertEquals(await run("imports.js", program), "true\nwaited\n");
});

test("The package is required", only, async () => {
  const program = `const { Semaphore } = require("@sysv/ipc"); ${waiting}`;
  assertEquals(await run("requires.cjs", program), "waited\n");
});

test("The package works in a Worker", only, async () => {
  const worker = `import { Semaphore } from "@sysv/ipc"; ${waiting}`;
  writeFileSync(join(await project(), "worker.js"), worker);
  const program = `
    import { Worker } from "node:worker_threads";
    new Worker(new URL("worker.js", import.meta.url));`;
  assertEquals(await run("workers.js", program), "waited\n");
});

test("The package works in TypeScript that Node strips, and in tsx", only, async () => {
  const program = `
    import { Semaphore, type SemaphoreOptions } from "@sysv/ipc";
    const options: SemaphoreOptions = { value: 0 };
    console.log(Semaphore.name, options.value);
    ${waiting}`;
  const expected = "Semaphore 0\nwaited\n";
  assertEquals(await run("stripped.ts", program), expected);
  const tsx = join(await project(), "node_modules/.bin/tsx");
  assertEquals(await run("by_tsx.ts", program, [tsx]), expected);
});

test("The declarations of the package pass TypeScript at its strictest", only, async () => {
  const cwd = await project();
  const program = `
    import { IpcError, Semaphore } from "@sysv/ipc";
    import { Mutex } from "@sysv/ipc/sync";
    import { Channel, json } from "@sysv/ipc/shared";
    import type { Cluster } from "@sysv/ipc/cluster";
    const semaphore: Semaphore = Semaphore.openOrCreate("x", { value: 1 });
    export const held: Promise<number> = semaphore.acquire(1, { timeout: 1 }).then(() => semaphore.value);
    // @ts-expect-error: a mutex has no such member
    export const none = Mutex.create().value;
    export const channel: Channel<{ n: number }> = Channel.create({ codec: json<{ n: number }>() });
    export const code = (error: unknown) => error instanceof IpcError ? error.code : undefined;
    export type Given = Cluster;`;
  writeFileSync(join(cwd, "strict.ts"), program);
  // As tsc --init has it, and pg needs it.
  const options = ["--noEmit", "--skipLibCheck", "--strict", "--exactOptionalPropertyTypes"];
  const more = [
    "--noUncheckedIndexedAccess",
    "--module",
    "NodeNext",
    "--types",
    "node",
    "strict.ts",
  ];
  const { stdout } = await execute(join(cwd, "node_modules/.bin/tsc"), [...options, ...more], {
    cwd,
  })
    .catch((error: { stdout: string }) => error);
  assertEquals(stdout, "");
});

/** The Node without node:ffi of this machine, if there is one; a soak fetches some. */
async function oldNodes(): Promise<string[]> {
  const found = oldNode();
  const here = found === undefined ? [] : [found];
  if (process.env.IPC_TEST_SOAK !== "1") return here;
  const { path: cwd } = temporaryFolder();
  for (const version of ["20", "22", "24"]) {
    const name = `${process.platform}-${process.arch}`;
    const alias = `node${version}@npm:node-${name}@${version}`;
    await execute("npm", ["install", "--no-audit", "--no-fund", alias], { cwd });
    here.push(join(cwd, "node_modules", `node${version}`, "bin/node"));
  }
  return here;
}

test("Older Nodes import the package, and say at its first use what they lack", only, async () => {
  const program = `
    import { keyOf, Semaphore } from "@sysv/ipc";
    console.log(keyOf("gunicorn"));
    try {
      Semaphore.create();
    } catch (error) {
      console.log(error.message);
    }`;
  for (const node of await oldNodes()) {
    const [key, message] = (await run("old.js", program, [node])).split("\n");
    assertEquals(key, String(keyOf("gunicorn")));
    assertMatch(message!, /^Cannot call libc in Node [\d.]+: run with .* Node 26\.9\.0, or newer$/);
  }
});
