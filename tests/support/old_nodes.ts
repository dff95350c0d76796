/**
 * Nodes that cannot call C.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

// A runtime may put a program of that name on the PATH of what it runs.
const isOld =
  `process.exit("Deno" in globalThis || "Bun" in globalThis || process.getBuiltinModule?.("node:ffi") ? 1 : 0)`;

/** The path of the first in PATH, if there is any. */
export function oldNode(): string | undefined {
  const paths = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "node"));
  return paths.find((path) => existsSync(path) && spawnSync(path, ["--eval", isOld]).status === 0);
}
