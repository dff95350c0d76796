/**
 * Exit codes, and the errors that end a command with one.
 *
 * @module
 */

/** Done. */
export const DONE = 0;
/** It failed: what stderr says in one line. */
export const FAILED = 1;
/** It was called in a wrong way. */
export const WRONG_USAGE = 2;
/** It was not possible in time, or at once where that was asked for. */
export const NOT_IN_TIME = 75;
/** `ipc run` and `ipc lock` failed before there was a command, whose code would be another. */
export const RUN_FAILED = 125;
/** The command of `ipc run` or `ipc lock` cannot be executed. */
export const NOT_EXECUTABLE = 126;
/** There is no such command. */
export const NOT_FOUND = 127;

/** Ends a command with a line on stderr. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = FAILED) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Ends a command that was called in a wrong way. */
export class UsageError extends CommandError {
  constructor(message: string, command?: string) {
    super(`${message}: see ipc ${command === undefined ? "" : `${command} `}--help`, WRONG_USAGE);
  }
}

/** Says in one line what went wrong. */
export function lineOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\s*\n\s*/g, " ");
}

/** The exit code for an error. */
export function codeOf(error: unknown): number {
  if (error instanceof CommandError) return error.exitCode;
  if (error instanceof DOMException && error.name === "TimeoutError") return NOT_IN_TIME;
  return FAILED;
}
