/**
 * Resolves in Node what deno.json and tsconfig.json resolve in Deno and Bun.
 *
 *     node --import ./scripts/node/resolve.mjs tests/key_test.ts
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const root = new URL("../../", import.meta.url);
const { paths } = JSON.parse(readFileSync(new URL("tsconfig.json", root), "utf8")).compilerOptions;

registerHooks({
  resolve(specifier, context, next) {
    const [path] = Object.hasOwn(paths, specifier) ? paths[specifier] : [];
    return next(path === undefined ? specifier : new URL(path, root).href, context);
  },
});
