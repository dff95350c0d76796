/**
 * Terminals for tests, in tmux.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { passed } from "./time.ts";

/** Why there is no terminal for tests; undefined where there is one. */
export const noTmux: string | undefined = spawnSync("tmux", ["-V"]).status === 0
  ? undefined
  : "no tmux";
let sessions = 0;

/** A terminal in tmux, with a shell in it. */
export class Tmux implements Disposable {
  readonly #socket = `sysv-ipc-${process.pid}-${sessions++}`;

  constructor(width: number, height: number) {
    this.#run(
      "-f",
      "/dev/null",
      "new-session",
      "-d",
      ...["-x", String(width), "-y", String(height)],
      [
        "env PS1='$ ' sh",
      ].join(" "),
    );
  }

  #run(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync("tmux", ["-L", this.#socket, ...args], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`tmux ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  type(text: string): void {
    this.#run("send-keys", "-l", text);
  }

  press(...keys: string[]): void {
    this.#run("send-keys", ...keys);
  }

  resize(width: number, height: number): void {
    this.#run("resize-window", "-x", String(width), "-y", String(height));
  }

  /** What it shows. */
  get screen(): string {
    return this.#run("capture-pane", "-p");
  }

  /** The same, with the sequences that colour it. */
  get colours(): string {
    return this.#run("capture-pane", "-e", "-p");
  }

  /** The process in it. */
  get pid(): number {
    return Number(this.#run("display-message", "-p", "#{pane_pid}"));
  }

  /** Whether the other screen, and a cursor, is shown. */
  get modes(): string {
    return this.#run("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").trim();
  }

  /** Waits until it shows something. */
  async shows(what: RegExp): Promise<string> {
    for (let i = 0; i < 400; i++) {
      const { screen } = this;
      if (what.test(screen)) return screen;
      await passed(25);
    }
    throw new Error(`The screen never shows ${what}:\n${this.screen}`);
  }

  [Symbol.dispose](): void {
    this.#run("kill-server");
  }
}
