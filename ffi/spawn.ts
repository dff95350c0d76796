/**
 * Starting a program that outlives this one: in a session of its own, so that no terminal's signal
 * reaches it, and with no descriptor of ours but two pipes. Linux alone.
 *
 * What is needed before the program runs is bound apart from the rest, so that it runs sooner.
 *
 * @module
 */

import { errors } from "./constants.ts";
import { abi } from "./platforms.ts";
import type { Calls } from "./backend.ts";
import { answer, bind } from "./calls.ts";
import { addressOf, view } from "./memory.ts";
import { closeFromPrototypes, spawnedPrototypes, spawnPrototypes } from "./program_symbols.ts";

let before: Calls<typeof spawnPrototypes> | undefined;
let after: Calls<typeof spawnedPrototypes> | undefined;
let closeFrom: Calls<typeof closeFromPrototypes> | "missing" | undefined;

const loadBefore = () => before = bind(spawnPrototypes);
const loadAfter = () => after = bind(spawnedPrototypes);

function loadCloseFrom(): Calls<typeof closeFromPrototypes> | "missing" {
  try {
    return closeFrom = bind(closeFromPrototypes);
  } catch {
    return closeFrom = "missing";
  }
}

// posix_spawnattr_t, <spawn.h>, at most 336 bytes, all zero at first: short flags at 0
const attributes = new Uint8Array(512);
const POSIX_SPAWN_SETSIGMASK = 0x08; // the mask in it is empty
const POSIX_SPAWN_SETSID = 0x80;
attributes[0] = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID;

const encode = (text: string) => new TextEncoder().encode(`${text}\0`);

/** Makes a pipe of which no child gets an end unless it is handed over. */
export function makePipe(): { result: number; reader: number; writer: number } {
  const ends = new Int32Array(2);
  const { pipe2 } = before ?? loadBefore();
  const result = answer(pipe2(new Uint8Array(ends.buffer), abi.flags.O_CLOEXEC));
  return { result, reader: ends[0]!, writer: ends[1]! };
}

/**
 * Starts a program that is looked for in PATH, with the environment of this process as libc knows it,
 * and its standard input and output. Returns its number, or the negative number of an error: ENOENT
 * if there is no such program. On systems whose libc is older than glibc 2.34 it inherits those
 * descriptors that this process inherited itself.
 */
export function spawn(command: readonly string[], input: number, output: number): number {
  const { posix_spawnp, adddup2 } = before ?? loadBefore();
  const closing = closeFrom ?? loadCloseFrom();
  // posix_spawn_file_actions_t, <spawn.h>, at most 80 bytes, all zero at first
  const actions = new Uint8Array(128);
  adddup2(actions, input, 0);
  adddup2(actions, output, 1);
  if (closing !== "missing") closing.addclosefrom(actions, 3);
  const words = command.map(encode);
  const pointers = new BigUint64Array([...words.map((word) => BigInt(addressOf(word))), 0n]);
  const pid = new Int32Array(1);
  const failure = posix_spawnp(
    new Uint8Array(pid.buffer),
    words[0]!,
    actions,
    attributes,
    new Uint8Array(pointers.buffer),
    environment(),
  );
  (after ?? loadAfter()).destroy(actions);
  return failure === 0 ? pid[0]! : -failure;
}

/** The environment of this process: what `char **environ` points to. */
function environment(): number {
  const address = before!.dlsym(abi.defaultSymbols, encode("environ"));
  return Number(new BigUint64Array(view(address, 8))[0]);
}

/** Writes all of a text, and returns 0, or the negative number of an error. */
export function writeText(fd: number, text: string): number {
  const { write } = before ?? loadBefore();
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) {
    const result = answer(write(fd, rest, rest.length));
    if (result === -errors.EINTR) continue;
    if (result < 0) return result;
    rest = rest.slice(result);
  }
  return 0;
}

/** Reads a line, or what there is of it when the other end is closed. */
export function readLine(fd: number): string {
  const { read } = after ?? loadAfter();
  const buffer = new Uint8Array(64);
  let said = "";
  for (;;) {
    const result = answer(read(fd, buffer, buffer.length));
    if (result === -errors.EINTR) continue;
    if (result <= 0) return said;
    said += new TextDecoder().decode(buffer.subarray(0, result));
    const end = said.indexOf("\n");
    if (end >= 0) return said.slice(0, end);
  }
}

/** Closes a descriptor. */
export function closeDescriptor(fd: number): void {
  (after ?? loadAfter()).close(fd);
}

/** Waits until a child has ended, and takes note of it. */
export function reap(pid: number): void {
  const { waitpid } = after ?? loadAfter();
  while (answer(waitpid(pid, null, 0)) === -errors.EINTR);
}
