/**
 * Becoming another program, the environment, and the names of users, as libc knows them: without the
 * permissions that a runtime asks for.
 *
 * @module
 */

import type { Calls } from "./backend.ts";
import { answer, bind, signal } from "./calls.ts";
import { addressOf, view } from "./memory.ts";
import { abi } from "./platforms.ts";
import { programPrototypes } from "./program_symbols.ts";
import { getFlags, setFlags } from "./unix_calls.ts";

let libc: Calls<typeof programPrototypes> | undefined;
const load = () => libc = bind(programPrototypes);

const encode = (text: string) => new TextEncoder().encode(`${text}\0`);

/** Signals that runtimes ignore, which a program that expects to be ended by them would inherit. */
const IGNORED_BY_RUNTIMES = [13, 25]; // SIGPIPE, SIGXFSZ
const SIG_DFL = 0, SIG_IGN = 1;
const F_SETFD = 2;

/**
 * Becomes another program, which is looked for in PATH: same process, same descriptors, same undo. All
 * other threads end. Signals to ignore are handed over as ignored. Returns only if it fails, with the
 * negative number of the error.
 */
export function execute(command: readonly string[], ignored: readonly number[]): number {
  const words = command.map(encode);
  const pointers = new BigUint64Array([...words.map((word) => BigInt(addressOf(word))), 0n]);
  for (const number of IGNORED_BY_RUNTIMES) signal(number, SIG_DFL);
  for (const number of ignored) signal(number, SIG_IGN);
  handOverStandardFiles();
  return answer((libc ?? load()).execvp(words[0]!, new Uint8Array(pointers.buffer)));
}

/** Node has its standard input, output and error closed in what it becomes, and blocks on no pipe there. */
function handOverStandardFiles(): void {
  const { fcntl } = libc ?? load();
  for (const fd of [0, 1, 2]) {
    fcntl(fd, F_SETFD, 0);
    const flags = getFlags(fd);
    if (flags >= 0 && flags & abi.flags.O_NONBLOCK) setFlags(fd, flags & ~abi.flags.O_NONBLOCK);
  }
}

/** Reads a variable of the environment. */
export function getenv(name: string): string | undefined {
  return textAt((libc ?? load()).getenv(encode(name)));
}

/** Returns the name of a user, undefined if he has none. */
export function userName(uid: number): string | undefined {
  // struct passwd, <pwd.h>: char *pw_name at 0
  const entry = (libc ?? load()).getpwuid(uid);
  return entry === 0 ? undefined : textAt(Number(new BigUint64Array(view(entry, 8))[0]));
}

function textAt(address: number): string | undefined {
  if (address === 0) return undefined;
  const length = libc!.strlen(address);
  // Copied first, as the text is memory of libc.
  return length === 0
    ? ""
    : new TextDecoder().decode(new Uint8Array(view(address, length)).slice());
}
