/**
 * What commands print: bytes and lines as they are, tables, colours on a terminal alone, and numbers
 * as people read them.
 *
 * @module
 */

import { readSync, writeSync } from "node:fs";
import process from "node:process";
import { getenv, userName } from "../ffi/program.ts";

const encoder = new TextEncoder();

/** Writes all bytes to standard output, and ends the program if nobody reads them any more. */
export function writeBytes(bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "EPIPE" || String(error).includes("Broken pipe")) process.exit(0);
      if (code !== "EAGAIN") throw error;
    }
  }
}

/** Writes lines to standard output. */
export function print(...lines: readonly string[]): void {
  writeBytes(encoder.encode(lines.map((line) => `${line}\n`).join("")));
}

/** Prints a value as JSON. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}

/** Writes a line to standard error. */
export function complain(line: string): void {
  writeSync(2, encoder.encode(`${line}\n`));
}

/** Reads bytes from standard input, as many as there are; none at its end. */
export function readInput(buffer: Uint8Array): Uint8Array {
  for (;;) {
    try {
      return buffer.subarray(0, readSync(0, buffer));
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "EOF") return buffer.subarray(0, 0);
      if (code !== "EAGAIN" && code !== "EINTR") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/** Asks a question that is answered with y or n. */
export function confirm(question: string): boolean {
  writeSync(2, encoder.encode(`${question} [y/N] `));
  const answer = new TextDecoder().decode(readInput(new Uint8Array(64)).slice());
  return /^y(es)?\s*$/i.test(answer);
}

/** Whether somebody sits at a terminal, to read and to answer. */
export const isInteractive = (): boolean => Boolean(process.stdin.isTTY && process.stderr.isTTY);

let colours: boolean | undefined;

/** Whether to use colours: on a terminal, unless NO_COLOR is set. */
function hasColours(): boolean {
  return colours ??= Boolean(process.stdout.isTTY) && !getenv("NO_COLOR") &&
    getenv("TERM") !== "dumb";
}

const paint = (code: number) => (text: string): string =>
  hasColours() && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text;

export const bold = paint(1);
export const dim = paint(2);
export const inverse = paint(7);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);

/** Makes what other programs wrote harmless on a terminal. */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, "\ufffd");
}

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly right?: boolean;
  text(row: Row): string;
  /** Colours the text, which keeps its width. */
  paint?(text: string, row: Row): string;
}

/** Prints a table, if it has rows. */
export function printTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): void {
  const cells = rows.map((row) => columns.map((column) => column.text(row)));
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((line) => line[index]!.length))
  );
  const pad = (text: string, index: number) => {
    if (columns[index]!.right) return text.padStart(widths[index]!);
    return index === columns.length - 1 ? text : text.padEnd(widths[index]!);
  };
  const heading = columns.map(({ title }, index) => pad(title, index)).join("  ");
  print(
    bold(heading.trimEnd()),
    ...cells.map((line, row) =>
      line.map((text, index) => {
        const padded = pad(text, index);
        return columns[index]!.paint?.(padded, rows[row]!) ?? padded;
      }).join("  ").trimEnd()
    ),
  );
}

const units = ["", "K", "M", "G", "T", "P", "E"];

/** Shows a number of bytes: 100, 1.5K, 16K, 2G. */
export function size(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const shown = value < 10 && !Number.isInteger(value)
    ? value.toFixed(1)
    : String(Math.round(value));
  return `${shown}${units[unit]}`;
}

const spans: readonly [number, string][] = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "m"]];

/** Shows a time span: 5s, 3m, 2h, 10d. */
export function span(milliseconds: number): string {
  for (const [length, letter] of spans) {
    if (milliseconds >= length) return `${Math.floor(milliseconds / length)}${letter}`;
  }
  return `${Math.max(Math.floor(milliseconds / 1000), 0)}s`;
}

/** Shows how long ago something was. */
export function ago(time: Date): string {
  return span(Date.now() - time.getTime());
}

const names = new Map<number, string>();

/** Shows a user by name, or by number if he has none. */
export function user(uid: number): string {
  const known = names.get(uid) ?? userName(uid) ?? String(uid);
  names.set(uid, known);
  return known;
}
