/**
 * Peers of other languages for tests: each does what it is told in lines, and a test that needs one
 * which this machine lacks is skipped, or fails where IPC_TEST_REQUIRE_PEERS is 1.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import process from "node:process";
import { test } from "node:test";
import { IpcError, keyOf } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import { Child } from "./child.ts";
import type { Language } from "./languages.ts";

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

const found = new Map<Language, ReturnType<Language["find"]>>();

function find(language: Language): ReturnType<Language["find"]> {
  const known = found.get(language) ?? language.find();
  found.set(language, known);
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
