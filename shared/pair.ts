/**
 * The two objects of a structure, a segment and a set of semaphores under the same key: made, found and
 * bound to each other, also if processes die in between.
 *
 * The segment's header names the set, and the set's second semaphore says that a segment names it. What
 * is not bound yet is bound by the next process, as the heir, so one at a time. Where one of the two
 * was removed without the other, the one that is left is removed too.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import { IpcError, ipcError, isRemoved } from "../ffi/error.ts";
import { type Key, keyText } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import { SharedMemory } from "../ipc/shared_memory.ts";
import { header, type Kind, kinds, LINE, MAGIC, MAX_PLACES, VERSION } from "./layout.ts";
import { remaining } from "./flow.ts";
import { Protocol } from "./protocol.ts";
import type { Step } from "../sync/protocols.ts";

/** What a structure is to be, or what its header says that it is. */
export interface Shape {
  readonly kind: Kind;
  /** What the kind makes of these two. */
  readonly capacity: number;
  readonly limit: number;
  /** A hash of how items are encoded; 0 for any. */
  readonly format: number;
  readonly places: number;
}

/** What a class knows of its shapes. */
export interface Rules {
  readonly kind: Kind;
  /** The bytes of a segment of this shape; undefined if there can be none. */
  size(shape: Shape): number | undefined;
  /** Describes how two shapes differ, for the program that wanted the second. */
  describe(shape: Shape): string;
  /** Writes what stands behind the header of a new segment. Everything else is 0. */
  prepare?(words: Int32Array, shape: Shape): void;
}

/** A segment and its semaphores. */
export interface Pair {
  readonly memory: SharedMemory;
  readonly semaphores: SemaphoreSet;
  readonly shape: Shape;
  readonly created: boolean;
  /** What it was asked for by, for messages. */
  readonly name: string | undefined;
}

/** How many can take part in a structure. */
export interface MembersOptions {
  /**
   * How many handles can take part at once, in all processes, from 1 to 240. One that waits in promises
   * counts twice. Registering costs about a microsecond for each.
   *
   * @default {32}
   */
  members?: number | undefined;
}

const DEFAULT_PLACES = 32;
/** So many bytes of a segment show whose it is. */
const PAGE = 4096;

/** Checks how many can take part. */
export function checkPlaces(places: number = DEFAULT_PLACES): number {
  checkInteger(places, 1, MAX_PLACES, `share something among ${places} members`);
  return places;
}

const setOf = ({ places }: Shape) => ({
  values: new Protocol(places, [], []).values,
  kind: "members" as const,
});

/** Creates a structure, and fails if its key is taken. */
export function createPair(
  rules: Rules,
  shape: Shape,
  options: CreateOptions,
): Pair {
  const size = sizeOf(rules, shape);
  const semaphores = named(rules, () => SemaphoreSet.create({ ...options, ...setOf(shape) }));
  let memory: SharedMemory | undefined;
  try {
    memory = named(rules, () => SharedMemory.create({ ...options, size }));
    const pair = bind(rules, shape, semaphores, memory, nameOf(options.key));
    if (pair !== undefined) return { ...pair, created: true };
    throw refusal(
      memory,
      rules,
      nameOf(options.key),
      "another process removed it meanwhile",
      "EIDRM",
    );
  } catch (error) {
    undo(semaphores, memory);
    throw error;
  }
}

/** Removes what could not be made, unless another process has finished it meanwhile: it is theirs then. */
function undo(semaphores: SemaphoreSet, memory: SharedMemory | undefined): void {
  try {
    if (isTheirs(semaphores)) return;
    semaphores.remove();
    memory?.remove();
  } catch (error) {
    if (!isRemoved(error)) throw error;
  }
}

/** Whether a set belongs to a segment by now. If not, this process stays its heir, so that it cannot. */
function isTheirs(semaphores: SemaphoreSet): boolean {
  const protocol = new Protocol(1, [], []);
  try {
    if (!become(protocol.becomeHeir, semaphores)) return true;
    if (semaphores.values[protocol.bound] === 0) return false;
  } catch (error) {
    // What its mode lets nobody use has been finished by nobody.
    if (error instanceof IpcError && error.code === "EACCES") return false;
    throw error;
  }
  settleHeir(semaphores, protocol);
  return true;
}

/** How long others may settle what they found: they need microseconds, unless they are stopped. */
const PATIENCE = 10_000;

/**
 * Waits for a step that takes no longer than others settle what they found, whatever signals come, and
 * returns whether it was possible.
 */
function become(step: Step, semaphores: SemaphoreSet): boolean {
  const rest = remaining({ timeout: PATIENCE });
  for (;;) {
    try {
      semaphores.operateSync(step, rest());
      return true;
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError") return false;
      if (!(error instanceof IpcError && error.code === "EINTR")) throw error;
    }
  }
}

