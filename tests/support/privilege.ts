/**
 * Tests that need another user or an IPC namespace of their own, and with it limits of their own:
 * a child process gives up what it has, as it cannot take it back.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { projectFile } from "./child.ts";
import { until } from "./time.ts";

const root = process.geteuid?.() === 0;

/** For tests whose children call `becomeNobody()`. */
export const onlyRoot = { skip: root ? false : "only root can become another user" };

/** For tests whose children call `leaveNamespace()`. */
export const onlyUnshared = {
  skip: root && spawnSync("unshare", ["--ipc", "true"]).status === 0
    ? false
    : "this user may not have an IPC namespace of its own",
};

/** For tests that reap: elsewhere other programs have objects that they may come back to. */
export const onlyAlone: { readonly skip: string | false } = {
  skip: process.env.IPC_TEST_NAMESPACE === "own"
    ? false
    : "only where the whole suite has an IPC namespace of its own",
};

/**
 * The start of a program with these functions. It needs `--allow-ffi`, and all permissions for limits.
 *
 * - `becomeNobody()` makes it an ordinary user, in no group.
 * - `leaveNamespace()` gives its main thread an empty IPC namespace, whose limits `limit(name, value)` sets.
 * - `failure(action)` gives "CODE syscall" of what an action throws, or its result.
 */
export const privileges = `
  const { openLibc } = await import(${JSON.stringify(projectFile("ffi/calls.ts"))});
  const { writeFileSync } = await import("node:fs");
  const libcalls = openLibc({
    setgroups: { parameters: ["i64", "buffer"], result: "i32" },
    setegid: { parameters: ["u32"], result: "i32" },
    seteuid: { parameters: ["u32"], result: "i32" },
    unshare: { parameters: ["i32"], result: "i32" },
  });
  const becomeNobody = () => {
    const failed = libcalls.setgroups(0, null) || libcalls.setegid(65534) || libcalls.seteuid(65534);
    if (failed) throw new Error("Cannot become another user");
  };
  const CLONE_NEWIPC = 0x08000000;
  const leaveNamespace = () => {
    if (libcalls.unshare(CLONE_NEWIPC)) throw new Error("Cannot leave the IPC namespace");
  };
  const limit = (name, value) => writeFileSync("/proc/sys/kernel/" + name, String(value));
  const failure = (action) => {
    try {
      return action();
    } catch (error) {
      return error.code + " " + error.syscall;
    }
  };
`;

/** Waits until the main thread of a process waits in a function of the kernel for this call, such as `msgrcv`. */
export async function untilIn(pid: number, syscall: string): Promise<void> {
  await until(() => readFileSync(`/proc/${pid}/wchan`, "utf8").includes(syscall));
}
