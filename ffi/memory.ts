/**
 * The runtime, and memory as it passes it to C.
 *
 * @module
 */

import type { Backend, Pointer } from "./backend.ts";
import { backend, backends } from "./load.ts";
import { supported } from "./platforms.ts";

let checked: Backend | undefined;

/** Returns the runtime; throws if this one will not do, as it is unknown, or too old, or elsewhere. */
export function runtime(): Backend {
  return checked ??= checkedRuntime();
}

function checkedRuntime(): Backend {
  const wanted = backends.map(({ name, leastVersion }) => `${name} ${leastVersion}`).join(" or ");
  if (backend === undefined) {
    throw new Error(`Cannot call libc in this runtime: run with ${wanted}, or newer`);
  }
  const { name, leastVersion } = backend;
  const version = backend.version();
  if (isOlder(version, leastVersion)) {
    throw new Error(`Cannot call libc in ${name} ${version}: run with ${wanted}, or newer`);
  }
  if (!supported) {
    throw new Error(
      `Cannot call libc on ${backend.platform()}: Linux and macOS on x86_64 and aarch64 are known`,
    );
  }
  return backend;
}

/** Compares versions by their numbers; what follows those, as in a canary's, does not count. */
export function isOlder(version: string, than: string): boolean {
  const [numbers, others] = [version, than].map((text) => text.match(/\d+/g)!.map(Number));
  for (let i = 0; i < 3; i++) {
    if (numbers![i] !== others![i]) return numbers![i]! < others![i]!;
  }
  return false;
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
