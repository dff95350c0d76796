/**
 * `ipc reap`: removing what dead programs have left.
 *
 * @module
 */

import { type ObjectType, type Orphan, orphans } from "../ipc/inventory.ts";
import { type Command, JSON_OPTION } from "./command.ts";
import { duration } from "./duration.ts";
import { CommandError, DONE, FAILED, WRONG_USAGE } from "./errors.ts";
import { columns, jsonOf, TYPE_OPTION } from "./ls.ts";
import { complain, confirm, isInteractive, print, printJson, printTable, span } from "./output.ts";
import { remove } from "./remove.ts";
import { nameOf } from "./target.ts";

/** Removes an orphan that still is one: somebody may have come meanwhile. */
function reap({ object }: Orphan): string | undefined {
  const { type, id } = object;
  const isStill = orphans({ type }).some((orphan) => orphan.object.id === id);
  return isStill ? remove(object) : `${nameOf(object)} is left alone: it is in use by now, or gone`;
}

function show(found: readonly Orphan[], isJson: boolean): void {
  if (isJson) {
    return printJson(found.map(({ object, reason, age }) => ({
      ...jsonOf(object) as Record<string, unknown>,
      reason,
      age,
    })));
  }
  const of = new Map(found.map((orphan) => [orphan.object, orphan]));
  printTable([
    ...columns.filter(({ title }) => title !== "USED"),
    { title: "AGE", right: true, text: (object) => span(of.get(object)!.age) },
    { title: "REASON", text: (object) => of.get(object)!.reason },
  ], found.map(({ object }) => object));
}

export const command: Command = {
  name: "reap",
  summary: "Remove what dead programs seem to have left, after a question.",
  usage: ["[OPTIONS]"],
  options: [
    TYPE_OPTION,
    { name: "dry-run", help: "show what would be removed, and remove nothing" },
    { name: "older", value: "TIME", help: "only what was not used for so long: 30m, 1h, 2d" },
    { name: "yes", short: "y", help: "do not ask" },
    JSON_OPTION,
  ],
  notes: [
    "An object is taken for left behind if all processes that the kernel remembers of it are",
    "dead and nobody is attached, waits or holds anything. It is looked at again before it is",
    "removed. That is never certain: a queue may be meant to outlive its programs.",
  ],
  run(given) {
    const older = given.get("older");
    const least = older === undefined ? 0 : duration(older, "older");
    const type = given.get("type") as ObjectType | undefined;
    const found = orphans({ type }).filter(({ age }) => age >= least);
    if (given.has("json") || found.length > 0) show(found, given.has("json"));
    if (found.length === 0 || given.has("dry-run")) return DONE;
    if (!given.has("yes")) {
      if (!isInteractive()) {
        throw new CommandError("there is nobody to ask: add --yes, or --dry-run", WRONG_USAGE);
      }
      if (!confirm(`Remove ${found.length === 1 ? "it" : `these ${found.length}`}?`)) return FAILED;
    }
    const failures = found.map(reap).filter((failure) => failure !== undefined);
    for (const failure of failures) complain(`ipc reap: ${failure}`);
    if (!given.has("json")) print(`Removed ${found.length - failures.length} of ${found.length}`);
    return failures.length === 0 ? DONE : FAILED;
  },
};
