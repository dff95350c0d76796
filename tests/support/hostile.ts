/**
 * Hostile segments: structures whose words and semaphores another program has overwritten, and what
 * becomes of those who use them all the same.
 *
 * @module
 */

import { IpcError, SharedMemory, type SharedMemory as Segment } from "@sysv/ipc";
import { semctl, SETVAL } from "@sysv/ipc/libc";
import { type Kind, kinds, type Uses } from "./shared_kinds.ts";

/** What another program writes: words of the segment, and values of semaphores. */
export interface Case {
  readonly words?: readonly (readonly [word: number, value: number])[];
  readonly semaphores?: readonly (readonly [index: number, value: number])[];
}

const values = [
  0,
  1,
  2,
  3,
  7,
  8,
  9,
  31,
  255,
  257,
  4095,
  1 << 12,
  1 << 29,
  1 << 30,
  (1 << 30) + 9,
  0x7fffffff,
  -1,
  -8,
  1 << 31,
];
/** The words that never change once a structure is made. */
const CONSTANT = 9;
const HEADER = 10;
const FIRST = 32;

/** Random numbers that are the same each time. */
export function randomFrom(seed: number): (count: number) => number {
  let state = seed % 0x7ffffffe + 1;
  return (count) => (state = (state * 48271) % 0x7fffffff) % count;
}

/** Every word with every value, and every semaphore. */
export function casesOf(name: string): Case[] {
  using structure = kinds[name]!.create();
  using memory = SharedMemory.fromId(structure.id);
  const count = sizeOf(memory) >> 2;
  const words = Array.from({ length: count }, (_, word) => word)
    .filter((word) => word < HEADER || word >= FIRST);
  const semaphores = Array.from({ length: 2 + 2 * structure.places }, (_, index) => index);
  return [
    ...words.flatMap((word) => values.map((value): Case => ({ words: [[word, value]] }))),
    ...semaphores.flatMap((index) =>
      [0, 1, 2, 32767].map((value): Case => ({ semaphores: [[index, value]] }))
    ),
  ];
}

/** Some words of a structure at once. */
export function someWords(random: (count: number) => number, words: number): Case {
  const pick = (): readonly [number, number] => [
    FIRST + random(words - FIRST),
    values[random(values.length)]!,
  ];
  return { words: [pick(), pick(), pick()] };
}

/** The bytes of a structure, as its header says. */
export function sizeOf(memory: Segment): number {
  return new Int32Array(memory.buffer)[3]!;
}

/** Uses a structure of a kind in every form, once another program has written this. */
export async function assail(kind: Kind, { words = [], semaphores = [] }: Case): Promise<void> {
  const structure = kind.create();
  const memory = SharedMemory.fromId(structure.id);
  const all = new Int32Array(memory.buffer);
  await kind.fill(structure);
  const before = all.slice(0, CONSTANT);
  const [, , , size, set] = before as unknown as [0, 0, 0, number, number];
  for (const [word, value] of words) {
    all[word] = value;
    if (word < CONSTANT) before[word] = value;
  }
  for (const [index, value] of semaphores) {
    if (index < 2 + 2 * structure.places) semctl(set, index, SETVAL, value);
  }
  await useAll(kind, structure);
  const late = attempt(() => kind.fromId(structure.id));
  if (late !== undefined) {
    await useAll(kind, late);
    late[Symbol.dispose]();
  }
  if (all.slice(0, CONSTANT).some((word, index) => word !== before[index])) {
    throw new Error("The header was overwritten");
  }
  if (all.subarray(size >> 2).some((word) => word !== 0)) {
    throw new Error("Something was written behind the structure");
  }
  all[4] = set;
  memory[Symbol.dispose]();
  structure[Symbol.dispose]();
}

/** Uses a handle in every form: each has a result, or fails in a way that a program expects. */
export async function useAll(kind: Kind, handle: ReturnType<Kind["create"]>): Promise<void> {
  const usesSync: Uses | undefined = attempt(() => kind.usesSync(handle));
  for (const use of Object.values(usesSync ?? {})) attempt(use);
  const uses = attempt(() => kind.uses(handle));
  for (const use of Object.values(uses ?? {})) await use().catch(refuseOther);
}

/** Returns what something does, unless it fails in such a way. */
export function attempt<Result>(use: () => Result): Result | undefined {
  try {
    return use();
  } catch (error) {
    refuseOther(error);
    return undefined;
  }
}

function refuseOther(error: unknown): void {
  if (error instanceof IpcError) return;
  // A header can say that less fits, or name other counters.
  if (error instanceof RangeError && /^Cannot (?:send|set|find a counter)/.test(error.message)) {
    return;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return;
  throw error;
}
