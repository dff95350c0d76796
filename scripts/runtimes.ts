/**
 * Finds Bun and Node, or fetches them from npm into scripts/bun and scripts/node. Prints their paths.
 *
 *     deno run -A scripts/runtimes.ts
 *
 * @module
 */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** What npm brings: where it is installed, and the paths at which a program may be then. */
interface Fetched {
  readonly name: string;
  readonly folder: string;
  programs(folder: string, version: string): string[];
}

/** npm's package brings several builds: for musl, and for processors without AVX2. One of them runs. */
const bun: Fetched = {
  name: "Bun",
  folder: join(import.meta.dirname!, "bun"),
  programs(folder, version) {
    const packages = join(folder, "node_modules", ".deno");
    const ours = (name: string) => name.startsWith("@oven+bun-") && name.endsWith(version);
    return list(packages).filter(ours).sort().map((name) => {
      const build = name.slice("@oven+".length, -`@${version}`.length);
      return join(packages, name, "node_modules", "@oven", build, "bin", "bun");
    });
  },
};

/** npm's package "node" fetches another by a script, which Deno does not run: this names the other. */
const build = `${process.platform}-${process.arch}`;
const node: Fetched = {
  name: "Node",
  folder: join(import.meta.dirname!, "node", build),
  programs: (folder) => [join(folder, "node_modules", `node-${build}`, "bin", "node")],
};

/** Returns the path of a Bun of the pinned version, and fetches it if there is none. */
export const findBun = (): string => find(bun);

/**
 * Returns the path of a Node of the pinned version, and fetches it if there is none. Where npm has none that
 * runs, on macOS and with musl, any Node in PATH that can call C will do.
 */
export function findNode(): string {
  try {
    return find(node);
  } catch (error) {
    const { status, stdout } = spawnSync("node", ["--print", CALLS_C], { encoding: "utf8" });
    if (status === 0 && stdout !== "\n") return stdout.trim();
    throw error;
  }
}

const CALLS_C = `process.getBuiltinModule("node:ffi") ? process.execPath : ""`;

/** The path of the pinned Node, if it has been fetched. */
export function fetchedNode(): string | undefined {
  return node.programs(node.folder, "").find((path) => existsSync(path));
}

function find(runtime: Fetched): string {
  const { name, folder } = runtime;
  if (!existsSync(folder)) {
    throw new Error(`Cannot run ${name}: npm has none for ${build}`);
  }
  const version = versionIn(folder);
  const installed = () => runtime.programs(folder, version).find((path) => runs(path, version));
  const found = installed();
  if (found !== undefined) return found;
  execFileSync(Deno.execPath(), ["install", "--quiet"], { cwd: folder, stdio: ["ignore", 2, 2] });
  const fetched = installed();
  if (fetched === undefined) {
    throw new Error(`Cannot run ${name} ${version} from npm on this machine`);
  }
  return fetched;
}

/** The version that a folder's deno.json pins. */
function versionIn(folder: string): string {
  const { imports } = JSON.parse(readFileSync(join(folder, "deno.json"), "utf8"));
  const [specifier] = Object.values<string>(imports);
  return specifier!.slice(specifier!.lastIndexOf("@") + 1);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function runs(path: string, version: string): boolean {
  try {
    const output = execFileSync(path, ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
    return output.toString().trim().replace(/^v/, "") === version;
  } catch {
    return false;
  }
}

if (import.meta.main) console.log(`${findBun()}\n${findNode()}`);
