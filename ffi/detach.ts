/**
 * Detaching memory that may still be in use. A call of the runtime which is under way on a buffer
 * (compressing it, hashing it, writing it to a file) goes on whatever becomes of the buffer: Deno's
 * threads keep the bare address, and Bun keeps the buffer from being taken. A hole there would kill
 * the process, so on Linux what is detached leaves empty memory in its place: all zero, of this process
 * alone, and none before something is written.
 *
 * @module
 */

import { errors } from "./constants.ts";
import { abi } from "./platforms.ts";
import { mmapOver, munmap, shmdt } from "./calls.ts";

/** Empty memory in the place of a segment. */
interface Remains {
  readonly memory: ArrayBuffer;
  readonly address: number;
  readonly length: number;
}

// The remains take addresses but no memory: after 10,000 rounds of 1 MiB, VmSize had grown by 10 GiB,
// VmRSS and the lines of /proc/self/maps hardly more than with shmdt, as the kernel joins neighbours. Kept
// for good they would use up all 128 TiB, and then the runtimes crash: the oldest go when there are
// too many, long after the calls that were under way.
const MOST_BYTES = 2 ** 34;
const MOST_REMAINS = 2 ** 12;
const remains: Remains[] = [];
let bytes = 0;

/**
 * Detaches the segment at an address, after all views of its memory: they have length 0 from then on.
 * Gives EBUSY and leaves it attached if something may view it still, and nothing can take its place
 * (on macOS, and for huge pages).
 */
export function detach(memory: ArrayBuffer, address: number, length: number): number {
  const isTransferred = memory.byteLength !== length;
  if (!isTransferred) memory.transfer(0);
  const isViewed = isTransferred || memory.byteLength !== 0;
  if (!abi.isLinux || mmapOver(address, length) < 0) {
    return isViewed ? -errors.EBUSY : shmdt(address);
  }
  // Who has a transferred buffer may view it for ever.
  if (!isTransferred) keep({ memory, address, length });
  return 0;
}

function keep(latest: Remains): void {
  remains.push(latest);
  bytes += latest.length;
  while (remains.length > 1 && (bytes > MOST_BYTES || remains.length > MOST_REMAINS)) {
    const { memory, address, length } = remains.shift()!;
    bytes -= length;
    if (memory.byteLength !== 0) memory.transfer(0);
    if (memory.byteLength === 0) munmap(address, length);
  }
}
