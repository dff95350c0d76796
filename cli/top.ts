/**
 * `ipc top`: a live screen.
 *
 * @module
 */

import process from "node:process";
import { limits, list, type ListedObject, orphans } from "../ipc/inventory.ts";
import type { Command } from "./command.ts";
import { duration } from "./duration.ts";
import { CommandError, DONE, UsageError } from "./errors.ts";
import { TYPES } from "./ls.ts";
import { print } from "./output.ts";
import { remove } from "./remove.ts";
import { nameOf } from "./target.ts";
import { Terminal } from "./terminal.ts";
import { frame, placeOf, SORTS, type View, visible } from "./top_view.ts";

const EMPTY: View = {
  objects: [],
  limits: [],
  rates: new Map(),
  orphans: new Set(),
  sort: "type",
  type: undefined,
  onlyOrphans: false,
  selected: undefined,
  message: undefined,
  time: new Date(0),
};

/** Looks at the kernel again. */
function refreshed(view: View): View {
  const time = new Date();
  const objects = list();
  const seconds = (time.getTime() - view.time.getTime()) / 1000;
  const before = new Map(view.objects.map((object) => [placeOf(object), object]));
  const rates = new Map<number, number>();
  for (const object of objects) {
    const last = before.get(placeOf(object));
    if (object.type !== "queue" || last?.type !== "queue") continue;
    rates.set(object.id, (object.messages - last.messages) / Math.max(seconds, 0.001));
  }
  const left = new Set(orphans().map(({ object }) => placeOf(object)));
  return reselected({ ...view, time, objects, rates, orphans: left, limits: limits() }, view);
}

/** Keeps the selection, or moves it to what stands there now if the object has gone. */
function reselected(view: View, before: View): View {
  const shown = visible(view).map(placeOf);
  const { selected } = view;
  if (selected === undefined || shown.includes(selected)) return view;
  const place = visible(before).findIndex((object) => placeOf(object) === selected);
  return { ...view, selected: shown[Math.min(Math.max(place, 0), shown.length - 1)] };
}

function moved(view: View, by: number): View {
  const shown = visible(view).map(placeOf);
  const from = view.selected === undefined ? (by > 0 ? -1 : 0) : shown.indexOf(view.selected);
  return { ...view, selected: shown[Math.min(Math.max(from + by, 0), shown.length - 1)] };
}

function next<Value>(values: readonly Value[], value: Value): Value {
  return values[(values.indexOf(value) + 1) % values.length]!;
}

const selectedOf = ({ objects, selected }: View): ListedObject | undefined =>
  objects.find((object) => placeOf(object) === selected);

/** Answers the question whether to remove the selected object. */
function answered(view: View, key: string): View {
  const object = selectedOf(view);
  if (key !== "y" && key !== "Y") return { ...view, message: undefined };
  if (object === undefined) return { ...view, message: "it has gone already" };
  return refreshed({ ...view, message: remove(object) ?? `removed ${nameOf(object)}` });
}

const QUESTION = /^remove .*\? y\/n$/;

/** What a key does; undefined ends the screen. */
function pressed(view: View, key: string): View | undefined {
  if (key === "q" || key === "\x03") return undefined;
  if (view.message !== undefined && QUESTION.test(view.message)) return answered(view, key);
  const rested = { ...view, message: undefined };
  switch (key) {
    case "j":
    case "\x1b[B":
    case "\x1bOB":
      return moved(rested, +1);
    case "k":
    case "\x1b[A":
    case "\x1bOA":
      return moved(rested, -1);
    case "s":
      return { ...rested, sort: next(SORTS, view.sort) };
    case "t":
      return reselected({ ...rested, type: next([undefined, ...TYPES], view.type) }, view);
    case "o":
      return reselected({ ...rested, onlyOrphans: !view.onlyOrphans }, view);
    case "d":
    case "\x1b[3~": {
      const object = selectedOf(view);
      const message = object === undefined
        ? "select something first"
        : `remove ${nameOf(object)}? y/n`;
      return { ...rested, message };
    }
    default:
      return rested;
  }
}

/** Shows the screen until somebody has enough of it. */
async function watch(interval: number): Promise<number> {
  const terminal = new Terminal();
  try {
    let view = refreshed(EMPTY);
    for (;;) {
      terminal.draw(frame(view, terminal.window));
      const due = view.time.getTime() + interval - Date.now();
      const happening = await terminal.next(Math.max(due, 0));
      if (happening === "time passed") view = refreshed(view);
      else if (happening !== "resized") {
        if ("signal" in happening) {
          return 128 + { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[happening.signal as string]!;
        }
        const after = pressed(view, happening.key);
        if (after === undefined) return DONE;
        view = after;
      }
    }
  } finally {
    terminal[Symbol.dispose]();
  }
}

export const command: Command = {
  name: "top",
  summary: "Watch all objects on a live screen.",
  usage: ["[OPTIONS]"],
  options: [
    { name: "interval", value: "TIME", help: "look again after so long, 1s by default" },
    { name: "once", help: "print the screen once, as text" },
  ],
  notes: [
    "Keys: q or Ctrl-C ends it, up and down (or k and j) select, s sorts by type, use or size,",
    "t shows one type, o only orphans, d removes what is selected, after a question.",
    "Queues are shown with how fast the number of messages changes.",
  ],
  run(given) {
    if (given.words.length > 0) throw new UsageError("expected options alone", "top");
    const interval = duration(given.get("interval") ?? "1s", "interval");
    if (given.has("once")) {
      const view = refreshed(EMPTY);
      const width = process.stdout.columns || 120;
      const lines = frame(view, { width, height: visible(view).length + 4 }).slice(0, -1);
      print(...lines.map((line) => line.trimEnd()));
      return DONE;
    }
    if (process.stdin.isTTY && process.stdout.isTTY) return watch(interval);
    throw new CommandError("the screen needs a terminal: add --once to print it");
  },
};
