/**
 * `ipc limits`: the limits of the system.
 *
 * @module
 */

import { type Limit, limits } from "../ipc/inventory.ts";
import { type Command, JSON_OPTION } from "./command.ts";
import { DONE } from "./errors.ts";
import { type Column, green, printJson, printTable, red, yellow } from "./output.ts";

const percentOf = ({ percent }: Limit) => percent === undefined ? "-" : `${percent.toFixed(1)} %`;

const columns: readonly Column<Limit>[] = [
  { title: "LIMIT", text: ({ name }) => name },
  { title: "WHAT", text: ({ what }) => what },
  { title: "USED", right: true, text: ({ used }) => used === undefined ? "-" : String(used) },
  { title: "OF", right: true, text: ({ max }) => max > 2 ** 53 ? "unlimited" : String(max) },
  {
    title: "PER CENT",
    right: true,
    text: percentOf,
    paint: (text, { percent = 0 }) =>
      percent >= 90 ? red(text) : percent >= 50 ? yellow(text) : green(text),
  },
  { title: "SET BY", text: ({ setting }) => setting ?? "-" },
];

export const command: Command = {
  name: "limits",
  summary: "Show the limits of the system, and how much of each is used.",
  usage: ["[OPTIONS]"],
  options: [JSON_OPTION],
  run(given) {
    if (given.has("json")) printJson(limits());
    else printTable(columns, limits());
    return DONE;
  },
};
