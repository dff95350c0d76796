/**
 * Picks the runtime, once.
 *
 * @module
 */

import type { Backend } from "./backend.ts";
import { bun } from "./bun.ts";
import { deno } from "./deno.ts";
import { node } from "./node.ts";

/** The runtimes that will do. */
export const backends: readonly Backend[] = [deno, bun, node];

/** The seam to this runtime; undefined where none is known, so that importing never fails. */
export const backend: Backend | undefined = "Bun" in globalThis
  ? bun
  : "Deno" in globalThis
  ? deno
  : globalThis.process?.versions?.node !== undefined
  ? node
  : undefined;
