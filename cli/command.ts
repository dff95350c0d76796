/**
 * What a command of `ipc` is, how its arguments are read, and how it is explained.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { UsageError } from "./errors.ts";

/** An option of a command. */
export interface Option {
  /** The name, without dashes. */
  readonly name: string;
  /** One letter that says the same. */
  readonly short?: string;
  /** What its value stands for in the help, such as `SECONDS`; undefined for a flag. */
  readonly value?: string;
  /** The values that it may have. */
  readonly choices?: readonly string[];
  /** What it is for. */
  readonly help: string;
}

/** The arguments of a command. */
export interface Arguments {
  /** What is no option. */
  readonly words: readonly string[];
  /** The command that it wraps, if it wraps one. */
  readonly command: readonly string[];
  /** Whether a flag was given. */
  has(name: string): boolean;
  /** The value of an option. */
  get(name: string): string | undefined;
  /** The value of an option as a number that is not negative. */
  number(name: string): number | undefined;
}

/** A command. */
export interface Command {
  readonly name: string;
  /** What it does, in a line. */
  readonly summary: string;
  /** What comes after its name, one line for each way to call it. */
  readonly usage: readonly string[];
  readonly options: readonly Option[];
  /** What else there is to say. */
  readonly notes?: readonly string[];
  /**
   * How many words of its own stand before the command that it runs; undefined if it runs none. The
   * command begins behind them, or behind `--`.
   */
  readonly wraps?: number;
  /** Performs it, and returns the exit code. */
  run(given: Arguments): number | Promise<number>;
}

/** Options that every command has. */
export const HELP_OPTION: Option = { name: "help", short: "h", help: "show this help" };

export const JSON_OPTION: Option = { name: "json", help: "print JSON" };

/** A word such as `-1u` is an operation, not an option: it is kept from the parser by a mark. */
const MARK = "\u0000";
const isAmount = (word: string) => /^-\d/.test(word);

/** Splits what is meant for a command from the command that it wraps. */
function split(command: Command, args: readonly string[]): { own: string[]; wrapped: string[] } {
  const { wraps, options } = command;
  if (wraps === undefined) return { own: [...args], wrapped: [] };
  const takesValue = (word: string) =>
    options.some(({ name, short, value }) =>
      value !== undefined && (word === `--${name}` || word === `-${short}`)
    );
  let words = wraps;
  let end = 0;
  for (; end < args.length && args[end] !== "--"; end++) {
    // A name that is given as an option takes the place of the first word.
    if (/^--name(=|$)/.test(args[end]!)) words = 0;
    if (takesValue(args[end]!)) end++;
    else if (!args[end]!.startsWith("-") && words-- === 0) break;
  }
  const behind = args[end] === "--" ? end + 1 : end;
  return { own: args.slice(0, end), wrapped: args.slice(behind) };
}

/** Reads the arguments of a command. */
export function parse(command: Command, args: readonly string[]): Arguments {
  const options = [...command.options, HELP_OPTION];
  const { own, wrapped } = split(command, args);
  const given = parseArgs(own.map((word) => isAmount(word) ? MARK + word : word), {
    boolean: options.filter(({ value }) => value === undefined).map(({ name }) => name),
    string: ["_", ...options.filter(({ value }) => value !== undefined).map(({ name }) => name)],
    alias: Object.fromEntries(
      options.flatMap(({ name, short }) => short === undefined ? [] : [[short, name]]),
    ),
    unknown: (word: string, key?: string) => {
      if (key !== undefined) throw new UsageError(`unknown option "${word}"`, command.name);
      return true;
    },
  }) as Record<string, unknown> & { _: string[] };
  for (const option of options) checkOption(command, option, given[option.name]);
  return argumentsOf(command, given, wrapped);
}

function checkOption(command: Command, { name, value, choices }: Option, given: unknown): void {
  if (value === undefined || given === undefined) return;
  if (Array.isArray(given)) throw new UsageError(`--${name} is given twice`, command.name);
  if (given === "") throw new UsageError(`--${name} needs a ${value}`, command.name);
  if (choices === undefined || choices.includes(given as string)) return;
  throw new UsageError(`--${name} is ${choices.join(" or ")}, not "${given}"`, command.name);
}

function argumentsOf(
  command: Command,
  given: Record<string, unknown> & { _: string[] },
  wrapped: readonly string[],
): Arguments {
  return {
    command: wrapped,
    words: given._.map((word) => word.startsWith(MARK) ? word.slice(MARK.length) : word),
    has: (name) => given[name] === true,
    get: (name) => given[name] as string | undefined,
    number(name) {
      const text = given[name] as string | undefined;
      if (text === undefined) return undefined;
      const number = Number(text);
      if (text.trim() !== "" && number >= 0) return number;
      throw new UsageError(`--${name} is a number from 0 on, not "${text}"`, command.name);
    },
  };
}

/** Explains a command. */
export function helpOf({ name, summary, usage, options, notes = [] }: Command): string {
  const left = [...options, HELP_OPTION].map(({ name, short, value }) => {
    const long = value === undefined ? `--${name}` : `--${name} ${value}`;
    return short === undefined ? `    ${long}` : `-${short}, ${long}`;
  });
  const width = Math.max(...left.map((text) => text.length));
  const right = [...options, HELP_OPTION].map(({ help, choices }) =>
    choices === undefined ? help : `${help}: ${choices.join(", ")}`
  );
  return [
    summary,
    "",
    ...usage.map((line, index) =>
      `${index === 0 ? "Usage:" : "      "} ipc ${name} ${line}`.trimEnd()
    ),
    "",
    ...left.map((text, index) => `  ${text.padEnd(width)}  ${right[index]}`),
    ...(notes.length > 0 ? ["", ...notes] : []),
    "",
  ].join("\n");
}
