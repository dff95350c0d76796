/**
 * The runtime, and memory as it passes it to C.
 *
 * @module
 */

import type { Backend, Pointer } from "./backend.ts";
import { backend } from "./load.ts";
import { supported } from "./platforms.ts";

/** Returns the runtime; throws if there is none that this module knows. */
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

/** Views memory that is not ours: see {@linkcode Backend.view}. */
export function view(address: number, length: number): ArrayBuffer {
  try {
    return runtime().view(address, length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(
      `Cannot view ${length} bytes of memory: an ArrayBuffer of this runtime holds fewer (4 GiB in Bun): use smaller segments`,
      { cause: error },
    );
  }
}

/** Returns the address of memory of ours. */
export function addressOf(memory: Uint8Array): number {
  return runtime().addressOf(memory);
}

/** Returns a pointer to memory of ours, which is cheaper to pass in Deno. */
export function pointerTo(memory: Uint8Array): Pointer {
  return runtime().pointerTo(memory);
}
