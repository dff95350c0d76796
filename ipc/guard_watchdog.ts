/**
 * The watchdog of {@linkcode guard}: a shell that is told in lines what to remove, and does so when
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
import { ipcError } from "./object.ts";

/**
 * A line is `+` or `-` and an item: the letter of `ipcrm`, the identifier, the identifier and the key
 * of a count of users or two dashes, and a pattern. Identifiers come back when very many objects
 * have come and gone: what is removed has to match the pattern in /proc/sysvipc, where there is one.
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

newline='
'
held=
while read -r sign item; do
  case $sign in
    +) held=$held$item$newline ;;
    -) case $newline$held in
         *"$newline$item$newline"*)
           held=\${held%%"$item$newline"*}\${held#*"$item$newline"} ;;
       esac ;;
  esac
done
[ -n "$held" ] || exit 0

# Whether a count of users is there, and 0.
is_unused() {
  [ ! -r /proc/sysvipc/sem ] || grep -Eq "^ *$2 +$1 " /proc/sysvipc/sem || return 1
  ipcs -s -i "$1" | grep -Eq '^0 +0 '
}

set --
for type in s:sem q:msg m:shm; do
  letter=\${type%:*} table=/proc/sysvipc/\${type#*:} ids= patterns=
  while read -r kind id count key pattern; do
    [ "$kind" = "$letter" ] || continue
    if [ "$count" != - ]; then
      is_unused "$count" "$key" || continue
      set -- "$@" -s "$count"
    fi
    ids="$ids $id"
    patterns=$patterns\${patterns:+$newline}$pattern
  done <<END
$held
END
  [ -n "$ids" ] || continue
  if [ -r "$table" ]; then
    ids=$(grep -E "$patterns" "$table" | while read -r key id rest; do echo "$id"; done)
  fi
  for id in $ids; do set -- "$@" "-$letter" "$id"; done
done
[ $# = 0 ] || exec ipcrm "$@"
`;

/** As much as is written before the watchdog reads: a pipe holds it, so that writing does not block. */
const PIPE_ROOM = 4096;

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

  private constructor(pid: number, input: number) {
    this.#pid = pid;
    this.#input = input;
  }

  /**
   * Starts a watchdog, which holds the items from its first moment. Blocks the thread until it has
   * said that it runs, a few milliseconds.
   *
   * @throws {IpcError} ENOENT if a program that it needs is missing, ENOSYS but on Linux, EMFILE.
   */
  static start(items: readonly string[]): Watchdog {
    if (!abi.isLinux) throw failure(errors.ENOSYS, "posix_spawn");
    const input = checkedPipe();
    const reply = checkedPipe();
    const early = items.map((item) => `+ ${item}\n`).join("");
    // Written first, so that nothing is lost if this process is killed while the other starts.
    const isShort = early.length <= PIPE_ROOM;
    if (isShort) writeText(input.writer, early);
    const pid = spawn(["sh", "-c", SCRIPT], input.reader, reply.writer);
    closeDescriptor(input.reader);
    closeDescriptor(reply.writer);
    const said = pid < 0 ? "" : readLine(reply.reader);
    closeDescriptor(reply.reader);
    if (said === "ready") {
      if (!isShort) writeText(input.writer, early);
      return new Watchdog(pid, input.writer);
    }
    closeDescriptor(input.writer);
    if (pid < 0) throw missing(-pid, "sh");
    reap(pid);
    throw missing(errors.ENOENT, said);
  }

  /** Has it remove an item, and returns false if it has been killed. */
  add(item: string): boolean {
    return this.#tell(`+ ${item}\n`);
  }

  /** Calls an item off, and returns false if it has been killed. */
  drop(item: string): boolean {
    return this.#tell(`- ${item}\n`);
  }

  /** Ends it: it removes what it holds. */
  end(): void {
    closeDescriptor(this.#input);
    reap(this.#pid);
  }

  #tell(text: string): boolean {
    return writeText(this.#input, text) >= 0;
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
  return ipcError(errno, syscall, "start the watchdog of guarded objects", {}, reason);
}
