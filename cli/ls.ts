/**
 * `ipc ls`: what the kernel holds.
 *
 * @module
 */

import { geteuid } from "../ffi/calls.ts";
import { list, type ListedObject, type ObjectType, orphans } from "../ipc/inventory.ts";
import { type Command, JSON_OPTION } from "./command.ts";
import { DONE, UsageError } from "./errors.ts";
import { ago, type Column, dim, print, printJson, printTable, red, size, user } from "./output.ts";
import { findAll, hex } from "./target.ts";

export const TYPES: readonly ObjectType[] = ["sem", "queue", "memory"];
export const TYPE_OPTION = {
  name: "type",
  value: "TYPE",
  choices: TYPES,
  help: "only this type",
} as const;

/** Shows how large an object is. */
export function sizeOf(object: ListedObject): string {
  if (object.type === "sem") return String(object.size);
  if (object.type === "memory") return size(object.size);
  return `${size(object.bytes)}/${size(object.maxBytes)}`;
}

/** Shows what an object is and means. */
export function stateOf(object: ListedObject): string {
  const { meaning } = object;
  const isOurs = object.type === "sem" && object.kind !== undefined && object.kind !== "set";
  return isOurs ? `${object.kind}: ${meaning}` : meaning;
}

export const columns: readonly Column<ListedObject>[] = [
  { title: "TYPE", text: ({ type }) => type },
  { title: "ID", right: true, text: ({ id }) => String(id) },
  { title: "KEY", text: ({ key }) => key === undefined ? "-" : hex(key), paint: dim },
  { title: "OWNER", text: ({ uid }) => user(uid) },
  { title: "MODE", text: ({ mode }) => mode.toString(8).padStart(3, "0") },
  { title: "SIZE", right: true, text: sizeOf },
  { title: "USED", right: true, text: ({ lastUse }) => ago(lastUse) },
  {
    title: "STATE",
    text: stateOf,
    paint: (text, { hidden }) => hidden === undefined ? text : red(text),
  },
];

/** The objects that some words name, each once, or all; with the names. */
function chosen(words: readonly string[], type: ObjectType | undefined) {
  const names = new Map<string, string>();
  if (words.length === 0) return { objects: list({ type }), names };
  const found = words.flatMap((word) =>
    findAll(word, type).map((object) => {
      const place = `${object.type} ${object.id}`;
      if (!names.has(place)) names.set(place, word);
      return [place, object] as const;
    })
  );
  return { objects: [...new Map(found).values()], names };
}

export const command: Command = {
  name: "ls",
  summary: "List semaphore sets, message queues and shared memory.",
  usage: ["[OPTIONS] [ID|KEY|NAME]..."],
  options: [
    TYPE_OPTION,
    { name: "orphans", help: "only what dead programs seem to have left" },
    { name: "mine", help: "only what this user owns" },
    {
      name: "format",
      value: "FORMAT",
      choices: ["table", "json", "prometheus"],
      help: "how to print",
    },
    JSON_OPTION,
  ],
  notes: [
    "USED is how long ago an object was used, or else created or changed. In the prometheus",
    "format, objects that are given by name have a label with the name.",
  ],
  async run(given) {
    const type = given.get("type") as ObjectType | undefined;
    const format = given.has("json") ? "json" : given.get("format") ?? "table";
    if (given.has("json") && (given.get("format") ?? "json") !== "json") {
      throw new UsageError("--json and another --format", "ls");
    }
    const left = new Map(
      (given.has("orphans") ? orphans({ type }) : []).map((
        orphan,
      ) => [`${orphan.object.type} ${orphan.object.id}`, orphan]),
    );
    const { objects: all, names } = chosen(given.words, type);
    const objects = all.filter((object) =>
      (!given.has("mine") || object.uid === geteuid()) &&
      (!given.has("orphans") || left.has(`${object.type} ${object.id}`))
    );
    if (format === "json") printJson(objects.map(jsonOf));
    else if (format === "prometheus") {
      const { metricsOf } = await import("./prometheus.ts");
      print(...metricsOf(objects, names));
    } else if (!given.has("orphans")) printTable(columns, objects);
    else {
      printTable([...columns, {
        title: "REASON",
        text: ({ type, id }) => left.get(`${type} ${id}`)!.reason,
      }], objects);
    }
    return DONE;
  },
};

/** An object as JSON has it: the key in hexadecimal too, as other tools show it. */
export function jsonOf(object: ListedObject): unknown {
  const { key, mode } = object;
  return {
    ...object,
    key: key ?? null,
    keyHex: key === undefined ? null : hex(key),
    modeOctal: mode.toString(8).padStart(3, "0"),
    hidden: object.hidden ?? null,
  };
}
