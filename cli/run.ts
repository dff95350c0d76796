/**
 * `ipc run` and `ipc lock`: a command that runs when a slot is free.
 *
 * The slot is a ticket of a bulkhead, taken with undo, and `ipc` becomes the command by exec: one
 * process, which keeps the undo. So there is no `ipc` left to die before the command, the slot comes
 * back however the process ends, and signals, descriptors and the exit code are the command's own.
 *
 * @module
 */

import { geteuid } from "../ffi/calls.ts";
import { execute } from "../ffi/program.ts";
import { reasonOf } from "../ffi/error.ts";
import { handlerOf, SIG_IGN } from "../wait/interrupt.ts";
import { Bulkhead } from "../sync/bulkhead.ts";
import type { Arguments, Command, Option } from "./command.ts";
import { patience, persist, WAIT_OPTIONS } from "./duration.ts";
import {
  CommandError,
  lineOf,
  NOT_EXECUTABLE,
  NOT_FOUND,
  NOT_IN_TIME,
  RUN_FAILED,
  UsageError,
} from "./errors.ts";
import { user } from "./output.ts";
import { keyFrom } from "./target.ts";

const OPTIONS: readonly Option[] = [
  { name: "name", value: "NAME", help: "the name, or key, by which all find the slots" },
  ...WAIT_OPTIONS,
  { name: "allow-foreign", help: "use slots that another user has created" },
  { name: "mode", value: "MODE", help: "the permissions of new slots, 600 by default" },
];

const NOTES = [
  "ipc becomes the command: same process, exit code, signals and files. When it ends, by",
  "SIGKILL too, the kernel frees the slot. What it leaves running in the background has none.",
  "",
  `Exit codes: the command's; ${NOT_IN_TIME} if no slot was free in time, ${RUN_FAILED} if there can be no slot,`,
  `${NOT_EXECUTABLE} if the command cannot be executed, ${NOT_FOUND} if there is none, 2 for wrong usage.`,
];

/** What to run, and by which name. */
function readWords(given: Arguments, name: string): { slots: string; command: readonly string[] } {
  const slots = given.get("name") ?? given.words[0];
  const { command } = given;
  if (slots === undefined) throw new UsageError("expected a --name for the slots", name);
  if (command.length === 0) throw new UsageError("expected a command to run", name);
  return { slots, command };
}

/** Opens the slots, as many as wanted: without a wish as many as there are, or one. */
function openSlots(word: string, slots: number | undefined, given: Arguments): Bulkhead {
  const key = keyFrom(word);
  const mode = parseInt(given.get("mode") ?? "600", 8);
  const allowForeign = given.has("allow-foreign");
  if (slots !== undefined) {
    return Bulkhead.openOrCreate(key, { tickets: slots, mode, allowForeign });
  }
  for (;;) {
    try {
      const bulkhead = Bulkhead.open(key);
      if (!allowForeign) refuseForeign(bulkhead, word);
      return bulkhead;
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOENT") throw error;
    }
    try {
      return Bulkhead.create({ key, tickets: 1, mode, owner: false });
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
  }
}

/** A name can be squatted on: who created the slots can take them away. */
function refuseForeign(bulkhead: Bulkhead, word: string): void {
  const { creatorUid } = bulkhead.stat();
  if (creatorUid === geteuid()) return;
  const message = `user ${user(creatorUid)} created the slots of "${word}": add --allow-foreign`;
  throw new CommandError(message, RUN_FAILED);
}

/** Opens the slots and takes one if one is free. A reaper may remove them in between. */
function openAndTry(word: string, slots: number | undefined, given: Arguments) {
  for (;;) {
    try {
      const bulkhead = openSlots(word, slots, given);
      return { bulkhead, isTaken: bulkhead.tryAcquire() !== undefined };
    } catch (error) {
      if ((error as { code?: string }).code !== "EIDRM") throw error;
    }
  }
}

/** Takes a slot, which belongs to this process from then on. */
function takeSlot(word: string, slots: number | undefined, given: Arguments): void {
  try {
    const { bulkhead, isTaken } = openAndTry(word, slots, given);
    if (isTaken) return;
    const missed = `no slot of "${word}" is free`;
    persist(patience(given), missed, (timeout) => bulkhead.acquireSync({ timeout }));
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(lineOf(error), RUN_FAILED);
  }
}

/** SIGHUP, SIGINT, SIGQUIT and SIGTERM, which `nohup` or a shell may have set to be ignored. */
const INHERITED_SIGNALS = [1, 2, 3, 15];

/** Takes a slot and becomes the command. */
function becomeCommand(given: Arguments, name: string, slots: number | undefined): never {
  const { slots: word, command } = readWords(given, name);
  // Deno handles some of them itself if this takes long.
  const ignored = INHERITED_SIGNALS.filter((number) => handlerOf(number) === SIG_IGN);
  takeSlot(word, slots, given);
  const errno = -execute(command, ignored);
  const ENOENT = 2;
  throw new CommandError(
    `cannot execute "${command[0]}": ${
      errno === ENOENT ? "there is no such command" : reasonOf(errno)
    }`,
    errno === ENOENT ? NOT_FOUND : NOT_EXECUTABLE,
  );
}

export const command: Command = {
  name: "run",
  summary: "Run a command when one of some slots is free.",
  usage: ["--slots 3 --name build [OPTIONS] -- COMMAND [ARGUMENT]..."],
  options: [
    {
      name: "slots",
      short: "s",
      value: "N",
      help: "how many run at once; what was said last counts",
    },
    ...OPTIONS,
  ],
  notes: NOTES,
  wraps: 0,
  run(given) {
    const slots = given.number("slots");
    if (slots !== undefined && !(Number.isInteger(slots) && slots >= 1 && slots <= 16383)) {
      throw new UsageError("--slots is a whole number from 1 to 16383", "run");
    }
    return becomeCommand(given, "run", slots);
  },
};

export const lock: Command = {
  name: "lock",
  summary: "Run a command when no other runs under the same name.",
  usage: ["[OPTIONS] NAME COMMAND [ARGUMENT]...", "[OPTIONS] NAME -- COMMAND [ARGUMENT]..."],
  options: OPTIONS,
  notes: NOTES,
  wraps: 1,
  run: (given) => becomeCommand(given, "lock", 1),
};
