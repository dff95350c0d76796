/**
 * `ipc sem`: the values of semaphores.
 *
 * @module
 */

import type { SemaphoreOperation } from "../ipc/semop.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { ListedSemaphores } from "../ipc/inventory.ts";
import { type Arguments, type Command, JSON_OPTION } from "./command.ts";
import { patience, persist, WAIT_OPTIONS } from "./duration.ts";
import { CommandError, DONE, UsageError } from "./errors.ts";
import { print, printJson } from "./output.ts";
import { findOne, nameOf } from "./target.ts";

function whole(text: string | undefined, fallback: number | undefined): number {
  const number = text === undefined ? fallback : Number(text);
  if (number !== undefined && Number.isInteger(number) && number >= 0) return number;
  throw new UsageError(`expected a whole number, not "${text ?? ""}"`, "sem");
}

/** Reads operations such as `+1 -1u 0 2:+3`: an index at will, an amount, and u for undo. */
export function operationsOf(text: string, index: number): SemaphoreOperation[] {
  return text.trim().split(/[\s,]+/).map((word) => {
    const [, at, amount, undo] = /^(?:(\d+):)?([+-]?\d+)(u?)$/.exec(word) ?? [];
    if (amount === undefined) {
      throw new UsageError(`"${word}" is no operation: expected +1, -1, 0, -1u or 2:+1`, "sem");
    }
    const operation = { index: at === undefined ? index : Number(at), delta: Number(amount) };
    return undo === "u" ? { ...operation, undo: true } : operation;
  });
}

function printValues({ values }: ListedSemaphores, given: Arguments): void {
  const text = given.get("index");
  const index = text === undefined ? undefined : whole(text, undefined);
  const chosen = index === undefined ? values! : values!.slice(index, index + 1);
  if (chosen.length === 0) throw new CommandError(`the set has ${values!.length} semaphores`);
  if (given.has("json")) printJson(index === undefined ? values : chosen[0]);
  else print(chosen.join(" "));
}

function operate(
  object: ListedSemaphores,
  operations: readonly SemaphoreOperation[],
  given: Arguments,
): void {
  const set = SemaphoreSet.fromId(object.id);
  const missed = `${nameOf(object)} does not allow it`;
  persist(patience(given), missed, (timeout) => set.operateSync(operations, { timeout }));
}

export const command: Command = {
  name: "sem",
  summary: "Read and change the values of semaphores.",
  usage: [
    "ID|KEY|NAME get",
    "ID|KEY|NAME set VALUE",
    "ID|KEY|NAME increment|decrement [AMOUNT]",
    'ID|KEY|NAME op "+1 -1u 0 2:+3"',
  ],
  options: [
    { name: "index", short: "i", value: "INDEX", help: "which semaphore of the set, 0 by default" },
    ...WAIT_OPTIONS,
    JSON_OPTION,
  ],
  notes: [
    "op does all operations in one atomic step, and waits until it can: an amount is added, a",
    "negative one waits until the value allows it, 0 waits for the value 0. INDEX: comes first",
    "for another semaphore, u last for undo, which happens as soon as ipc ends.",
    "set takes the undo of all processes away. Mutexes and other primitives can only be read.",
  ],
  run(given) {
    const [word, verb = "get", amount, ...more] = given.words;
    if (word === undefined || more.length > 0) throw new UsageError("expected a set", "sem");
    const object = findOne(word, "sem");
    if (object.values === undefined) {
      throw new CommandError(`cannot read ${nameOf(object)}: ${object.hidden}`);
    }
    const index = whole(given.get("index"), 0);
    if (verb === "get") printValues(object, given);
    else if (verb === "set") {
      SemaphoreSet.fromId(object.id).at(index).value = whole(amount, undefined);
    } else if (verb === "increment" || verb === "decrement") {
      const by = whole(amount, 1);
      operate(object, [{ index, delta: verb === "increment" ? by : -by }], given);
    } else if (verb === "op" && amount !== undefined) {
      operate(object, operationsOf(amount, index), given);
    } else throw new UsageError(`expected get, set, increment, decrement or op`, "sem");
    return DONE;
  },
};
