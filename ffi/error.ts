/**
 * The one error class of the module, and why calls fail.
 *
 * @module
 */

import { errors, SEMVMX } from "./constants.ts";
import { backend } from "./load.ts";

/** What an {@linkcode IpcError} is about. */
export interface IpcErrorOptions extends ErrorOptions {
  /** The system call that failed. */
  syscall: string;
  /** The key of the object, where it has one. */
  key?: number | undefined;
  /** The identifier of the object, where it is known. */
  id?: number | undefined;
}

/**
 * A system call that failed, with the fields of Node's system errors.
 *
 * @example
 * ```ts
 * import { IpcError, Semaphore } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * try {
 *   Semaphore.open("a name that nobody uses");
 * } catch (error) {
 *   if (!(error instanceof IpcError)) throw error;
 *   assertEquals(error.code, "ENOENT");
 *   assertEquals(error.syscall, "semget");
 * }
 * ```
 */
export class IpcError extends Error {
  /** The name of the class. */
  override readonly name = "IpcError";
  /** The name of the error, such as `"EACCES"`. */
  readonly code: string;
  /** The number of the error, such as 13. */
  readonly errno: number;
  /** The system call that failed, such as `"semget"`. */
  readonly syscall: string;
  /** The key of the object, where it has one. */
  declare readonly key?: number;
  /** The identifier of the object, where it is known. */
  declare readonly id?: number;

  /**
   * Creates an error.
   *
   * @param message What was tried, on what, and why it failed.
   * @param errno The number of the error on this platform.
   * @param options The call and its object.
   */
  constructor(message: string, errno: number, options: IpcErrorOptions) {
    super(message, options);
    this.code = codes.get(errno) ?? `E${errno}`;
    this.errno = errno;
    this.syscall = options.syscall;
    if (options.key !== undefined) this.key = options.key;
    if (options.id !== undefined) this.id = options.id;
  }
}

/** The name of an error that this module knows. */
export type ErrorCode = keyof typeof errors;

const codes: ReadonlyMap<number, ErrorCode> = new Map(
  Object.entries(errors).map(([code, errno]) => [errno, code as ErrorCode]),
);

const reasons: Readonly<Partial<Record<ErrorCode, string>>> = {
  EPERM: "only its owner, its creator or a privileged process may do this",
  ENOENT: "it does not exist",
  ESRCH: "there is no such process",
  EINTR: backend?.handlesSignalsItself
    ? "the program handled a signal, or Deno itself did, as after Ctrl-Z"
    : "the program handled a signal",
  E2BIG: "it is too big",
  EBADF: "the descriptor is not open for this",
  EAGAIN: "it would have to wait",
  ENOMEM: "the system has no memory left for it",
  EACCES: "permission denied",
  EFAULT: "an address is outside the memory of this process",
  EBUSY: "it is in use",
  EEXIST: "it exists already",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  EINVAL: "the system refuses an argument",
  EFBIG: "the set has no semaphore with this index",
  ENOSPC: "a limit of the system is reached",
  EPIPE: "the other end is closed",
  ERANGE: "the value would leave its range",
  ENOSYS: "this system does not have the call",
  ENOMSG: "it holds no such message",
  EIDRM: "it was removed",
  EMFILE: "this process has too many open files",
  ENAMETOOLONG: "the path or a part of it is too long",
  ELOOP: "the path leads through too many symbolic links",
};

/** What some calls mean by their errors. */
const reasonsOfCalls: Readonly<Record<string, Partial<Record<ErrorCode, string>>>> = {
  semop: {
    ERANGE: `a value or an undo would leave its range, 0 to ${SEMVMX}`,
    E2BIG: "one semop takes no more operations (SEMOPM, the 3rd number of kernel.sem)",
  },
  msgrcv: { E2BIG: "the message is longer than the buffer and stays in the queue" },
  shmat: {
    ENOMEM:
      "the system has no memory left for it, or this process has as many mappings as it may (vm.max_map_count)",
  },
};

/** Returns in words why a call fails with this error. */
export function reasonOf(errno: number, syscall = ""): string {
  const code = codes.get(errno);
  if (code === undefined) return `error ${errno}`;
  return reasonsOfCalls[syscall]?.[code] ?? reasons[code] ?? code;
}

/** What an error is about, and why it came if there is more to say than of any such error. */
export interface Failure extends IpcErrorOptions {
  reason?: string | undefined;
}

/** Makes the error of what failed: `action` says what was tried, and on what. */
export function ipcError(
  error: number | ErrorCode,
  action: string,
  { reason, ...options }: Failure,
): IpcError {
  const errno = typeof error === "number" ? error : errors[error];
  const why = reason ?? reasonOf(errno, options.syscall);
  return new IpcError(`Cannot ${action}: ${why}`, errno, options);
}

/** Whether an error says that the object is removed. */
export function isRemoved(error: unknown): boolean {
  return error instanceof IpcError && error.code === "EIDRM";
}
