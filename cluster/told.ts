/**
 * What the server says of an operation.
 *
 * @module
 */

/** The answer to an operation on a set, or to a wait. */
export interface Told {
  /** 0 if it was performed, else one of the negative codes. */
  readonly code: number;
  /** The version of the set that it made. */
  readonly version: string;
  /** The values after it, with commas between. */
  readonly values: string;
}

/** Reads an answer: a ticket if it waits. */
export function parseAnswer(answer: string): Told | string {
  const [code, version = "0", values = ""] = answer.split(" ");
  return Number(code) > 0 ? code! : { code: Number(code), version, values };
}

/** Reads values. */
export function parseValues(values: string): number[] {
  return values.split(",").map(Number);
}
