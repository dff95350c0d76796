/**
 * `ipc create`: new objects.
 *
 * @module
 */

import { MessageQueue } from "../ipc/message_queue.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import { SharedMemory } from "../ipc/shared_memory.ts";
import { type Arguments, type Command, JSON_OPTION } from "./command.ts";
import { DONE, UsageError } from "./errors.ts";
import { print, printJson } from "./output.ts";
import { hex, keyFrom } from "./target.ts";

interface Made {
  readonly id: number;
  readonly key: number | undefined;
}

const sizes: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** Reads a number of bytes such as 100, 64K or 1M. */
function bytes(text: string, option: string): number {
  const [, number, unit = ""] = /^(\d+)([KMG])?$/i.exec(text) ?? [];
  if (number !== undefined) return Number(number) * sizes[unit.toUpperCase()]!;
  throw new UsageError(`--${option} is a number of bytes such as 100, 64K or 1M, not "${text}"`);
}

function modeOf(given: Arguments): number {
  const text = given.get("mode") ?? "600";
  if (/^(0o)?[0-7]{3,4}$/.test(text)) return parseInt(text.replace("0o", ""), 8);
  throw new UsageError(`--mode is three octal digits such as 660, not "${text}"`, "create");
}

function valuesOf(given: Arguments): number[] {
  const values = (given.get("values") ?? "0").split(",").map(Number);
  if (values.every((value) => Number.isInteger(value) && value >= 0 && value <= 32767)) {
    return values;
  }
  throw new UsageError("--values are numbers from 0 to 32767 with commas between", "create");
}

const makers: Readonly<Record<string, (given: Arguments, key: number | undefined) => Made>> = {
  sem(given, key) {
    const options = { values: valuesOf(given), mode: modeOf(given) };
    return key !== undefined && given.has("or-open")
      ? SemaphoreSet.openOrCreate(key, options)
      : SemaphoreSet.create({ ...options, key, owner: false });
  },
  queue(given, key) {
    const max = given.get("max-bytes");
    const maxBytes = max === undefined ? undefined : bytes(max, "max-bytes");
    const options = { maxBytes, mode: modeOf(given) };
    return key !== undefined && given.has("or-open")
      ? MessageQueue.openOrCreate(key, options)
      : MessageQueue.create({ ...options, key, owner: false });
  },
  memory(given, key) {
    const text = given.get("size");
    if (text === undefined) throw new UsageError("memory needs a --size", "create");
    const options = { size: bytes(text, "size"), mode: modeOf(given) };
    return key !== undefined && given.has("or-open")
      ? SharedMemory.openOrCreate(key, options)
      : SharedMemory.create({ ...options, key, owner: false });
  },
};

export const command: Command = {
  name: "create",
  summary: "Create a semaphore set, a message queue or shared memory, and print its identifier.",
  usage: [
    "sem [--values 1,0] [OPTIONS] [KEY|NAME]",
    "queue [--max-bytes 64K] [OPTIONS] [KEY|NAME]",
    "memory --size 1M [OPTIONS] [KEY|NAME]",
  ],
  options: [
    { name: "values", value: "N,N...", help: "the values of the semaphores, one 0 by default" },
    { name: "max-bytes", value: "BYTES", help: "the most bytes that the queue holds" },
    { name: "size", value: "BYTES", help: "the size of the memory" },
    { name: "mode", value: "MODE", help: "the permissions, 600 by default" },
    { name: "or-open", help: "take the one that exists" },
    JSON_OPTION,
  ],
  notes: ["Without a key or name the object is private: others find it by its identifier alone."],
  run(given) {
    const [type = "", word, ...more] = given.words;
    const make = Object.hasOwn(makers, type) ? makers[type] : undefined;
    if (make === undefined || more.length > 0) {
      throw new UsageError("expected sem, queue or memory, and a key or name at most", "create");
    }
    const { id, key } = make(given, word === undefined ? undefined : keyFrom(word));
    if (!given.has("json")) print(String(id));
    else printJson({ type, id, key: key ?? null, keyHex: key === undefined ? null : hex(key) });
    return DONE;
  },
};
