/**
 * Real processes for tests: a program given as text runs in a process of its own and talks in lines.
 *
 * @module
 */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fetchedNode } from "../../scripts/runtimes.ts";
import { type Folder, temporaryFolder } from "./folder.ts";

/** The runtimes of the suite. */
export type Runtime = "deno" | "bun" | "node";

const all: readonly Runtime[] = process.env.IPC_TEST_WITHOUT_NODE === "1"
  ? ["deno", "bun"]
  : ["deno", "bun", "node"];

/** The runtime that runs this test. */
export const runtime: Runtime = "Bun" in globalThis
  ? "bun"
  : "Deno" in globalThis
  ? "deno"
  : "node";

/** All runtimes, this one first, in an order in which each comes second somewhere. */
export const runtimes: readonly Runtime[] = all.map((_, i) =>
  all[(all.indexOf(runtime) + i) % all.length]!
);

/** The runtime of the nth of several processes: they take turns. */
export const nthRuntime = (n: number): Runtime => runtimes[n % runtimes.length]!;

/** Another runtime: in the suite, each pair meets. */
export const otherRuntime: Runtime = nthRuntime(1);

const paths: Record<Runtime, string> = {
  deno: "deno",
  bun: "bun",
  node: fetchedNode() ?? "node",
  [runtime]: process.execPath,
};

const root = new URL("../../", import.meta.url);
/** Where programs are written, once there is one. */
let programs: Folder | undefined;
let files = 0;

// Programs start each runtime by its name, and Node is not to warn of node:ffi on what they print.
if (fetchedNode() !== undefined) {
  process.env.PATH = [dirname(fetchedNode()!), process.env.PATH].join(delimiter);
}
process.env.NODE_OPTIONS = "--disable-warning=ExperimentalWarning";
/** Has Node find what the project imports from npm. */
const resolving = `--import=${new URL("scripts/node/resolve.mjs", root).href}`;

/** The command that runs a TypeScript file with no permission but `--allow-ffi`. */
export function command(
  file: string,
  runs: Runtime = runtime,
  permissions: readonly string[] = ["--allow-ffi"],
  config = `--config=${new URL("deno.json", root).pathname}`,
) {
  if (runs === "bun") return [paths.bun, file];
  if (runs === "node") return [paths.node, resolving, file];
  return [
    paths.deno,
    "run",
    "--quiet",
    "--no-prompt",
    "--no-lock",
    config,
    // Deno's node:child_process permits everything to a Deno that is told nothing about permissions.
    ...(permissions.length > 0 ? permissions : ["--deny-net"]),
    file,
  ];
}

const prelude = `
import * as ipc from ${JSON.stringify(new URL("mod.ts", root).href)};
import * as libc from ${JSON.stringify(new URL("ffi/libc/mod.ts", root).href)};
import process from "node:process";
const { Semaphore, SemaphoreSet, MessageQueue, SharedMemory, IpcError, removeOnExit } = ipc;
const args = process.argv.slice(2);
const say = (text) => process.stdout.write(text + "\\n");
// Read only while somebody listens, so that the program can end while its input is open.
let __reader, __rest = "";
const __chunks = [];
let __ended = false, __came = () => {};
const __start = () => {
  process.stdin.on("data", (data) => {
    __chunks.push(data);
    __came();
  });
  process.stdin.on("end", () => {
    __ended = true;
    __came();
  });
  return true;
};
const __read = async () => {
  if ("Deno" in globalThis) {
    __reader ??= Deno.stdin.readable.getReader();
    return (await __reader.read()).value;
  }
  __reader ??= __start();
  process.stdin.ref?.();
  while (__chunks.length === 0 && !__ended) await new Promise((resolve) => __came = resolve);
  process.stdin.unref?.();
  return __chunks.shift();
};
const hear = async () => {
  while (!__rest.includes("\\n")) {
    const bytes = await __read();
    if (bytes === undefined) return undefined;
    __rest += new TextDecoder().decode(bytes);
  }
  const end = __rest.indexOf("\\n");
  const line = __rest.slice(0, end);
  __rest = __rest.slice(end + 1);
  return line;
};
void [libc, args, say, hear, Semaphore, SemaphoreSet, MessageQueue, SharedMemory, IpcError, removeOnExit];
`;

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: string | null;
}

