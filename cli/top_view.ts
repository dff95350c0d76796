/**
 * What `ipc top` shows, as lines for a window of some size: no terminal and no kernel in here.
 *
 * @module
 */

import type { Limit, ListedObject, ObjectType } from "../ipc/inventory.ts";
import { sizeOf, stateOf } from "./ls.ts";
import { ago, bold, dim, green, inverse, printable, red, user, yellow } from "./output.ts";
import { hex } from "./target.ts";

/** By what the objects are sorted. */
export const SORTS = ["type", "use", "size"] as const;
export type Sort = typeof SORTS[number];

/** What is looked at, and how. */
export interface View {
  readonly objects: readonly ListedObject[];
  readonly limits: readonly Limit[];
  /** By how many messages a second a queue grows, by its identifier. */
  readonly rates: ReadonlyMap<number, number>;
  readonly orphans: ReadonlySet<string>;
  readonly sort: Sort;
  readonly type: ObjectType | undefined;
  readonly onlyOrphans: boolean;
  /** The place of the object that is selected. */
  readonly selected: string | undefined;
  /** A question or an answer, in the place of the keys. */
  readonly message: string | undefined;
  readonly time: Date;
}

/** A window, in characters. */
export interface Window {
  readonly width: number;
  readonly height: number;
}

/** Where an object stands among all. */
export const placeOf = ({ type, id }: ListedObject): string => `${type} ${id}`;

const KEYS = "q quit  up/down select  s sort  t type  o orphans  d remove";
const BAR_WIDTH = 12;

/** A piece of a line, coloured after it is cut to the window. */
interface Piece {
  readonly text: string;
  readonly paint?: ((text: string) => string) | undefined;
}

/** Cuts a line to a width, and colours its pieces. */
function fit(pieces: readonly Piece[], width: number): string {
  let room = width;
  return pieces.map(({ text, paint }) => {
    const shown = printable(text).slice(0, Math.max(room, 0));
    room -= shown.length;
    return paint?.(shown) ?? shown;
  }).join("");
}

/** The objects that are shown, in order. */
export function visible({ objects, type, onlyOrphans, orphans, sort }: View): ListedObject[] {
  const chosen = objects.filter((object) =>
    (type === undefined || object.type === type) && (!onlyOrphans || orphans.has(placeOf(object)))
  );
  if (sort === "use") chosen.sort((a, b) => b.lastUse.getTime() - a.lastUse.getTime());
  if (sort === "size") chosen.sort((a, b) => weight(b) - weight(a));
  return chosen;
}

/** How much an object holds: of different types it is compared as it comes. */
function weight(object: ListedObject): number {
  return object.type === "queue" ? object.bytes : object.size;
}

/** Draws a bar for a part of a whole. */
function bar(part: number, whole: number): Piece {
  const share = whole > 0 ? Math.min(part / whole, 1) : 0;
  const full = part > 0 ? Math.max(Math.round(share * BAR_WIDTH), 1) : 0;
  const text = `${"#".repeat(full)}${".".repeat(BAR_WIDTH - full)}`;
  return { text, paint: share >= 0.9 ? red : share >= 0.5 ? yellow : green };
}

const NO_BAR: Piece = { text: " ".repeat(BAR_WIDTH) };

/** The bar of an object: how full, how much taken, how high. */
function barOf(object: ListedObject): Piece {
  if (object.type === "queue") return bar(object.bytes, object.maxBytes);
  if (object.type === "memory") {
    return { text: "@".repeat(Math.min(object.attachments, BAR_WIDTH)).padEnd(BAR_WIDTH) };
  }
  const { kind, values } = object;
  const [first = 0, second = 0] = values ?? [];
  switch (values === undefined ? "hidden" : kind) {
    case "hidden":
      return NO_BAR;
    case "bulkhead":
      return bar(16383 + second - first, second);
    case "barrier":
      return bar(values![5]! - values![3]!, values![5]!);
    case "mutex":
    case "leader":
      return bar(first === 0 ? 1 : 0, 1);
    case "rwlock":
      return bar(first + second, Math.max(first + second, 1));
    default: {
      // A semaphore has no limit of its own: a mark for each, as far as there is room.
      const marks = "#".repeat(Math.min(first, BAR_WIDTH));
      return { text: first > BAR_WIDTH ? `${marks.slice(1)}+` : marks.padEnd(BAR_WIDTH) };
    }
  }
}

