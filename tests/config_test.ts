import { assert, assertEquals } from "@std/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { projectFile } from "./support/child.ts";

const read = (path: string) => readFileSync(projectFile(path), "utf8");
const deno = JSON.parse(read("deno.json")) as {
  version: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
  tasks: Record<string, { description: string; command: string }>;
  publish: { include: string[] };
};
const tsconfig = JSON.parse(read("tsconfig.json")) as {
  compilerOptions: { paths: Record<string, string[]> };
};

/** The modules that are published, by their paths. */
const modules = deno.publish.include.filter((pattern) => pattern.endsWith(".ts")).flatMap(
  (pattern) => {
    const folder = dirname(pattern);
    return readdirSync(projectFile(folder)).filter((name) => name.endsWith(".ts")).map((name) =>
      join(folder, name)
    );
  },
);

/** What a module imports, types too; examples in comments do not count. */
function importsOf(path: string): string[] {
  const source = read(path);
  const found = [
    ...source.matchAll(/^(?:import|export)\b[^;"]*\bfrom "([^"]+)"/gm),
    ...source.matchAll(/^import "([^"]+)"/gm),
    ...source.matchAll(/^(?!\s*(?:\*|\/\/)).*\bimport\("([^"]+)"\)/gm),
  ];
  return found.map(([, specifier]) => specifier!);
}

/** A module without its comments; strings stay, as they may hold what looks like one. */
function codeOf(path: string): string {
  return read(path).replace(
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\/.*|\/\*[^]*?\*\//g,
    (_, string: string | undefined) => string ?? "",
  );
}

const isPackage = (target: string) => /^npm:(?:@[^@/]+\/)?[^@/]+@[^/]+$/.test(target);

test("deno.json and tsconfig.json name the same aliases and files, as each runtime reads but one", () => {
  // Whole packages are found in node_modules by either.
  const aliases = Object.entries(deno.imports).filter(([, target]) => !isPackage(target));
  const here = Object.fromEntries(
    aliases.map(([alias, target]) => {
      const [, name, path] = /^npm:([^@]+)@[^/]+\/(.+)$/.exec(target) ?? [];
      return [alias, [path === undefined ? target : `./node_modules/${name}/${path}`]];
    }),
  );
  assertEquals(tsconfig.compilerOptions.paths, here);
});

test("package.json names the same exports, by which Node finds them in a clone", () => {
  assertEquals(JSON.parse(read("package.json")).exports, deno.exports);
});

test("the aliases of deno.json name files that exist", () => {
  for (const [path] of Object.values(tsconfig.compilerOptions.paths)) {
    assert(existsSync(projectFile(path!)), path);
  }
});

test("what deno.json exports is an alias of the same file, and is published", () => {
  for (const [entry, file] of Object.entries(deno.exports)) {
    assertEquals(deno.imports[join("@sysv/ipc", entry).replace(/\/$/, "")], file);
    assert(modules.includes(normalize(file)), `${file} is not published`);
  }
});

test("what deno.json exports is checked with the least TypeScript, too", () => {
  const { files } = JSON.parse(read("scripts/types/bun.json")) as { files: string[] };
  // The command needs @std/cli, which those projects have by other means.
  const { "./cli": _, ...entries } = deno.exports;
  assertEquals(files.map((file) => `./${join("scripts/types", file)}`), Object.values(entries));
});

/** What a room imports from npm. */
const packages: Readonly<Record<string, readonly string[]>> = {
  cli: ["@std/cli/parse-args"],
  cluster: ["pg"],
};

test("what is published imports nothing but what is published, and what runtimes bring", () => {
  for (const path of modules) {
    for (const specifier of importsOf(path)) {
      if (/^(?:node:|bun:)/.test(specifier)) continue;
      if (packages[roomOf(path)]?.includes(specifier)) continue;
      assert(specifier.startsWith("."), `${path} imports ${specifier}`);
      const target = join(dirname(path), specifier);
      assert(modules.includes(target), `${path} imports ${target}, which is not published`);
    }
  }
});

/** The rooms from the ground up: a module imports from its own room and from those below. */
const floors: Readonly<Record<string, number>> = {
  ffi: 0,
  wait: 1,
  ipc: 2,
  sync: 3,
  unix: 3,
  shared: 4,
  cluster: 5,
  ".": 5,
  cli: 6,
};
const roomOf = (path: string) => dirname(path).split("/")[0]!;

test("imports run one way: cli/ -> mod.ts, cluster/ -> shared/ -> sync/, unix/ -> ipc/ -> wait/ -> ffi/", () => {
  for (const path of modules) {
    const room = roomOf(path);
    assert(room in floors, `${path} stands in no known room`);
    for (const specifier of importsOf(path).filter((specifier) => specifier.startsWith("."))) {
      const target = roomOf(join(dirname(path), specifier));
      const isBelow = target === room || floors[target]! < floors[room]!;
      assert(isBelow, `${path} imports ${specifier}, which is not below it`);
    }
  }
});

/** What packs and unpacks the structs of C, and what that may know: no call. */
const codecs = ["bytes", "epoll_events", "msgbuf", "pollfd", "sembuf", "struct"];
const belowCodecs = [...codecs, "backend", "constants", "load", "memory", "platforms"];

test("what packs and unpacks structs imports no call", () => {
  for (const name of codecs) {
    for (const specifier of importsOf(`ffi/${name}.ts`)) {
      assert(belowCodecs.some((below) => specifier === `./${below}.ts`), `${name}: ${specifier}`);
    }
  }
  assert(importsOf("ffi/attempt.ts").includes("./calls.ts"));
});

test("what is published has no `using`, which Node 18 to 22 cannot parse", () => {
  const using = /^\s*(?:await\s+)?using\s+\w|\bfor\s*(?:await\s*)?\(\s*(?:await\s+)?using\b/m;
  for (const example of ["  using x = y;", "await using x = y;", "for (await using x of y);"]) {
    assert(using.test(example), example);
  }
  for (const path of modules) assertEquals(using.exec(codeOf(path))?.[0], undefined, path);
});

test("no module has more than 500 lines but for documentation", () => {
  for (const path of modules) {
    const lines = codeOf(path).split("\n").filter((line) => line.trim() !== "").length;
    assert(lines <= 500, `${path} has ${lines} lines`);
  }
});

test("no file of tests has more than 500 lines", () => {
  const names = readdirSync(projectFile("tests"), { recursive: true, encoding: "utf8" });
  for (const name of names.filter((name) => name.endsWith(".ts"))) {
    const lines = read(join("tests", name)).trimEnd().split("\n").length;
    assert(lines <= 500, `${name} has ${lines} lines`);
  }
});

test("the root holds no module but mod.ts", () => {
  const found = readdirSync(projectFile(".")).filter((name) => name.endsWith(".ts"));
  assertEquals(found, ["mod.ts"]);
});

test("ffi/ alone names a runtime", () => {
  const named = /\b(?:Deno|Bun)\s*(?:\?\.|\.|\[)|bun:ffi|"(?:Deno|Bun)" in/;
  for (const path of modules.filter((path) => roomOf(path) !== "ffi")) {
    assertEquals(named.exec(codeOf(path))?.[0], undefined, path);
  }
  // What is looked for is found where it is.
  for (const path of ["ffi/deno.ts", "ffi/bun.ts"]) assert(named.test(codeOf(path)), path);
});

test("the tasks of deno.json run files that exist", () => {
  for (const { command, description } of Object.values(deno.tasks)) {
    const file = command.split(" ").at(-1)!;
    assert(existsSync(projectFile(file)), file);
    assert(description !== "");
  }
});

test("the changelog knows the version of deno.json", () => {
  assert(/^\d+\.\d+\.\d+$/.test(deno.version));
  assert(read("CHANGELOG.md").includes(deno.version), deno.version);
});
