import { assert, assertEquals } from "@std/assert";
import { execFile, type ExecFileException, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { keyOf, MessageQueue, Semaphore } from "@sysv/ipc";
import { command, projectFile } from "./support/child.ts";
import { documents } from "./support/documents.ts";
import { c, perl, php, python } from "./support/languages.ts";
import { testWhere, testWith } from "./support/peer.ts";
import { missingServer, server } from "./support/postgres.ts";
import { temporaryFolder } from "./support/folder.ts";

/** A block of code in a document. */
interface Block {
  readonly language: string;
  readonly code: string;
  readonly file: string;
  /** The line of its fence. */
  readonly line: number;
}

/** Finds the blocks of a Markdown file, or of the doc comments of a module. */
function blocksOf(file: string): Block[] {
  let text = readFileSync(projectFile(file), "utf8");
  if (file.endsWith(".ts")) text = text.replaceAll(/^ *\* ?/gm, "");
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1]!,
    code: match[2]!,
    file,
    line: text.slice(0, match.index).split("\n").length,
  }));
}

/** Finds a module and the modules that it imports or exports, and so on. */
function modulesOf(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(projectFile(file), "utf8");
  for (const [, path] of text.matchAll(/ from "(\.[^"]+)"/g)) {
    modulesOf(join(dirname(file), path!), found);
  }
  return found;
}

const { exports } = JSON.parse(readFileSync(projectFile("deno.json"), "utf8"));
const modules = new Set<string>();
for (const file of Object.values<string>(exports)) {
  modulesOf(join(file), modules);
}
const blocks = [...documents, ...[...modules].sort()].flatMap(blocksOf);
const programs = blocks.filter(({ language }) => language === "ts");

// Names belong to the whole machine, so each run of the tests has names of its own.
const app = `my-app-${randomUUID()}`;
const hex = (name: string) => keyOf(name).toString(16);
const withOwnNames = (code: string) =>
  code.replaceAll(hex("my-app/busy"), hex(`${app}/busy`)).replaceAll("my-app/", `${app}/`);

// Within the project, so that "@sysv/ipc" means there what it means to a user.
const folder = temporaryFolder(projectFile("tests/.docs-"));
after(() => folder[Symbol.dispose]());

function write({ file, line, code }: Block, ending: string): string {
  const path = join(folder.path, `${file.replaceAll(/\W/g, "_")}_${line}.${ending}`);
  // Errors then tell the lines of the document.
  const above = ending === "ts" ? "\n".repeat(line) : "";
  writeFileSync(path, above + withOwnNames(code));
  return path;
}

/** The permissions that the first line of a program names; just `--allow-ffi` for most. */
function permissionsOf({ code }: Block): string[] | undefined {
  const named = /^\/\/ deno run ((?:--\S+ )+)/.exec(code)?.[1]?.trim().split(" ");
  return named ?? (code.includes("@sysv/ipc/cluster") ? ["--allow-net", "--allow-env"] : undefined);
}

/** Runs a command, and gives what it prints. */
function execute([path, ...args]: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const done = (error: ExecFileException | null, stdout: string, stderr: string) =>
      error ? reject(new Error(stderr || error.message)) : resolve(stdout);
    execFile(path!, args, { encoding: "utf8", ...(env && { env }) }, done);
  });
}

/** What a program needs of the machine that this one lacks. */
function missingFor({ code }: Block): string | undefined {
  return code.includes("@sysv/ipc/cluster") ? missingServer : undefined;
}

/** Where a program finds the server, if it needs one. */
async function environmentOf({ code }: Block): Promise<NodeJS.ProcessEnv | undefined> {
  if (!code.includes("@sysv/ipc/cluster")) return undefined;
  return { ...process.env, ...(await server()).environment };
}

// In an IPC namespace of its own a program must leave nothing at all.
const alone = spawnSync("unshare", ["--ipc", "true"]).status === 0
  ? [
    "unshare",
    "--ipc",
    "sh",
    "-c",
    `
    "$@" || exit
    left=$(tail -qn +2 /proc/sysvipc/sem /proc/sysvipc/msg /proc/sysvipc/shm)
    [ -z "$left" ] || { echo "It left in the kernel: $left" >&2; exit 1; }
  `,
    "sh",
  ]
  : [];

