/**
 * Checks of arguments: wrong ones throw before any system call.
 *
 * @module
 */

/** Checks for a whole number in a range; `doing` says what was tried, as in "increment by 0". */
export function checkInteger(value: number, least: number, most: number, doing: string): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw numberError(value, `Cannot ${doing}: expected a whole number from ${least} to ${most}`);
}

/** Makes the error of a wrong number, or of an argument that is no number, which the message then says. */
export function numberError(value: unknown, message: string): Error {
  if (typeof value === "number") return new RangeError(message);
  return new TypeError(
    `${message}, got ${value === null ? "null" : `a value of type ${typeof value}`}`,
  );
}

/** Checks that options are an object, or left out: anything else would be ignored in silence. */
export function checkOptions(options: unknown): void {
  if (options !== undefined) checkObject(options, "options");
}

/** Checks for a boolean, or undefined, and returns it; `name` is the name of the option. */
export function checkFlag(value: boolean | undefined, name: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw new TypeError(`Cannot use ${described(value)} as ${name}: expected a boolean`);
}

/** Checks for an object that is no array. */
export function checkObject(value: unknown, name: string): void {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return;
  throw new TypeError(`Cannot use ${described(value)} as ${name}: expected an object`);
}

/** Checks for an array. */
export function checkArray(value: unknown, name: string): void {
  if (Array.isArray(value)) return;
  throw new TypeError(`Cannot use ${described(value)} as ${name}: expected an array`);
}

/** Checks for a function. */
export function checkFunction(value: unknown, name: string): void {
  if (typeof value === "function") return;
  throw new TypeError(`Cannot use ${described(value)} as ${name}: expected a function`);
}

/** Describes a wrong argument, for a message. */
export function described(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value === null || typeof value === "number" || typeof value === "boolean") return `${value}`;
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a value of type ${typeof value}`;
}

/** Checks for one of several words and returns it; `name` is the name of the option. */
export function checkWord<Word extends string>(
  value: Word,
  words: readonly Word[],
  name: string,
): Word {
  if (words.includes(value)) return value;
  const expected = words.map((word) => `"${word}"`).join(" or ");
  throw new TypeError(`Cannot use ${described(value)} as ${name}: expected ${expected}`);
}

/** Checks a mode, such as 0o660. */
export function checkMode(mode: number): void {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o777) return;
  const meant = /^[0-7]{3}$/.test(String(mode)) ? `: did you mean 0o${mode}?` : "";
  throw numberError(
    mode,
    `Cannot use ${described(mode)} as a mode: expected octal permissions from 0 to 0o777${meant}`,
  );
}

/** Checks the identifier of a kernel object. macOS has negative ones too, except -1, which means failure. */
export function checkId(id: number): void {
  const doing = `take ${id} as the identifier of an IPC object`;
  checkInteger(id, -0x80000000, 0x7fffffff, doing);
  if (id === -1) throw new RangeError(`Cannot ${doing}: a failed call gives -1`);
}