/** What the processes of an object do, if that is worth a word. */
function livenessOf(object: ListedObject, isOrphan: boolean): Piece {
  if (isOrphan) return { text: "  orphan", paint: red };
  const creator = object.processes.find(({ role }) => role === "creator");
  if (creator === undefined) return { text: "" };
  const text = `  creator ${creator.pid} ${creator.alive ? "alive" : "gone"}`;
  return { text, paint: creator.alive ? dim : yellow };
}

function rateOf(object: ListedObject, { rates }: View): string {
  const rate = object.type === "queue" ? rates.get(object.id) ?? 0 : 0;
  return rate === 0 ? "" : `  ${rate > 0 ? "+" : ""}${rate.toFixed(1)}/s`;
}

function line(object: ListedObject, view: View, width: number): string {
  const { type, id, key, uid, lastUse, hidden } = object;
  const isNarrow = width < 72;
  const pieces: Piece[] = [
    { text: `${type.padEnd(7)}${String(id).padStart(10)}  ` },
    ...(isNarrow ? [] : [
      { text: `${key === undefined ? "-" : hex(key)}`.padEnd(12), paint: dim },
      { text: `${user(uid).slice(0, 10).padEnd(11)}` },
      { text: `${sizeOf(object).padStart(11)} ${ago(lastUse).padStart(4)}  ` },
    ]),
    ...(width < 48 ? [] : [barOf(object), { text: "  " }]),
    { text: stateOf(object), paint: hidden === undefined ? undefined : dim },
    { text: rateOf(object, view) },
    livenessOf(object, view.orphans.has(placeOf(object))),
  ];
  if (placeOf(object) !== view.selected) return fit(pieces, width);
  return inverse(fit(pieces.map(({ text }) => ({ text })), width).padEnd(width));
}

function heading(width: number): string {
  const isNarrow = width < 72;
  const wide = `${"KEY".padEnd(12)}${"OWNER".padEnd(11)}${"SIZE".padStart(11)} USED  `;
  const text = `TYPE           ID  ${isNarrow ? "" : wide}${
    width < 48 ? "" : "".padEnd(BAR_WIDTH + 2)
  }STATE`;
  return fit([{ text, paint: bold }], width);
}

function summary({ objects, sort, type, onlyOrphans, orphans, time }: View, width: number): string {
  const count = (type: ObjectType) => objects.filter((object) => object.type === type).length;
  const shown = [
    type === undefined ? "" : `  only ${type}`,
    onlyOrphans ? "  only orphans" : "",
    `  by ${sort}`,
  ].join("");
  const counts = `${count("sem")} sem, ${count("queue")} queue, ${count("memory")} memory`;
  return fit([
    { text: "ipc top", paint: bold },
    { text: `  ${time.toTimeString().slice(0, 8)}  ${counts}, ${orphans.size} orphans${shown}` },
  ], width);
}

function limitLine({ limits }: View, width: number): string {
  const text = limits.filter(({ used }) => used !== undefined).map(({ name, used, percent }) =>
    `${name} ${used} (${percent!.toFixed(1)} %)`
  ).join("  ");
  return fit([{ text, paint: dim }], width);
}

/** Makes the lines of the window: as many as it has. */
export function frame(view: View, { width, height }: Window): string[] {
  const objects = visible(view);
  const room = Math.max(height - 4, 0);
  const selected = objects.findIndex((object) => placeOf(object) === view.selected);
  // The selected one stays in sight.
  const from = Math.max(0, Math.min(selected - room + 1, objects.length - room));
  const rows = objects.slice(from, from + room).map((object) => line(object, view, width));
  if (rows.length === 0 && room > 0) rows.push(fit([{ text: "nothing", paint: dim }], width));
  const more = objects.length - from - room;
  const footer = view.message ?? (more > 0 ? `${more} more below  ${KEYS}` : KEYS);
  const paint = view.message === undefined ? dim : yellow;
  return [
    summary(view, width),
    limitLine(view, width),
    heading(width),
    ...rows,
    ...Array<string>(Math.max(room - rows.length, 0)).fill(""),
    fit([{ text: footer, paint }], width),
  ].slice(0, height);
}
