/**
 * The documents of the project: the README, the manual, and what those who join read.
 *
 * @module
 */

import { readdirSync } from "node:fs";
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

/** The programs that people copy. */
export const examples: readonly string[] = ["examples", "examples/unix", "examples/gunicorn"]
  .flatMap((folder) =>
    readdirSync(projectFile(folder)).filter((name) => /\.(ts|py)$/.test(name)).sort()
      .map((name) => `${folder}/${name}`)
  );
