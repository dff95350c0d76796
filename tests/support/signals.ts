/**
 * Programs of tests that send and hear signals.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type Child, projectFile, run, type Runtime, runtime } from "./child.ts";

const prelude = `
  const { alarm, kill, pipe, signals, sigwait } = await import(${
  JSON.stringify(projectFile("unix/mod.ts"))
});
`;

/** Starts a program that knows the calls for signals. */
export const start = (
  program: string,
  runs: Runtime = runtime,
  args: readonly (string | number)[] = [],
) => run(prelude + program, { runtime: runs, args });

/** Fails with what a child complained of, if it says something else. */
export async function assertHears(child: Child, line: string): Promise<void> {
  assertEquals(await child.hear(), line, child.stderr);
}
