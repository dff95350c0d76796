/**
 * The watchdog of {@linkcode guard}: a shell that reads lines that say what to remove, and does so when
 * its input ends, as it does however this process ends.
 *
 * It runs in a session of its own and ignores what a terminal or an operator sends to everybody; it
 * holds no descriptor of ours but its end of the pipe. Our end is closed in every child that execs,
 * so that no other process keeps it open.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { closeDescriptor, makePipe, readLine, reap, spawn, writeText } from "../ffi/spawn.ts";
import { ipcError } from "../ffi/error.ts";

/**
 * A line is `+`, a number and an item, or `-` and the number. An item is the letter of `ipcrm`, the
 * identifier, the key, the user who created the object, and the identifier and key of a count of
 * users, or nothing. Identifiers come back when very many objects have come and gone: what is removed
 * has to stand in /proc/sysvipc with the same key and creator, where there is such a file.
 */
const SCRIPT = `
trap '' HUP INT QUIT TERM PIPE ALRM USR1 USR2 TSTP TTIN TTOU
cd /
export LC_ALL=C
for tool in ipcrm ipcs grep; do
  command -v "$tool" >/dev/null || { echo "$tool"; exit 1; }
done
echo ready
exec >/dev/null 2>&1

end=0
while read -r sign slot item; do
  case $sign in
    +) eval "item_$slot=\\$item"
       [ "$slot" -lt "$end" ] || end=$((slot + 1)) ;;
    -) unset "item_$slot" ;;
  esac
done

newline='
'
number='[0-9]+ +'
ids_s= ids_q= ids_m= patterns_s= patterns_q= patterns_m=
add() { # letter, identifier, pattern
  eval "ids_$1=\\"\\$ids_$1 $2\\" patterns_$1=\\$patterns_$1\\$newline\\$3"
}
while [ "$end" -gt 0 ]; do
  end=$((end - 1))
  eval "set -- \\\${item_$end-}"
  [ $# -gt 0 ] || continue
  if [ $# -gt 4 ]; then
    # The first semaphore of the count is 0 when the last user is gone.
    ipcs -s -i "$5" | grep -Eq '^0 +0 ' || continue
    add s "$5" "^ *$6 +$5 "
  fi
  case $1 in
    s) between=$number$number$number$number ;;
    *) between=$number$number$number$number$number$number$number ;;
  esac
  add "$1" "$2" "^ *$3 +$2 +$between$4 "
done

set --
for type in s:sem q:msg m:shm; do
  letter=\${type%:*} table=/proc/sysvipc/\${type#*:}
  eval "ids=\\$ids_$letter patterns=\\\${patterns_$letter#?}"
  [ -n "$ids" ] || continue
  if [ -r "$table" ]; then
    ids=$(grep -E "$patterns" "$table" | while read -r key id rest; do echo "$id"; done)
  fi
  for id in $ids; do set -- "$@" "-$letter" "$id"; done
done
[ $# = 0 ] || exec ipcrm "$@"
`;

/** What is written before the watchdog reads: a pipe holds so much, so that writing does not block. */
const MAX_EARLY_LINES = 32;

const packages: Readonly<Record<string, string>> = {
  sh: "a shell",
  grep: "grep",
  ipcrm: "util-linux",
  ipcs: "util-linux",
};

/** A watchdog that runs, until it is ended. */
export class Watchdog {
  readonly #pid: number;
  readonly #input: number;
  /** The numbers of the items that it holds. */
  readonly #slots = new Map<string, number>();
  readonly #freeSlots: number[] = [];

  /**
   * Starts a watchdog, which holds the items from its first moment. Blocks the thread until it has
   * said that it runs, a few milliseconds.
   *
   * @throws {IpcError} ENOENT if a program that it needs is missing, ENOSYS but on Linux, EMFILE.
   */
  constructor(items: Iterable<string>) {
    if (!abi.isLinux) throw failure(errors.ENOSYS, "posix_spawn");
    const input = checkedPipe();
    const reply = checkedPipe();
    this.#input = input.writer;
    const lines = Array.from(items, (item) => this.#line(item));
    // Written first, so that nothing is lost if this process is killed while the other starts.
    const early = lines.splice(0, MAX_EARLY_LINES);
    writeText(input.writer, early.join(""));
    this.#pid = spawn(["sh", "-c", SCRIPT], input.reader, reply.writer);
    closeDescriptor(input.reader);
    closeDescriptor(reply.writer);
    const said = this.#pid < 0 ? "" : readLine(reply.reader);
    closeDescriptor(reply.reader);
    if (said !== "ready") {
      closeDescriptor(input.writer);
      if (this.#pid < 0) throw missing(-this.#pid, "sh");
      reap(this.#pid);
      throw missing(errors.ENOENT, said);
    }
    for (const line of lines) this.#tell(line);
  }

  /** Has it remove an item, and returns false if it has been killed. */
  add(item: string): boolean {
    return this.#tell(this.#line(item));
  }

  /** Calls an item off. */
  drop(item: string): void {
    const slot = this.#slots.get(item);
    if (slot === undefined) return;
    this.#slots.delete(item);
    this.#freeSlots.push(slot);
    this.#tell(`- ${slot}\n`);
  }

  /** Ends it: it removes what it holds. */
  end(): void {
    closeDescriptor(this.#input);
    reap(this.#pid);
  }

  #line(item: string): string {
    const slot = this.#freeSlots.pop() ?? this.#slots.size;
    this.#slots.set(item, slot);
    return `+ ${slot} ${item}\n`;
  }

  #tell(line: string): boolean {
    return writeText(this.#input, line) >= 0;
  }
}

function checkedPipe(): { reader: number; writer: number } {
  const pipe = makePipe();
  if (pipe.result < 0) throw failure(-pipe.result, "pipe2");
  return pipe;
}

function missing(errno: number, tool: string): Error {
  if (errno !== errors.ENOENT || tool === "") return failure(errno, "posix_spawn");
  const reason = `the watchdog needs "${tool}", which is not in PATH: install ${packages[tool]}`;
  return failure(errno, "posix_spawn", reason);
}

function failure(errno: number, syscall: string, reason?: string): Error {
  return ipcError(errno, "start the watchdog of guarded objects", { syscall, reason });
}