// They are many and mostly start: a lane for each processor.
const lanes = Array.from({ length: availableParallelism() }, () => Promise.resolve(""));
const outcomes = programs.map((block, number) => {
  const permissions = permissionsOf(block);
  const run = async () => {
    if (missingFor(block) !== undefined) return "";
    const env = await environmentOf(block);
    return await execute([...alone, ...command(write(block, "ts"), undefined, permissions)], env);
  };
  const lane = number % lanes.length;
  const outcome = lanes[lane]!.then(run);
  lanes[lane] = outcome.catch(() => "");
  return outcome;
});

for (const [number, block] of programs.entries()) {
  const { file, line, code } = block;
  testWhere(missingFor(block), `The program at ${file}:${line} does what it says`, async () => {
    const said = [...withOwnNames(code).matchAll(/^ *console\.log\(.*\); \/\/ (.*)\n/gm)].map((
      [, comment],
    ) => `${comment}\n`);
    assertEquals(await outcomes[number], said.join(""), `${file}:${line}`);
  });
}

test("The README, most pages and each class have programs that show them", () => {
  const shown = new Set(programs.map(({ file }) => file));
  for (
    const file of [
      "README.md",
      ..."getting-started semaphores queues memory waiting sync unix libc recipes".split(" ").map((
        page,
      ) => `docs/${page}.md`),
      "mod.ts",
      "ipc/semaphore.ts",
      "ipc/semaphore_set.ts",
      "ipc/permit.ts",
      "ipc/message_queue.ts",
      "ipc/shared_memory.ts",
      "ffi/libc/mod.ts",
    ]
  ) assert(shown.has(file), file);
});

test("Each function and class that an entry exports is shown by an example", () => {
  const shown = new Map<string, boolean>();
  for (const file of modules) {
    const documented = /\/\*\*((?:(?!\*\/)[^])*)\*\/\s*export (?:async )?(?:function|class) (\w+)/g;
    for (const [, comment, name] of readFileSync(projectFile(file), "utf8").matchAll(documented)) {
      shown.set(name!, (shown.get(name!) ?? false) || comment!.includes("@example"));
    }
  }
  for (const [entry, file] of Object.entries<string>(exports)) {
    if (entry === "./cli") continue; // a program
    const source = readFileSync(projectFile(file), "utf8");
    const passedOn = [...source.matchAll(/^export \{([^}]*)\}/gm)].flatMap(([, names]) =>
      names!.split(",").map((name) => name.trim())
    );
    const own = [...source.matchAll(/^export (?:async )?(?:function|class) (\w+)/gm)].map((
      [, name],
    ) => name!);
    for (const name of [...passedOn, ...own]) assert(shown.get(name) !== false, name);
  }
});

/** Compiles a program in C, and gives the command to run it. */
function compile(path: string): string[] {
  const { status, stderr } = spawnSync("cc", ["-o", `${path}.out`, path]);
  assertEquals(status, 0, String(stderr));
  return [`${path}.out`];
}

const languages = { c, perl, php, python };

for (const block of blocks) {
  const { language: name, file, line } = block;
  if (!(name in languages)) continue;
  const language = languages[name as keyof typeof languages];
  const title = `The ${language.name} program at ${file}:${line} meets us`;
  testWith([language], title, async () => {
    using busy = Semaphore.create({ key: `${app}/busy` });
    using jobs = MessageQueue.create({ key: `${app}/jobs` });
    const path = write(block, name);
    const found = language.find();
    if ("missing" in found) throw new Error(found.missing);
    await execute(language === c ? compile(path) : [found.command[0]!, path]);
    assertEquals(busy.value, 0);
    if (name === "php") assertEquals(jobs.tryReceive()?.text(), "hello");
    else assert(busy.lastPid !== process.pid);
  });
}
