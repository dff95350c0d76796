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

/** Imports a module with parts of its text replaced, each of which must be there once. */
export async function mutant<Module>(
  path: string,
  ...replacements: readonly (readonly [from: string, to: string])[]
): Promise<Module> {
  const url = new URL(`../../shared/${path}`, import.meta.url);
  let source = readFileSync(url, "utf8");
  for (const [from, to] of replacements) {
    assertEquals(source.split(from).length, 2, `"${from}" is not what ${path} says`);
    source = source.replace(from, to);
  }
  const text = source.replace(
    /\bfrom "(\..+)"/g,
    (_, specifier) => `from "${new URL(specifier, url)}"`,
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
