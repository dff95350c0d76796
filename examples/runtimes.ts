/**
 * The runtimes in which the examples start their processes.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";

export type Runtime = "deno" | "bun" | "node";

/** The runtime of this process. */
export const here: Runtime = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

/** Node before 26.9 is no such runtime: it cannot call C. */
const probes: Record<Runtime, readonly string[]> = {
  deno: ["--version"],
  bun: ["--version"],
  node: ["--eval", `process.exit(process.getBuiltinModule("node:ffi") ? 0 : 1)`],
};

/** Finds the runtimes that are installed: this one first, each with the command that runs a file in it. */
export function findRuntimes(permissions: readonly string[]): Map<Runtime, string[]> {
  const found = (Object.keys(probes) as Runtime[]).filter((runtime) =>
    runtime === here || spawnSync(runtime, probes[runtime]).status === 0
  );
  const ordered = [here, ...found.filter((runtime) => runtime !== here)];
  return new Map(ordered.map((runtime) => {
    const path = runtime === here ? process.execPath : runtime;
    return [runtime, runtime === "deno" ? [path, "run", "--quiet", ...permissions] : [path]];
  }));
}
