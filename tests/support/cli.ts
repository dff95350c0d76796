/**
 * The `ipc` command in tests: run as a user runs it, with `--allow-ffi` alone.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { command, projectFile, type Runtime } from "./child.ts";

/** How a command ended. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command is run. */
export interface IpcOptions {
  readonly runtime?: Runtime;
  /** Its standard input. */
  readonly input?: string | Uint8Array;
}

/** The command line that starts `ipc`. */
export function ipcCommand(runtime?: Runtime): string[] {
  return command(projectFile("cli/mod.ts"), runtime);
}

/** Runs `ipc` to its end. */
export function ipc(args: readonly (string | number)[], options: IpcOptions = {}): Outcome {
  const [path, ...before] = ipcCommand(options.runtime);
  const { input = "" } = options;
  const { status, stdout, stderr } = spawnSync(path!, [...before, ...args.map(String)], {
    encoding: "latin1",
    input: typeof input === "string" ? input : input as Uint8Array<ArrayBuffer>,
  });
  return { status, stdout, stderr };
}

/** Runs `ipc`, which has to do what it is told, and returns what it prints. */
export function ipcOutput(...args: readonly (string | number)[]): string {
  const { status, stdout, stderr } = ipc(args);
  assertEquals([status, stderr], [0, ""], args.join(" "));
  return stdout;
}
