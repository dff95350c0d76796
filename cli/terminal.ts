/**
 * A terminal taken over for a while: the other screen, no cursor, and keys as they are pressed.
 *
 * @module
 */

import process from "node:process";
import { writeBytes } from "./output.ts";

const encoder = new TextEncoder();
const write = (text: string) => writeBytes(encoder.encode(text));

const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/** Terminals that know it show a frame at once, others ignore it. */
const BEGIN = "\x1b[?2026h\x1b[H", END = "\x1b[?2026l";

/** What happens to a terminal. */
export type Happening =
  | { readonly key: string }
  | { readonly signal: NodeJS.Signals }
  | "resized"
  | "time passed";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A terminal that was taken over. Disposing gives it back as it was. */
export class Terminal implements Disposable {
  readonly #happenings: Happening[] = [];
  #wake: (() => void) | undefined;
  #isOpen = true;
  readonly #listeners: [string, () => void][] = [];

  /** Takes over the terminal of this program. */
  constructor() {
    process.stdin.setRawMode(true);
    const onKeys = (data: Uint8Array | string) => {
      for (const key of keysOf(String(data))) this.#add({ key });
    };
    process.stdin.on("data", onKeys);
    process.stdin.resume();
    for (const signal of SIGNALS) this.#listen(signal, () => this.#add({ signal }));
    this.#listen("SIGWINCH", () => this.#add("resized"));
    // Whatever ends the program otherwise: Deno fires the second alone for an error.
    this.#listen("exit", () => this[Symbol.dispose]());
    this.#listen("uncaughtExceptionMonitor", () => this[Symbol.dispose]());
    write(ENTER);
  }

  #listen(name: string, listener: () => void): void {
    process.on(name, listener);
    this.#listeners.push([name, listener]);
  }

  #add(happening: Happening): void {
    this.#happenings.push(happening);
    this.#wake?.();
  }

  /** The size of the window. */
  get window(): { width: number; height: number } {
    const [width = 80, height = 24] = process.stdout.getWindowSize?.() ?? [];
    return { width: width || 80, height: height || 24 };
  }

  /** Shows lines in the place of those before, in one write. */
  draw(lines: readonly string[]): void {
    // Every line is cleared behind its end, and what is below the last: nothing blinks.
    write(`${BEGIN}${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J${END}`);
  }

  /** Waits until something happens, or some milliseconds have passed. */
  async next(milliseconds: number): Promise<Happening> {
    if (this.#happenings.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    return this.#happenings.shift() ?? "time passed";
  }

  /** Gives the terminal back. */
  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      write(LEAVE);
      process.stdin.setRawMode(false);
    } catch {
      // The terminal is gone.
    }
    process.stdin.pause();
    for (const [name, listener] of this.#listeners) process.off(name, listener);
  }
}

/** Splits what a terminal sends into keys: an escape sequence is one. */
export function keysOf(data: string): string[] {
  // deno-lint-ignore no-control-regex
  return data.match(/\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|[^]/g) ?? [];
}
