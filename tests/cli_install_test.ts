import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { projectFile } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";
import { Name } from "./support/peer.ts";

/** Runs a program elsewhere than in the project, and gives its output. */
function output(path: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(path, args, { cwd: "/", encoding: "utf8" });
  assertEquals(status, 0, stderr);
  return stdout;
}

/** Asserts that an installed `ipc` does what it should, and that one process runs the command. */
function assertWorks(ipc: string): void {
  using name = new Name();
  assertEquals(output(ipc, "key", "gunicorn"), "0x18f5d484\n");
  assertEquals(output(ipc, "run", "--name", name.text, "--", "echo", "ran"), "ran\n");
}

test("ipc is installed with Deno, with no permission but --allow-ffi", () => {
  using folder = temporaryFolder();
  output("deno", ...[
    ...["install", "--quiet", "--global", "--allow-ffi", "--root", folder.path, "--name", "ipc"],
    ...["--config", projectFile("deno.json"), projectFile("cli/mod.ts")],
  ]);
  assertWorks(join(folder.path, "bin/ipc"));
});

test("ipc is made one file with Bun", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "ipc");
  const { status, stderr } = spawnSync(
    "bun",
    ["build", "--compile", "cli/mod.ts", "--outfile", path],
    { cwd: projectFile("."), encoding: "utf8" },
  );
  assertEquals(status, 0, stderr);
  assertWorks(path);
});
