#!/usr/bin/env -S deno run --allow-ffi
/**
 * The `ipc` command: see what the kernel holds, clean up, and use semaphores and queues in a shell.
 *
 * ```sh
 * deno install --global --allow-ffi --name ipc jsr:@sysv/ipc/cli
 * ipc ls
 * ipc run --slots 3 --name build -- make
 * ```
 *
 * @module
 */

import process from "node:process";
import { type Command, helpOf, parse } from "./command.ts";
import { allCommands, commands } from "./commands.ts";
import { codeOf, lineOf, UsageError } from "./errors.ts";
import { complain, print } from "./output.ts";

async function help(): Promise<string> {
  const all = await allCommands();
  const width = Math.max(...all.map(({ name }) => name.length));
  return [
    "See, clean up and use System V semaphores, message queues and shared memory.",
    "",
    "Usage: ipc COMMAND [OPTIONS] [ARGUMENT]...",
    "",
    ...all.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "ipc COMMAND --help explains a command.",
    "",
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 75 not possible in time. ipc run and ipc lock",
    "end with the code of their command, 125 without a slot, 126 or 127 without a command.",
  ].join("\n");
}

/**
 * Runs the command line.
 *
 * @example
 * ```ts
 * import { main } from "@sysv/ipc/cli";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(await main(["rm"]), 2); // wrong usage: nothing is named
 * ```
 *
 * @param args The arguments, beginning with the name of a command.
 * @returns A promise of the exit code.
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name = "", ...rest] = args;
  const load = commands.get(name);
  try {
    if (load !== undefined) return await perform(await load(), rest);
    if (!["--help", "-h", "help"].includes(name)) {
      throw new UsageError(name === "" ? "expected a command" : `unknown command "${name}"`);
    }
    print(await help());
    return 0;
  } catch (error) {
    complain(`ipc${load === undefined ? "" : ` ${name}`}: ${lineOf(error)}`);
    return codeOf(error);
  }
}

async function perform(command: Command, args: readonly string[]): Promise<number> {
  const given = parse(command, args);
  if (!given.has("help")) return await command.run(given);
  print(helpOf(command).trimEnd());
  return 0;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
