/**
 * Wrong values for each kind of parameter: what TypeScript refuses and JavaScript does not.
 *
 * @module
 */

/** A parameter: a value that is right, and values that are wrong. */
export interface Parameter {
  readonly right: unknown;
  readonly wrong: readonly unknown[];
}

const symbol = Symbol("wrong");
const noop = () => {};
/** Values of the types that are never taken for a number, a string, a boolean or an object of options. */
const strange = [null, 1n, symbol, noop];

export const flag: Parameter = {
  right: true,
  wrong: [...strange, 0, 1, "true", "false", "", {}, [], new Boolean(true)],
};

const wrongNumbers = [...strange, "1", "", true, {}, [1], [], NaN, Infinity, -Infinity, 1.5];

/** A whole number in a range. */
export const whole = (right: number, ...wrong: unknown[]): Parameter => ({
  right,
  wrong: [...wrongNumbers, ...wrong],
});

export const id: Parameter = whole(12345, undefined, -1, 2 ** 31, -(2 ** 31) - 1);
export const mode: Parameter = whole(0o600, -1, 0o1000, "600", "rw-------");
export const key: Parameter = {
  right: "a name that nobody uses",
  wrong: [...strange, undefined, true, {}, ["name"], "", 0, NaN, 1.5, 2 ** 32, -(2 ** 31) - 1],
};
export const timeout: Parameter = {
  right: 5,
  wrong: [...strange, "5", "", true, {}, [5], NaN, -1, -Infinity],
};
export const signal: Parameter = {
  right: new AbortController().signal,
  wrong: [
    ...strange,
    0,
    "abort",
    true,
    {},
    [],
    { aborted: false },
    new AbortController(),
    new EventTarget(),
  ],
};
export const data: Parameter = {
  right: "text",
  wrong: [...strange, undefined, 5, true, {}, [1, 2], new Date(), { byteLength: 1 }, { length: 1 }],
};
export const buffer: Parameter = {
  right: new Uint8Array(8),
  wrong: [...data.wrong, "text"],
};
export const fd: Parameter = whole(1_000_000, undefined, 2 ** 31, "0");
export const path: Parameter = {
  right: "/nowhere/at/all",
  wrong: [...strange, undefined, 5, true, {}, ["/"], "a\0b", new URL("file:///tmp")],
};
export const callback: Parameter = {
  right: noop,
  wrong: [null, undefined, 5, "run", true, {}, []],
};

/** One of some words. */
export const word = (right: string, ...wrong: unknown[]): Parameter => ({
  right,
  wrong: [...strange, "", "unknown", right.toUpperCase(), 0, true, {}, [right], ...wrong],
});

/** An array of what another parameter is, or of such arrays of members. */
export function arrayOf({ right, wrong }: Parameter): Parameter {
  const holed = [right, right];
  delete holed[0];
  const others = wrong.filter((value) => value !== undefined);
  return {
    right: [right],
    wrong: [
      ...strange,
      5,
      "0",
      true,
      {},
      { length: 1, 0: right },
      holed,
      ...others.map((one) => [one]),
    ],
  };
}

/** An object with members; wrong ones have one wrong member. */
export function object(members: Readonly<Record<string, Parameter>>): Parameter {
  const right = Object.fromEntries(Object.entries(members).map(([name, one]) => [name, one.right]));
  return {
    right,
    wrong: [
      ...strange,
      ...[0, 5, "name", "", true, false, [], [right]],
      ...Object.entries(members).flatMap(([name, { wrong }]) =>
        wrong.filter((value) => value !== undefined).map((value) => ({ ...right, [name]: value }))
      ),
    ],
  };
}

/** Shows a value so that its type is seen. */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return `[${Array.from(value, shown).join(", ")}]`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return String(value);
  if (Object.getPrototypeOf(value) !== Object.prototype) return `a ${value.constructor.name}`;
  return `{ ${
    Object.entries(value).map(([name, member]) => `${name}: ${shown(member)}`).join(", ")
  } }`;
}
