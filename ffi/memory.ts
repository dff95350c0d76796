/**
 * The runtime, and memory as it passes it to C.
 *
 * @module
 */

import type { Backend, Pointer } from "./backend.ts";
import { backend } from "./load.ts";
import { supported } from "./platforms.ts";

/** Tells the runtime, or why there is none for this module. */
export function runtime(): Backend {
  if (backend === undefined) {
    throw new Error("Cannot call libc in this runtime: run with Deno or Bun");
  }
  if (!supported) {
    throw new Error(
      `Cannot call libc on ${backend.platform()}: Linux and macOS on x86_64 and aarch64 are known`,
    );
  }
  return backend;
}

/** Shows memory that is not ours: see {@linkcode Backend.view}. */
export function view(address: number, length: number): ArrayBuffer {
  try {
    return runtime().view(address, length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(
      `Cannot show ${length} bytes of memory as an ArrayBuffer of this runtime holds fewer (in Bun 4 GiB at most): use smaller segments`,
      { cause: error },
    );
  }
}

/** Tells where memory of ours stands. */
export function addressOf(memory: Uint8Array): number {
  return runtime().addressOf(memory);
}

/** Tells where memory of ours stands, to be passed in its place. It costs Deno less. */
export function pointerTo(memory: Uint8Array): Pointer {
  return runtime().pointerTo(memory);
}
