/**
 * The documents of the project: the README, the manual, and what those who join read.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { projectFile } from "./child.ts";

const isPage = (name: string) => name.endsWith(".md");

/** The pages of the manual. */
export const pages: readonly string[] = ["docs", "docs/decisions"].flatMap((folder) =>
  readdirSync(projectFile(folder)).filter(isPage).sort().map((name) => `${folder}/${name}`)
);

/** All documents, by their paths in the project. */
export const documents: readonly string[] = [
  ...readdirSync(projectFile(".")).filter(isPage).sort(),
  "examples/gunicorn/README.md",
  ...pages,
];

/** The modules that are published. */
export const modules: readonly string[] = (JSON.parse(
  readFileSync(projectFile("deno.json"), "utf8"),
) as { publish: { include: string[] } }).publish.include.flatMap((pattern) => {
  if (!pattern.endsWith("*.ts")) return pattern.endsWith(".ts") ? [pattern] : [];
  const folder = dirname(pattern);
  return readdirSync(projectFile(folder)).filter((name) => name.endsWith(".ts")).sort()
    .map((name) => `${folder}/${name}`);
});

/** The programs that people copy. */
export const examples: readonly string[] = ["examples", "examples/unix", "examples/gunicorn"]
  .flatMap((folder) =>
    readdirSync(projectFile(folder)).filter((name) => /\.(ts|py)$/.test(name)).sort()
      .map((name) => `${folder}/${name}`)
  );
