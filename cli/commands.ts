/**
 * The commands of `ipc`.
 *
 * @module
 */

import type { Command } from "./command.ts";

/** The commands by name, each loaded when it is called. */
export const commands: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ["ls", async () => (await import("./ls.ts")).command],
  ["show", async () => (await import("./show.ts")).command],
  ["top", async () => (await import("./top.ts")).command],
  ["limits", async () => (await import("./limits.ts")).command],
  ["key", async () => (await import("./key.ts")).command],
  ["create", async () => (await import("./create.ts")).command],
  ["rm", async () => (await import("./rm.ts")).command],
  ["reap", async () => (await import("./reap.ts")).command],
  ["sem", async () => (await import("./sem.ts")).command],
  ["send", async () => (await import("./send.ts")).command],
  ["recv", async () => (await import("./recv.ts")).command],
  ["run", async () => (await import("./run.ts")).command],
  ["lock", async () => (await import("./run.ts")).lock],
  ["completions", async () => (await import("./completions.ts")).command],
]);

/** Loads all commands. */
export async function allCommands(): Promise<Command[]> {
  return await Promise.all([...commands.values()].map((load) => load()));
}