/** A process that talks in lines. Disposing it kills it. */
export class Child implements AsyncDisposable {
  readonly pid: number;
  /** Resolves when it has ended. */
  readonly exit: Promise<Exit>;
  /** All it wrote to stderr. */
  stderr = "";
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: string[] = [];
  readonly #hearers: ((line: string | undefined) => void)[] = [];
  #ended = false;

  constructor(
    [path, ...args]: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ) {
    this.#process = spawn(path!, args, {
      stdio: "pipe",
      ...options,
    }) as ChildProcessWithoutNullStreams;
    this.pid = this.#process.pid!;
    // What is said to a process that has ended is lost, as it should be.
    this.#process.stdin.on("error", () => {});
    let rest = "";
    this.#process.stdout.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const hearer = this.#hearers.shift();
        if (hearer) hearer(line);
        else this.#lines.push(line);
      }
    });
    this.#process.stderr.on("data", (data) => this.stderr += data);
    this.exit = new Promise((resolve, reject) => {
      this.#process.on("error", reject);
      this.#process.on("close", (code, signal) => {
        this.#ended = true;
        for (const hearer of this.#hearers.splice(0)) hearer(undefined);
        resolve({ code, signal });
      });
    });
  }

  /** Waits for the next line; throws what the process complained of if it ends first. */
  async hear(): Promise<string> {
    const line = this.#lines.shift() ??
      (this.#ended
        ? undefined
        : await new Promise<string | undefined>((resolve) => this.#hearers.push(resolve)));
    if (line === undefined) {
      throw new Error(`The child ended before it said anything more:\n${this.stderr}`);
    }
    return line;
  }

  /** Sends it a line. */
  say(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }

  /** Closes its standard input. */
  end(): void {
    this.#process.stdin.end();
  }

  /** Kills it and waits until the kernel has undone what it held. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<Exit> {
    // Not by its own kill(), which in Deno also closes what it reads.
    const { exitCode, signalCode } = this.#process;
    if (exitCode === null && signalCode === null) {
      try {
        process.kill(this.pid, signal);
      } catch (error) {
        // It may have ended, and nobody has told us yet.
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    return await this.exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) await this.kill();
  }
}

/** How a program is run. */
export interface RunOptions {
  /** Where; by default as this test is. */
  runtime?: Runtime;
  /** Its arguments, as `args` in the program. */
  args?: readonly (string | number)[];
  /** What Deno permits it: `--allow-ffi` unless told otherwise, and nothing with none. */
  permissions?: readonly string[];
  /** Whether it sees the project's configuration, and with it what the project imports from npm. */
  configured?: boolean;
  /** The command that runs it, where it is not run as it is. */
  within?: readonly string[];
}

/**
 * Runs a program in a process of its own. It knows the module's names, `libc`, its `args`, and
 * `say(line)` and `await hear()` to talk with {@linkcode Child.hear} and {@linkcode Child.say}.
 */
export function run(
  program: string,
  { runtime: runs, args = [], permissions, configured = false, within = [] }: RunOptions = {},
): Child {
  programs ??= temporaryFolder();
  const file = join(programs.path, `${files++}.ts`);
  writeFileSync(file, prelude + program);
  const config = configured ? undefined : "--no-config";
  return new Child([...within, ...command(file, runs, permissions, config), ...args.map(String)]);
}

/** The address of a file of the project. */
export function projectFile(path: string): string {
  return new URL(path, root).pathname;
}

/** Ends children at the end of the block. */
export function ending(...children: readonly Child[]): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => child[Symbol.asyncDispose]()));
    },
  };
}

/** Lets a child that waits for a line go on to its end. */
export async function told(child: Child): Promise<Exit> {
  child.say("end");
  child.end();
  return await child.exit;
}
