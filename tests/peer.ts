/**
 * Peers of other languages for tests: each does what it is told in lines, and a test that needs one
 * which this machine lacks is skipped, or fails where IPC_TEST_REQUIRE_PEERS is 1.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { IpcError, keyOf } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import { Child, projectFile } from "./child.ts";

/** A process in another language. Disposing it kills it. */
export class Peer extends Child {
  /** Tells it what to do, and gives its answer. */
  async ask(verb: string, ...words: readonly (string | number)[]): Promise<string> {
    this.tell(verb, ...words);
    return await this.hear();
  }

  /** Tells it what to do, which may take until something else happens. */
  tell(verb: string, ...words: readonly (string | number)[]): void {
    this.say([verb, ...words].join(" "));
  }
}

/** A language, its program in tests/peers, and how to find what runs it. */
export interface Language {
  /** What it is called in the names of tests. */
  readonly name: string;
  /** Gives the command, or says what is missing. */
  readonly find: () => { command: readonly string[] } | { missing: string };
}

const file = (name: string) => projectFile(`tests/peers/${name}`);
const runs = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;

function interpreter(
  commands: readonly string[],
  check: readonly string[],
  program: string,
  missing: string,
) {
  return () => {
    const found = commands.find((command) => runs(command, ...check));
    return found === undefined ? { missing } : { command: [found, file(program)] };
  };
}

/** The Python that has sysv_ipc, which need not be the first one. */
const pythons = [process.env.IPC_TEST_PYTHON ?? "python3", "/usr/bin/python3"];

export const python: Language = {
  name: "Python",
  find: interpreter(pythons, ["-c", "import sysv_ipc"], "peer.py", "no Python with sysv_ipc"),
};

export const perl: Language = {
  name: "Perl",
  find: interpreter(
    ["perl"],
    ["-MIPC::Semaphore", "-MIPC::Msg", "-MDigest::SHA", "-e", "1"],
    "peer.pl",
    "no Perl with IPC::SysV",
  ),
};

export const php: Language = {
  name: "PHP",
  find: interpreter(
    ["php"],
    [
      "-r",
      `exit((int) !(function_exists("sem_get") && function_exists("msg_send")
      && function_exists("shm_attach") && function_exists("shmop_open")));`,
    ],
    "peer.php",
    "no PHP with sysvsem, sysvmsg, sysvshm and shmop",
  ),
};

export const c: Language = {
  name: "C",
  find() {
    const folder = mkdtempSync(join(tmpdir(), "sysv-ipc-peer-"));
    const remove = () => rmSync(folder, { recursive: true, force: true });
    process.on("exit", remove);
    // deno test fires this one alone.
    globalThis.addEventListener?.("unload", remove);
    const program = join(folder, "peer");
    const { error, status, stderr } = spawnSync("cc", ["-o", program, file("peer.c")]);
    if (error !== undefined) return { missing: "no C compiler" };
    if (status !== 0) throw new Error(`Cannot compile the peer:\n${stderr}`);
    return { command: [program] };
  },
};

/** A command of util-linux. */
export const tool = (name: "ipcs" | "ipcrm" | "ipcmk"): Language => ({
  name,
  find: () =>
    runs(name, "--version") ? { command: [name] } : { missing: `no ${name} of util-linux` },
});

const found = new Map<string, ReturnType<Language["find"]>>();

function find(language: Language): ReturnType<Language["find"]> {
  const known = found.get(language.name) ?? language.find();
  found.set(language.name, known);
  return known;
}

/** Starts a peer. */
export function start(language: Language): Peer {
  const result = find(language);
  if ("missing" in result) {
    throw new Error(`Cannot start ${language.name}: ${result.missing}`);
  }
  return new Peer(result.command);
}

/** A test that needs some peers. */
export function testWith(
  languages: readonly Language[],
  name: string,
  body: () => void | Promise<void>,
): void {
  testWhere(missing(languages), name, body);
}

/** A test that is skipped for a reason, or fails for it where IPC_TEST_REQUIRE_PEERS is 1. */
export function testWhere(
  missing: string | undefined,
  name: string,
  body: () => void | Promise<void>,
): void {
  if (missing === undefined) test(name, body);
  else if (process.env.IPC_TEST_REQUIRE_PEERS !== "1") {
    test(`${name} (${missing})`, { skip: missing }, body);
  } else test(name, () => Promise.reject(new Error(`This machine has ${missing}`)));
}

function missing(languages: readonly Language[]): string | undefined {
  const reasons = languages.map(find).flatMap((result) =>
    "missing" in result ? [result.missing] : []
  );
  return reasons.length === 0 ? undefined : reasons.join(", ");
}

/** A name that nobody else uses. Disposing it removes whatever was made under it, by whomever. */
export class Name implements Disposable {
  readonly text = `sysv-ipc-${randomUUID()}`;
  readonly key: number = keyOf(this.text);

  toString(): string {
    return this.text;
  }

  [Symbol.dispose](): void {
    const { key } = this;
    for (
      const remove of [
        () => libc.semctl(libc.semget(key, 0, 0), 0, libc.IPC_RMID),
        () => libc.msgctl(libc.msgget(key, 0), libc.IPC_RMID),
        () => libc.shmctl(libc.shmget(key, 0, 0), libc.IPC_RMID),
      ]
    ) {
      try {
        remove();
      } catch (error) {
        if (!(error instanceof IpcError && error.code === "ENOENT")) {
          throw error;
        }
      }
    }
  }
}