/** Opens a structure that exists. */
export function openPair(rules: Rules, key: Key, format: number): Pair {
  return found(rules, named(rules, () => SharedMemory.open(key)), nameOf(key), format);
}

/** Takes a segment by the identifier that another process passed. */
export function pairFromId(rules: Rules, id: number, format: number): Pair {
  return found(rules, named(rules, () => SharedMemory.fromId(id)), undefined, format);
}

/** Opens a structure or creates it, whatever others do meanwhile. */
export function openOrCreatePair(
  rules: Rules,
  shape: Shape,
  key: Key,
  options: OpenOrCreateOptions,
): Pair {
  const size = sizeOf(rules, shape);
  for (;;) {
    let semaphores: SemaphoreSet | undefined;
    let memory: SharedMemory | undefined;
    try {
      semaphores = named(rules, () => openOrCreateSet(shape, key, options));
      if (semaphores.created && semaphores.size !== setOf(shape).values.length) {
        // Made as large as one that has gone meanwhile.
        discard(semaphores, undefined);
        continue;
      }
      memory = openMemory(rules, shape, key, { ...options, size });
      const pair = bind(rules, shape, semaphores, memory, nameOf(key));
      if (pair !== undefined) return pair;
    } catch (error) {
      if (!isRemoved(error)) {
        discard(semaphores, memory);
        throw error;
      }
    }
    // One of the two belonged to something that is gone, or went just now.
    close(semaphores, memory);
  }
}

/** Removes what was created of something that cannot be finished, as `undo` does, and ends the handles. */
function discard(semaphores: SemaphoreSet | undefined, memory: SharedMemory | undefined): void {
  const made = memory?.created === true ? memory : undefined;
  if (semaphores?.created === true) undo(semaphores, made);
  close(semaphores, memory);
}

/** Opens the segment of a key, or creates it; one of another size is refused by what it is. */
function openMemory(
  rules: Rules,
  shape: Shape,
  key: Key,
  options: OpenOrCreateOptions & { size: number },
): SharedMemory {
  try {
    return named(rules, () => SharedMemory.openOrCreate(key, options));
  } catch (error) {
    if (!(error instanceof IpcError && error.code === "EINVAL")) throw error;
    const memory = openAnyway(key, error);
    try {
      if (isBlank(memory)) throw notItsOwn(rules, memory, nameOf(key));
      refuseOther(rules, inspect(rules, memory, nameOf(key)).shape, shape, nameOf(key), memory);
    } finally {
      close(memory);
    }
    throw error;
  }
}

/** Opens the segment of a key to see what it is; if none could be made, the error says why. */
function openAnyway(key: Key, error: IpcError): SharedMemory {
  try {
    return SharedMemory.open(key);
  } catch {
    throw error;
  }
}

/** So often to look again for a set of a key whose size has just changed, or that nobody has finished. */
const MAX_LOOKS = 1000;

/** Opens the set of a key, as large as it is, or creates it as wanted. It can go and come meanwhile. */
function openOrCreateSet(shape: Shape, key: Key, options: OpenOrCreateOptions): SemaphoreSet {
  for (let looks = 1;; looks++) {
    const places = placesOf(key) ?? shape.places;
    try {
      return SemaphoreSet.openOrCreate(key, { ...options, ...setOf({ ...shape, places }) });
    } catch (error) {
      const mayChange = error instanceof IpcError && /EINVAL|EAGAIN/.test(error.code);
      if (!mayChange || looks >= MAX_LOOKS) throw error;
    }
  }
}

/** How many places the set of a key has; undefined if there is none that can be used yet, or at all. */
function placesOf(key: Key): number | undefined {
  try {
    const set = SemaphoreSet.open(key, { kind: "members" });
    const places = (set.size - 2) / 2;
    set[Symbol.dispose]();
    // What is of no such size is none of ours, and refused as soon as it is opened.
    return Number.isInteger(places) ? places : 0;
  } catch (error) {
    if (error instanceof IpcError) return undefined;
    throw error;
  }
}

/**
 * Binds the two to each other, one process at a time: a heir that dies gives its semaphore back, and
 * the next one finds what it has left. Returns undefined after removing what belonged to nothing.
 */
