/**
 * `ipc show`: all that is known of an object.
 *
 * @module
 */

import type { KnownProcess, ListedObject, ObjectType } from "../ipc/inventory.ts";
import { type Command, JSON_OPTION } from "./command.ts";
import { DONE, UsageError } from "./errors.ts";
import { jsonOf, stateOf, TYPE_OPTION } from "./ls.ts";
import { ago, bold, print, printJson, red, user } from "./output.ts";
import { findOne, hex, nameOf } from "./target.ts";

const time = (date: Date | undefined) =>
  date === undefined ? "never" : `${date.toISOString().replace(".000Z", "Z")} (${ago(date)} ago)`;

function processLine({ pid, role, alive }: KnownProcess): [string, string] {
  return [role, `pid ${pid}, ${alive ? "alive" : red("gone")}`];
}

/** The lines of an object: what it is, and what that is. */
function linesOf(object: ListedObject): [string, string][] {
  const { uid, gid, creatorUid, creatorGid, mode, key, hidden } = object;
  const lines: [string, string][] = [
    ["state", stateOf(object)],
    ["key", key === undefined ? "none" : hex(key)],
    ["owner", `${user(uid)}, group ${gid}`],
    ["creator", `${user(creatorUid)}, group ${creatorGid}`],
    ["mode", mode.toString(8).padStart(3, "0")],
    ["in use", object.inUse ? "yes" : "not that one could see"],
    ...specific(object),
    ["changed", time(object.lastChange)],
  ];
  if (hidden !== undefined) lines.push(["hidden", hidden]);
  return [...lines, ...object.processes.map(processLine)];
}

function specific(object: ListedObject): [string, string][] {
  if (object.type === "queue") {
    return [
      ["messages", `${object.messages}, ${object.bytes} of ${object.maxBytes} bytes`],
      ["sent", time(object.lastSend)],
      ["received", time(object.lastReceive)],
    ];
  }
  if (object.type === "memory") {
    return [
      ["size", `${object.size} bytes${object.locked ? ", locked" : ""}`],
      ["attachments", String(object.attachments)],
      ["attached", time(object.lastAttach)],
      ["detached", time(object.lastDetach)],
    ];
  }
  return [
    ["kind", object.kind ?? (object.hidden === undefined ? "another program's" : "hidden")],
    ["values", object.values?.join(", ") ?? "hidden"],
    ["waiting", object.waiting?.join(", ") ?? "hidden"],
    ["operated", time(object.lastOperation)],
  ];
}

export const command: Command = {
  name: "show",
  summary: "Show all that is known of an object.",
  usage: ["[OPTIONS] ID|KEY|NAME"],
  options: [TYPE_OPTION, JSON_OPTION],
  notes: [
    "A number is an identifier, 0x and up to eight digits a key, and all else a name, whose key",
    "is computed. No name can be computed of a key.",
  ],
  run(given) {
    const [word, ...more] = given.words;
    if (word === undefined || more.length > 0) throw new UsageError("expected one object", "show");
    const object = findOne(word, given.get("type") as ObjectType | undefined);
    if (given.has("json")) printJson(jsonOf(object));
    else {
      const lines = linesOf(object);
      const width = Math.max(...lines.map(([name]) => name.length));
      print(
        bold(nameOf(object)),
        ...lines.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`),
      );
    }
    return DONE;
  },
};
