/**
 * The one error class of the module, and why calls fail.
 *
 * @module
 */

import { errors } from "./constants.ts";

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

const codes: ReadonlyMap<number, string> = new Map(
  Object.entries(errors).map(([code, errno]) => [errno, code]),
);

const reasons: ReadonlyMap<number, string> = new Map([
  [errors.EPERM, "only its owner, its creator or a privileged process may do this"],
  [errors.ENOENT, "it does not exist"],
  [errors.ESRCH, "there is no such process"],
  [errors.EINTR, "the program handled a signal"],
  [errors.E2BIG, "it is too big"],
  [errors.EBADF, "the descriptor is not open for this"],
  [errors.EAGAIN, "it would have to wait"],
  [errors.ENOMEM, "the system has no memory left for it"],
  [errors.EACCES, "its mode does not permit this user to"],
  [errors.EFAULT, "an address is outside the memory of this process"],
  [errors.EBUSY, "it is in use"],
  [errors.EEXIST, "it exists already"],
  [errors.ENOTDIR, "a part of the path is not a folder"],
  [errors.EISDIR, "it is a folder"],
  [errors.EINVAL, "the system refuses an argument"],
  [errors.EFBIG, "the set has no semaphore with this index"],
  [errors.ENOSPC, "a limit of the system is reached"],
  [errors.EPIPE, "the other end is closed"],
  [errors.ERANGE, "the value would leave its range"],
  [errors.ENOSYS, "this system does not have the call"],
  [errors.ENOMSG, "it holds no such message"],
  [errors.EIDRM, "it was removed"],
  [errors.EMFILE, "this process has too many open files"],
  [errors.ENAMETOOLONG, "the path or a part of it is too long"],
  [errors.ELOOP, "the path leads through too many symbolic links"],
]);

/** Tells in words why a call fails with this error. */
export function reasonOf(errno: number): string {
  return reasons.get(errno) ?? codes.get(errno) ?? `error ${errno}`;
}
