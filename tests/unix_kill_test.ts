import { assertEquals, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import type { IpcError } from "@sysv/ipc";
import { kill } from "@sysv/ipc/unix";
import { assertIpcError, wrong } from "./support/assert.ts";
import { projectFile, runtime } from "./support/child.ts";
import { onlyRoot } from "./support/privilege.ts";
import { assertHears, start } from "./support/signals.ts";
import { until } from "./support/time.ts";

test("kill() ends a process with SIGTERM by default, and tells with 0 whether it exists", async () => {
  await using child = start(`say("here"); setInterval(() => {}, 1000);`);
  await assertHears(child, "here");
  kill(child.pid, 0);
  kill(child.pid);
  assertEquals(await child.exit, { code: null, signal: "SIGTERM" });
  assertIpcError(() => kill(child.pid, 0), "ESRCH", "kill");
  assertIpcError(() => kill(child.pid, "SIGUSR1"), "ESRCH", "kill");
});

test("kill() signals a group of processes by its negative number", async () => {
  const leader = spawn("setsid", ["sleep", "100"], { stdio: "ignore" });
  const pid = leader.pid!;
  const exit = new Promise((resolve) => leader.on("close", (_, signal) => resolve(signal)));
  await until(() => {
    try {
      kill(-pid, 0);
      return true;
    } catch (error) {
      assertEquals((error as IpcError).code, "ESRCH");
      return false;
    }
  });
  kill(-pid, "SIGKILL");
  assertEquals(await exit, "SIGKILL");
  assertIpcError(() => kill(-pid, 0), "ESRCH", "kill");
});

test("kill() refuses all processes at once, and what is no process", () => {
  assertThrows(() => kill(-1, 0), RangeError);
  assertThrows(() => kill(-1, "SIGUSR1"), RangeError);
  for (const pid of [1.5, NaN, Infinity, 2 ** 31, -(2 ** 31)]) {
    assertThrows(() => kill(pid, 0), RangeError);
  }
  for (const pid of wrong("1", null, undefined, "-1")) assertThrows(() => kill(pid, 0), TypeError);
  assertIpcError(() => kill(0x7fffffff, 0), "ESRCH", "kill");
});

test("kill() fails with EPERM on a process of another user", onlyRoot, async () => {
  await using child = start(
    `const { openLibc } = await import(${JSON.stringify(projectFile("ffi/calls.ts"))});
    const { setresuid } = openLibc({ setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" } });
    if (setresuid(65534, 65534, 65534) !== 0) throw new Error("Cannot become another user");
    for (const signal of [0, "SIGUSR1"]) {
      try {
        kill(Number(args[0]), signal);
      } catch (error) {
        say(error.code + " " + error.syscall);
      }
    }`,
    runtime,
    [process.pid],
  );
  await assertHears(child, "EPERM kill");
  await assertHears(child, "EPERM kill");
});
