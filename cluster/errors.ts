/**
 * Why things fail that stand on a server.
 *
 * @module
 */

import { type ErrorCode, ipcError } from "../ffi/error.ts";

/**
 * The session with the server is lost, and with it all that it held. What everything rejects with from
 * then on, and the reason of every `lost`.
 *
 * An operation without undo that was under way may or may not have happened.
 *
 * @example
 * ```ts
 * import { SessionLostError } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * const error: Error = new SessionLostError("The server closed the connection");
 * assertEquals(error.name, "SessionLostError");
 * ```
 */
export class SessionLostError extends Error {
  /** The name of the class. */
  override readonly name = "SessionLostError";
  /** What tells it from other errors. */
  readonly code = "ESESSIONLOST";
}

/**
 * The database cannot be used as it is: its schema is of another version, this role may not create it, a
 * pooler stands between, or the server is too old.
 *
 * @example
 * ```ts
 * import { ClusterSetupError } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new ClusterSetupError("Cannot create the schema", { sql: "CREATE SCHEMA ipc;" });
 * assertEquals(error.sql, "CREATE SCHEMA ipc;");
 * ```
 */
export class ClusterSetupError extends Error {
  /** The name of the class. */
  override readonly name = "ClusterSetupError";
  /** What a role that may create has to run, where that helps. */
  readonly sql: string | undefined;

  /**
   * Creates an error.
   *
   * @param message What cannot be done, why, and what helps.
   * @param options The SQL to run, and the cause.
   */
  constructor(message: string, { sql, ...options }: ErrorOptions & { sql?: string } = {}) {
    super(message, options);
    this.sql = sql;
  }
}

/** What the functions of the schema return instead of a result. */
export const codes = { again: -11, invalid: -22, range: -34, removed: -43, tooLong: -7 } as const;

const names: Readonly<Record<number, ErrorCode>> = {
  [codes.again]: "EAGAIN",
  [codes.invalid]: "EINVAL",
  [codes.range]: "ERANGE",
  [codes.removed]: "EIDRM",
  [codes.tooLong]: "E2BIG",
};

/** Makes the error of such a code. `action` says what was tried, as in "lock mutex \"jobs\"". */
export function serverError(code: number, action: string, syscall = "semop"): Error {
  return ipcError(names[code] ?? "EINVAL", action, { syscall });
}

/** What is asked of a handle that is disposed rejects with this. */
export function disposedError(title: string): ReferenceError {
  return new ReferenceError(`Cannot use ${title}: the handle is disposed`);
}

/** Whether an error says that the session is lost, or that what is asked for is removed. */
export function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error &&
    (error.code === "EIDRM" || error.code === "ESESSIONLOST");
}

/** Throws an error again unless it says that there is nothing to give back any more. */
export function ignoreGone(error: unknown): void {
  if (!isGone(error)) throw error;
}
