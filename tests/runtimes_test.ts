import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { abi } from "../ffi/platforms.ts";
import { backend, backends } from "../ffi/load.ts";
import { isOlder } from "../ffi/memory.ts";
import { Child, projectFile } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";

test("versions are compared by their numbers", () => {
  const ordered = ["1.3.14", "1.4.0", "1.4.5", "1.10.0", "2.7.5", "2.7.6", "2.10.0"];
  ordered.forEach((version, i) => {
    ordered.forEach((than, j) => assertEquals(isOlder(version, than), i < j, `${version} ${than}`));
  });
  assertEquals(isOlder("1.4.0-canary.12+abc", "1.4.0"), false);
});

test("the least versions are those that the manual states, and this runtime has one", () => {
  const manual = readFileSync(projectFile("docs/runtimes.md"), "utf8");
  for (const { name, leastVersion } of backends) {
    const [, stated] = new RegExp(`^\\| *${name} *\\| *([\\d.]+)`, "m").exec(manual)!;
    assertEquals(leastVersion, stated);
  }
  assert(!isOlder(backend!.version(), backend!.leastVersion));
});

test("an old runtime is refused by its version, with those that will do", () => {
  const program = `
    const [, , memory, load] = process.argv;
    const { backend } = await import(load);
    backend.version = () => backend.leastVersion.replace(/\\d+$/, "").replace(/\\d+(?=\\.$)/, "0") + "9";
    try {
      (await import(memory)).runtime();
    } catch (error) {
      console.log(error.message);
    }`;
  using folder = temporaryFolder();
  const file = join(folder.path, "old.ts");
  writeFileSync(file, program);
  const modules = [projectFile("ffi/memory.ts"), projectFile("ffi/load.ts")];
  for (const [name, ...command] of [["Deno", "deno", "run", "-A"], ["Bun", "bun"]] as const) {
    const { stdout, stderr } = spawnSync(command[0]!, [...command.slice(1), file, ...modules], {
      encoding: "utf8",
    });
    const wanted = backends.map((one) => `${one.name} ${one.leastVersion}`).join(" or ");
    assert(stdout.startsWith(`Cannot call libc in ${name} `), stdout + stderr);
    assertStringIncludes(stdout, `.0.9: run with ${wanted}, or newer`);
  }
});

test("a library that does not load is told with the first reason", () => {
  const names = ["libfirst-of-none.so", "libsecond-of-none.so"];
  const error = assertThrows(() =>
    backend!.open(names, { getpid: { parameters: [], result: "i32" } })
  );
  const { message, cause } = error as Error;
  assertEquals(message, `Cannot open libc: none of ${names.join(", ")} loads`);
  assertStringIncludes(String(cause), "libfirst-of-none.so");
});

const noTerminal = spawnSync("python3", ["-c", "import pty"]).status === 0
  ? false
  : "no python3 with terminals";

test(
  "Deno in a terminal asks for ffi alone, and goes on after a yes",
  { skip: noTerminal },
  async () => {
    using folder = temporaryFolder();
    // Once it had answered, Deno looked for a library of this name here.
    for (const library of abi.libraries) writeFileSync(join(folder.path, library), "no library");
    const file = join(folder.path, "asking.ts");
    writeFileSync(
      file,
      `import { Semaphore } from ${JSON.stringify(projectFile("mod.ts"))};
    using semaphore = Semaphore.create({ value: 1 });
    semaphore.acquireSync();
    console.log("said: held");
    setTimeout(() => semaphore.increment(), 10);
    await semaphore.decrement();
    console.log("said: waited");`,
    );
    const terminal = ["python3", projectFile("tests/peers/terminal.py")];
    const command = [...terminal, "deno", "run", "--no-lock", "--no-config", file];
    await using child = new Child(command, { cwd: folder.path });
    for (const line of ["asked for ffi", "said: held", "said: waited"]) {
      assertEquals(await child.hear(), line);
    }
    assertEquals((await child.exit).code, 0);
  },
);
