/**
 * Detaching memory that may still be in use. A call of the runtime that works on a buffer (compresses it,
 * hashes it, writes it to a file) goes on even if the buffer is detached: Deno's threads keep the bare
 * address, and Bun refuses to transfer the buffer. Unmapped memory there would kill the process, so on
 * Linux empty memory takes its place: all zero, private to this process, and allocated only when written.
 *
 * @module
 */

import { errors } from "./constants.ts";
import { abi } from "./platforms.ts";
import { empty, mmapOver, munmap, shmdt } from "./calls.ts";

/** Empty memory in the place of a segment. */
interface Remains {
  readonly memory: ArrayBuffer;
  readonly address: number;
  readonly length: number;
}

// Empty memory takes addresses but no pages: after 10,000 rounds of 1 MiB, VmSize had grown by 10 GiB,
// VmRSS and the lines of /proc/self/maps hardly more than with shmdt, because the kernel joins neighbours. Kept
// for good, all 128 TiB of addresses would be used up, and the runtimes crash then: the oldest are unmapped
// when there are too many, long after the calls that worked on them.
const MAX_BYTES = 2 ** 34;
const MAX_REMAINS = 2 ** 12;
/** After how many others remains are emptied: a call that was under way may have filled them meanwhile. */
const EMPTIED_AFTER = [1, 2, 4, 8, 16, 32];
const remains: Remains[] = [];
let bytes = 0;

/**
 * Detaches the segment at an address, after all views of its memory: they have length 0 from then on.
 * Returns EBUSY and leaves it attached if something may still view it and nothing can take its place (on
 * macOS, and for huge pages).
 */
export function detach(memory: ArrayBuffer, address: number, length: number): number {
  const isTransferred = memory.byteLength !== length;
  if (!isTransferred) memory.transfer(0);
  const isViewed = isTransferred || memory.byteLength !== 0;
  if (!abi.isLinux || mmapOver(address, length) < 0) {
    return isViewed ? -errors.EBUSY : shmdt(address);
  }
  // The holder of a transferred buffer may view it for ever.
  if (!isTransferred) keep({ memory, address, length });
  return 0;
}

function keep(latest: Remains): void {
  for (const others of EMPTIED_AFTER) {
    const filled = remains.at(-others);
    if (filled !== undefined) empty(filled.address, filled.length);
  }
  remains.push(latest);
  bytes += latest.length;
  while (remains.length > 1 && (bytes > MAX_BYTES || remains.length > MAX_REMAINS)) {
    const { memory, address, length } = remains.shift()!;
    bytes -= length;
    if (memory.byteLength !== 0) memory.transfer(0);
    if (memory.byteLength === 0) munmap(address, length);
  }
}
