/**
 * Which object a word means: an identifier, a key in hexadecimal, or a name.
 *
 * @module
 */

import { keyOf } from "../ipc/key.ts";
import { list, type ListedByType, type ListedObject, type ObjectType } from "../ipc/inventory.ts";
import { CommandError, FAILED } from "./errors.ts";

/** Words for the types, as in messages. */
export const nouns: Readonly<Record<ObjectType, string>> = {
  sem: "semaphore set",
  queue: "message queue",
  memory: "shared memory",
};

/** Shows a key as `ipcs` does. */
export function hex(key: number): string {
  return `0x${(key >>> 0).toString(16).padStart(8, "0")}`;
}

/** Reads a word as a key or name, never as an identifier: 0x1234 is a key, all else a name. */
export function keyFrom(word: string): number {
  return /^0x[0-9a-f]{1,8}$/i.test(word) ? Number(word) | 0 : keyOf(word);
}

/** Names an object for people: `message queue 5 (0x6a5faa7f)`. */
export function nameOf({ type, id, key }: ListedObject): string {
  return `${nouns[type]} ${id}${key === undefined ? "" : ` (${hex(key)})`}`;
}

/** Finds all objects that a word may mean: several only if it is of different types. */
export function findAll<Type extends ObjectType>(word: string, type?: Type): ListedByType[Type][] {
  const objects = list({ type });
  if (/^\d+$/.test(word)) {
    const byId = objects.filter(({ id }) => id === Number(word));
    if (byId.length > 0) return byId;
  }
  const key = keyFrom(word);
  return objects.filter((object) => object.key === key);
}

/** Finds the object that a word means, and says what to do if there is none or more than one. */
export function findOne<Type extends ObjectType>(word: string, type?: Type): ListedByType[Type] {
  const found = findAll(word, type);
  const [first, ...more] = found;
  if (first === undefined) {
    const kind = type === undefined ? "object" : nouns[type];
    throw new CommandError(
      `no ${kind} has the id, key or name "${word}" (key ${
        hex(keyFrom(word))
      }): ipc ls lists what there is`,
      FAILED,
    );
  }
  if (more.length === 0) return first;
  throw new CommandError(
    `"${word}" is ${found.map(nameOf).join(" and ")}: add --type ${
      found.map(({ type }) => type).join(" or --type ")
    }`,
  );
}
