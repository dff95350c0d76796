/**
 * Errors of the classes' own finding, by their names: for what is made of the classes, which does not
 * know the numbers of a platform.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { IpcError, type IpcErrorOptions } from "../ffi/error.ts";

/** Makes the error with this code. */
export function errorOf(
  code: keyof typeof errors,
  message: string,
  options: IpcErrorOptions,
): IpcError {
  return new IpcError(message, errors[code], options);
}