function bind(
  rules: Rules,
  shape: Shape,
  semaphores: SemaphoreSet,
  memory: SharedMemory,
  name: string | undefined,
): Pair | undefined {
  const protocol = new Protocol(1, [], []);
  if (!become(protocol.becomeHeir, semaphores)) {
    const reason = "another process is making it or settles a death, and has not gone on for 10 s";
    throw refusal(memory, rules, name, `${reason}: is it stopped?`, "EAGAIN");
  }
  try {
    const isNew = isBlank(memory);
    const isBound = semaphores.values[protocol.bound] !== 0;
    if (isNew && !isOurs(memory, sizeOf(rules, shape))) throw notItsOwn(rules, memory, name);
    if (isNew && isBound) return forget(semaphores);
    const places = (semaphores.size - 2) / 2;
    if (!Number.isInteger(places) || places < 1 || places > MAX_PLACES) {
      throw refusal(memory, rules, name, NOT_ITS_OWN);
    }
    if (isNew) write(rules, { ...shape, places }, semaphores, firstWords(memory));
    const shown = inspect(rules, memory, name);
    // A blank segment was created just now, or its creator died before anybody could use it.
    if (shown.semaphores !== semaphores.id) return forget(memory);
    if (!isBound) semaphores.tryOperate([{ index: protocol.bound, delta: +1 }]);
    refuseOther(rules, shown.shape, shape, name, memory);
    return { memory, semaphores, shape: shown.shape, created: isNew, name };
  } finally {
    settleHeir(semaphores, protocol);
  }
}

/** The words of the first page, or as many as there are. */
function firstWords(memory: SharedMemory): Int32Array {
  return new Int32Array(memory.buffer, 0, Math.min(memory.size, PAGE) >> 2);
}

/** Whether a segment has no header yet. */
function isBlank(memory: SharedMemory): boolean {
  return memory.size >= 4 && Atomics.load(firstWords(memory), header.magic) === 0;
}

/**
 * Whether a blank segment can be one that a creator of this size has not finished: nothing is in it but
 * what `write` begins with. Others are left alone, as they belong to a program that we know nothing of.
 */
function isOurs(memory: SharedMemory, size: number): boolean {
  if (memory.created) return true;
  if (memory.size !== size) return false;
  const words = firstWords(memory);
  const begun = [header.version, header.kind, header.size].map((word) => words[word]!);
  const isBegun = begun[0] === VERSION && (begun[1] === 0 || isKind(begun[1]!));
  if (isBegun && begun[2] === size) return true;
  return words.every((word, index) =>
    word === 0 || isBegun && (index === header.version || index === header.kind)
  );
}

function notItsOwn(rules: Rules, memory: SharedMemory, name: string | undefined): IpcError {
  const what = `it is another program's segment of ${memory.size} bytes`;
  const key = memory.key === undefined ? "" : keyText(memory.key);
  const reason =
    `${what}, or its creator died before it could finish it: "ipcrm -M ${key}" removes it`;
  return refusal(memory, rules, name, reason);
}

function settleHeir(semaphores: SemaphoreSet, protocol: Protocol): void {
  try {
    semaphores.tryOperate(protocol.endHeir);
  } catch (error) {
    if (!isRemoved(error)) throw error;
  }
}

/** Removes what belongs to nothing. */
function forget(object: SemaphoreSet | SharedMemory): undefined {
  object.remove();
  return undefined;
}

/** Writes a header, whose magic number comes last: before, a death leaves nothing but zeros to the next. */
function write(rules: Rules, shape: Shape, semaphores: SemaphoreSet, words: Int32Array): void {
  Atomics.store(words, header.version, VERSION);
  Atomics.store(words, header.kind, kinds[shape.kind]);
  Atomics.store(words, header.size, sizeOf(rules, shape));
  Atomics.store(words, header.semaphores, semaphores.id);
  Atomics.store(words, header.places, shape.places);
  Atomics.store(words, header.capacity, shape.capacity);
  Atomics.store(words, header.limit, shape.limit);
  Atomics.store(words, header.format, shape.format);
  rules.prepare?.(words, shape);
  Atomics.store(words, header.magic, MAGIC);
}

/** Opens the semaphores of a segment that was found. */
function found(
  rules: Rules,
  memory: SharedMemory,
  name: string | undefined,
  format: number,
): Pair {
  let semaphores: SemaphoreSet | undefined;
  try {
    const { shape, semaphores: id } = inspect(rules, memory, name);
    if (format !== 0 && shape.format !== format) throw refusal(memory, rules, name, OTHER_FORMAT);
    semaphores = openSemaphores(id, rules, memory, name);
    if (semaphores.size !== 2 + 2 * shape.places || semaphores.key !== memory.key) {
      throw refusal(memory, rules, name, NOT_ITS_OWN);
    }
    return { memory, semaphores, shape, created: false, name };
  } catch (error) {
    close(semaphores, memory);
    throw error;
  }
}

