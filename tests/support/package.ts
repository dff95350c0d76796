/**
 * The package as npm serves it from JSR, which strips the types and keeps the files: JavaScript beside
 * declarations, in a project that has installed it from a tarball.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { projectFile } from "./child.ts";
import { temporaryFolder } from "./folder.ts";

const execute = promisify(execFile);
const manifest = JSON.parse(readFileSync(projectFile("deno.json"), "utf8"));
// The command is for Deno and Bun, and has more dependencies.
const { "./cli": _, ...entries } = manifest.exports as Record<string, string>;

const NPM = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
/** What the project has besides: the least TypeScript that will do, and a runner of TypeScript. */
const TOOLS = ["typescript@5.7.3", "@types/node@24.10.1", "tsx@4.23.15"];

/** Makes a project that has the package. */
export async function packageProject(): Promise<string> {
  const { path: project } = temporaryFolder();
  const run = (program: string, ...args: string[]) => execute(program, args, { cwd: project });
  writeJson(join(project, "package.json"), { private: true, type: "module" });
  await run("npm", ...NPM, ...TOOLS);
  const { path: built } = temporaryFolder();
  writeJson(join(project, "build.json"), build(project, built));
  await run(join(project, "node_modules/.bin/tsc"), "--project", "build.json");
  writeJson(join(built, "package.json"), served());
  const { stdout } = await run("npm", "pack", "--silent", built);
  await run("npm", ...NPM, `./${stdout.trim()}`);
  return project;
}

/** What JSR says of the package to npm. */
function served() {
  const exports = Object.entries(entries).map(([name, file]) => {
    const base = file.replace(/\.ts$/, "");
    return [name, { types: `${base}.d.ts`, default: `${base}.js` }];
  });
  return {
    name: manifest.name,
    version: manifest.version,
    type: "module",
    exports: Object.fromEntries(exports),
    dependencies: { pg: manifest.imports.pg.slice("npm:pg@".length) },
  };
}

/** How TypeScript does what JSR does. */
function build(project: string, outDir: string) {
  return {
    compilerOptions: {
      target: "ES2022",
      lib: ["ESNext"],
      module: "NodeNext",
      rootDir: projectFile("."),
      outDir,
      declaration: true,
      rewriteRelativeImportExtensions: true,
      strict: true,
      skipLibCheck: true,
      types: ["node"],
      typeRoots: [join(project, "node_modules/@types")],
    },
    files: Object.values(entries).map(projectFile),
  };
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value, undefined, 2));
}

/** The names of all files in a folder of the project. */
export const filesOf = (project: string): string[] =>
  readdirSync(join(project, "node_modules/@sysv/ipc"), { recursive: true, encoding: "utf8" });
