/**
 * What `console.log` shows of a handle, in any runtime: its class, what it is found by, and what it
 * holds.
 *
 * @module
 */

import { inspectHooks } from "../ffi/inspect.ts";
import { keyText } from "./key.ts";

/** What is shown: each as it is, or as a function finds it in the moment. */
export type Shown = Readonly<Record<string, unknown>>;

/** Has `console.log` show the handles of a class so. */
export function showAs<Handle extends object>(
  title: string,
  prototype: Handle,
  look: (handle: Handle) => Shown,
): void {
  const value = function (this: Handle): string {
    const fields = Object.entries(look(this)).map(([name, shown]) =>
      [name, textOf(shown)] as const
    );
    const texts = fields.filter(([, text]) => text !== undefined).map((field) => field.join(": "));
    return `${title} { ${texts.join(", ")} }`;
  };
  for (const hook of inspectHooks) Object.defineProperty(prototype, hook, { value });
}

/** A key as it is shown, undefined if there is none. */
export function shownKey(key: number | undefined): unknown {
  return key === undefined ? undefined : { toString: () => keyText(key) };
}

/** What cannot be read, for want of permission or because the object is removed, is no reason to throw. */
function textOf(shown: unknown): string | undefined {
  if (typeof shown === "function") {
    try {
      return textOf(shown());
    } catch (error) {
      return `<${reasonOf(error)}>`;
    }
  }
  if (typeof shown === "string") return JSON.stringify(shown);
  if (typeof shown === "object" && shown?.toString === Object.prototype.toString) {
    return `{ ${
      Object.entries(shown).map(([name, one]) => `${name}: ${textOf(one)}`).join(", ")
    } }`;
  }
  if (Array.isArray(shown)) return `[${shown.map(textOf).join(", ")}]`;
  return shown === undefined ? undefined : String(shown);
}

function reasonOf(error: unknown): string {
  if (error instanceof ReferenceError) return "disposed";
  if (!(error instanceof Error && "code" in error)) return "unknown";
  return error.code === "EIDRM" ? "removed" : String(error.code);
}
