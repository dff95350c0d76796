import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { projectFile, runtime } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";

const only = { skip: runtime === "node" ? false : "it is for Node" };
const folder = temporaryFolder().path;
const root = projectFile(".");

/** A program that waits, and says whether that has been in the kernel within so many milliseconds. */
const waitingFor = (milliseconds: number) => `
  import { Semaphore } from ${JSON.stringify(projectFile("mod.ts"))};
  const semaphore = Semaphore.create();
  const start = performance.now();
  const timer = setInterval(() => {
    const { forIncrease } = semaphore.waiting;
    if (forIncrease === 0 && performance.now() - start < ${milliseconds}) return;
    console.log(forIncrease);
    clearInterval(timer);
    semaphore.increment();
  }, 1);
  await semaphore.decrement();
  semaphore.remove();
`;
const waiting = waitingFor(30_000);

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of its own with some flags, and NODE_OPTIONS as given. */
function run(program: string, flags: readonly string[], options = ""): Promise<Outcome> {
  const file = join(folder, "program.mjs");
  writeFileSync(file, program);
  const env = { ...process.env, NODE_OPTIONS: options };
  return new Promise((resolve) => {
    execFile(process.execPath, [...flags, file], { env }, (_, stdout, stderr) => {
      resolve({ stdout, stderr });
    });
  });
}

const quiet = "--disable-warning=ExperimentalWarning";

test("Node warns once that FFI is experimental, and not when it is told so", only, async () => {
  const { stdout, stderr } = await run(waiting, []);
  assertEquals(stdout, "1\n");
  assertEquals(stderr.match(/ExperimentalWarning: FFI/g)?.length, 1, stderr);
  assertEquals(await run(waiting, [quiet]), { stdout: "1\n", stderr: "" });
  assertEquals(await run(waiting, [], quiet), { stdout: "1\n", stderr: "" });
});

test("The threads that wait load nothing that the program was started with", only, async () => {
  const hook = join(folder, "hook.mjs");
  writeFileSync(hook, `console.log("loaded");`);
  for (const name of ["--import", "--require"]) {
    const flag = `${name}=${hook}`;
    const expected = { stdout: "loaded\n1\n", stderr: "" };
    assertEquals(await run(waiting, [quiet, flag]), expected);
    assertEquals(await run(waiting, [], `${quiet} ${flag}`), expected);
  }
});

test("Under --permission the module needs the flags that the manual names", only, async () => {
  const allowing = ["--permission", quiet, `--allow-fs-read=${root}*`, `--allow-fs-read=${folder}`];
  const silent = [...allowing, "--disable-warning=SecurityWarning"];
  const refused = await run(waiting, silent);
  assertStringIncludes(
    refused.stderr,
    "Cannot call libc: the permission is missing: run with --allow-ffi",
  );
  // Without threads nothing waits in the kernel.
  const polled = await run(waitingFor(300), [...silent, "--allow-ffi"]);
  assertEquals(polled, { stdout: "0\n", stderr: "" });
  const waited = await run(waiting, [...silent, "--allow-ffi", "--allow-worker"]);
  assertEquals(waited, { stdout: "1\n", stderr: "" });
});

test(
  "A Node without node:ffi imports the module, and says so at the first call",
  only,
  async () => {
    const program = `
    import { keyOf, Semaphore } from ${JSON.stringify(projectFile("mod.ts"))};
    console.log(keyOf("gunicorn"));
    Semaphore.create();`;
    const { stdout, stderr } = await run(program, ["--no-experimental-ffi"]);
    assertMatch(stdout, /^\d+\n$/);
    assertStringIncludes(stderr, "Cannot call libc: this Node was built without node:ffi");
  },
);

test("A call that blocks goes on while Node is profiled", only, async () => {
  const program = `
    import { Semaphore } from ${JSON.stringify(projectFile("mod.ts"))};
    const semaphore = Semaphore.create();
    try {
      semaphore.decrementSync(1, { timeout: 200 });
    } catch (error) {
      console.log(error.name);
    }
    semaphore.remove();`;
  const profiled = ["--cpu-prof", "--cpu-prof-interval=100", `--cpu-prof-dir=${folder}`];
  assertEquals(await run(program, [quiet, ...profiled]), { stdout: "TimeoutError\n", stderr: "" });
});
