/**
 * Finds Bun, or fetches it from npm into scripts/bun. Prints its path.
 *
 *     deno run -A scripts/bun.ts
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import manifest from "./bun/deno.json" with { type: "json" };

const folder = join(import.meta.dirname!, "bun");
const VERSION = manifest.imports.bun.slice("npm:bun@".length);

/** Tells where a Bun of the pinned version stands, and fetches it where there is none. */
export function findBun(): string {
  const found = installed();
  if (found !== undefined) return found;
  execFileSync(Deno.execPath(), ["install", "--quiet"], { cwd: folder, stdio: ["ignore", 2, 2] });
  const fetched = installed();
  if (fetched === undefined) {
    throw new Error(`Cannot run Bun ${VERSION} from npm on this machine`);
  }
  return fetched;
}

/** npm's package brings several builds: for musl, and for processors without AVX2. One of them runs. */
function installed(): string | undefined {
  const packages = join(folder, "node_modules", ".deno");
  const names = list(packages).filter((name) =>
    name.startsWith("@oven+bun-") && name.endsWith(VERSION)
  );
  for (const name of names.sort()) {
    const build = name.slice("@oven+".length, -`@${VERSION}`.length);
    const path = join(packages, name, "node_modules", "@oven", build, "bin", "bun");
    if (versionOf(path) === VERSION) return path;
  }
  return undefined;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function versionOf(path: string): string | undefined {
  try {
    return execFileSync(path, ["--version"], { stdio: ["ignore", "pipe", "ignore"] }).toString()
      .trim();
  } catch {
    return undefined;
  }
}

if (import.meta.main) console.log(findBun());
