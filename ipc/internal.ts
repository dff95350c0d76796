/**
 * What keeps constructors to this module: users get objects from methods that make or find them.
 *
 * @module
 */

/** Passed first to a constructor that only this module may call. */
export const internal: unique symbol = Symbol("internal");

/** Refuses a call of such a constructor without it; `instead` says what to call. */
export function checkInternal(token: unknown, instead: string): void {
  if (token !== internal) throw new TypeError(`Cannot construct this object: call ${instead}`);
}