function openSemaphores(
  id: number,
  rules: Rules,
  memory: SharedMemory,
  name: string | undefined,
): SemaphoreSet {
  try {
    return SemaphoreSet.fromId(id, { kind: "members" });
  } catch (error) {
    if (error instanceof IpcError && error.code === "EACCES") throw error;
    const reason = "its semaphores are gone: openOrCreate makes it anew";
    throw refusal(memory, rules, name, reason, isRemoved(error) ? "EIDRM" : "EINVAL");
  }
}

const NOT_ITS_OWN = "its semaphores are not its own";
const OTHER_FORMAT = "it holds items of another codec, struct or list of counters";

/** Reads a header, each word of which may be anything. */
function inspect(
  rules: Rules,
  memory: SharedMemory,
  name: string | undefined,
): { shape: Shape; semaphores: number } {
  if (memory.size < 4 * LINE) {
    throw refusal(memory, rules, name, `it is another program's segment of ${memory.size} bytes`);
  }
  const words = new Int32Array(memory.buffer, 0, LINE);
  const read = (word: number) => Atomics.load(words, word);
  if (read(header.magic) === 0) {
    const reason = "its creator has not finished it, or died before it could: openOrCreate does";
    throw refusal(memory, rules, name, reason, "EAGAIN");
  }
  if (read(header.magic) !== MAGIC) {
    throw refusal(memory, rules, name, "it is another program's segment");
  }
  if (read(header.version) !== VERSION) {
    const reason = `its layout has version ${read(header.version)}, not ${VERSION}`;
    throw refusal(memory, rules, name, reason);
  }
  if (read(header.kind) !== kinds[rules.kind]) {
    throw refusal(memory, rules, name, `it is ${kindOf(read(header.kind))}`);
  }
  const shape: Shape = {
    kind: rules.kind,
    capacity: read(header.capacity),
    limit: read(header.limit),
    format: read(header.format),
    places: read(header.places),
  };
  const { places } = shape;
  const size = places >= 1 && places <= MAX_PLACES ? rules.size(shape) : undefined;
  if (size === undefined || size !== read(header.size) || size > memory.size) {
    throw refusal(memory, rules, name, "its header is spoilt");
  }
  return { shape, semaphores: read(header.semaphores) };
}

function isKind(number: number): boolean {
  return Object.values<number>(kinds).includes(number);
}

function kindOf(number: number): string {
  const kind = Object.entries(kinds).find(([, known]) => known === number)?.[0];
  return kind === undefined ? `of an unknown kind, ${number}` : `a shared ${kind}`;
}

function refuseOther(
  rules: Rules,
  found: Shape,
  wanted: Shape,
  name: string | undefined,
  memory: SharedMemory,
): void {
  const [is, was] = [rules.describe(found), rules.describe(wanted)];
  if (is !== was) throw refusal(memory, rules, name, `it has ${is}, not ${was}`);
  if (found.format !== wanted.format) throw refusal(memory, rules, name, OTHER_FORMAT);
}

function refusal(
  memory: SharedMemory,
  rules: Rules,
  name: string | undefined,
  reason: string,
  code: "EINVAL" | "EAGAIN" | "EIDRM" = "EINVAL",
): IpcError {
  const { id, key } = memory;
  const action = `open ${titleOf(rules.kind, id, key, name)}`;
  return ipcError(code, action, { syscall: "shmget", id, key, reason });
}

/** Performs something with one of the two objects, whose errors are to name the whole. */
function named<Result>({ kind }: Rules, perform: () => Result): Result {
  try {
    return perform();
  } catch (error) {
    if (!(error instanceof IpcError)) throw error;
    const message = error.message
      .replace(/^(Cannot [^":]*?)\b(shared memory|members)\b/, `$1shared ${kind}`)
      .replace(/"ipcrm -[MS] (\w+)" removes it/, '"ipcrm -M $1 -S $1" removes it');
    throw new IpcError(message, error.errno, error);
  }
}

/** Names a structure in messages, by what the user knows it by. */
export function titleOf(
  kind: Kind,
  id: number,
  key: number | undefined,
  name: string | undefined,
): string {
  if (key === undefined) return `shared ${kind} ${id}`;
  return `shared ${kind} ${name === undefined ? "" : `${name} `}(${keyText(key)})`;
}

function nameOf(key: Key | undefined): string | undefined {
  return typeof key === "string" ? JSON.stringify(key) : undefined;
}

function sizeOf(rules: Rules, shape: Shape): number {
  const size = rules.size(shape);
  if (size !== undefined) return size;
  const what = `a shared ${rules.kind} with ${rules.describe(shape)}`;
  throw new RangeError(`Cannot make ${what}: expected less than 2 GiB together`);
}

/** Ends both handles, which must not own anything. */
function close(...objects: (Disposable | undefined)[]): void {
  for (const object of objects) object?.[Symbol.dispose]();
}
