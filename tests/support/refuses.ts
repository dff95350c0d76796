/**
 * Tests that entries refuse wrong arguments.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Parameter, shown } from "./wrong.ts";

/** An entry, and its parameters. */
export type Entry = readonly [call: (...given: never[]) => unknown, ...parameters: Parameter[]];

let refused = 0;

/** How many wrong calls there were. */
export function refusals(): number {
  return refused;
}

/** Says what a call that must be refused did instead; undefined if it was refused. */
async function fault(call: () => unknown): Promise<string | undefined> {
  refused++;
  try {
    const result = await call();
    (result as Partial<Disposable> | undefined)?.[Symbol.dispose]?.();
    return "is accepted";
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    return `throws ${error}`;
  }
}

/** Tests that every wrong value of every parameter is refused, with all others right. */
export function refuses(title: string, entries: Readonly<Record<string, Entry>>): void {
  for (const [name, [call, ...parameters]] of Object.entries(entries)) {
    test(`${title}${name}() refuses wrong arguments before any system call`, async () => {
      const faults: string[] = [];
      for (const [i, { wrong }] of parameters.entries()) {
        for (const value of wrong) {
          const given = parameters.map(({ right }) => right).with(i, value) as never[];
          const found = await fault(() => call(...given));
          if (found !== undefined) faults.push(`(${given.map(shown).join(", ")}) ${found}`);
        }
      }
      assertEquals(faults, []);
    });
  }
}

/** Calls a method of an object: any system call fails there, with an IpcError, as the object is removed. */
export function on<Target extends { remove(): void }>(
  target: Target,
  methods: (target: Target) => Readonly<Record<string, Entry>>,
): Readonly<Record<string, Entry>> {
  target.remove();
  return methods(target);
}

/** The methods of an object, by their parameters. */
export function withMethods<Class extends object>(
  of: Class,
  names: Readonly<Record<string, Parameter[]>>,
): Readonly<Record<string, Entry>> {
  return Object.fromEntries(
    Object.entries(names).map(([name, parameters]): [string, Entry] => {
      const method = (of as Record<string, (...given: unknown[]) => unknown>)[name]!;
      return [name, [(...given) => method.apply(of, given), ...parameters]];
    }),
  );
}
