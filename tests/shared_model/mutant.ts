/**
 * Modules of shared/ with a mistake in them: the models must find it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** What is there once in the text of a module, and what is to stand there instead. */
export type Replacement = readonly [from: string, to: string];

/** Imports a module with parts of its text replaced. */
export async function mutant<Module>(
  path: string,
  ...replacements: readonly Replacement[]
): Promise<Module> {
  return await load(path, replaced(path, replacements));
}

/** The same of a class that shows what it remembers in private; returns also under which names. */
export async function unveiled<Module>(
  path: string,
  ...replacements: readonly Replacement[]
): Promise<Module & { names: readonly string[] }> {
  const source = replaced(path, replacements);
  const names = [...source.matchAll(/^ {2}#(\w+) = /gm)].map(([, name]) => name!);
  const text = source.replace(new RegExp(`#(${names.join("|")})\\b`, "g"), "$1");
  return { ...await load<Module>(path, text), names };
}

function urlOf(path: string): URL {
  return new URL(`../../shared/${path}`, import.meta.url);
}

function replaced(path: string, replacements: readonly Replacement[]): string {
  let source = readFileSync(urlOf(path), "utf8");
  for (const [from, to] of replacements) {
    assertEquals(source.split(from).length, 2, `"${from}" is not what ${path} says`);
    source = source.replace(from, to);
  }
  return source;
}

async function load<Module>(path: string, source: string): Promise<Module> {
  const text = source.replace(
    /\bfrom "(\..+)"/g,
    (_, specifier) => `from "${new URL(specifier, urlOf(path))}"`,
  );
  const folder = mkdtempSync(join(tmpdir(), "mutant-"));
  const file = join(folder, path);
  try {
    writeFileSync(file, text);
    return await import(pathToFileURL(file).href) as Module;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
