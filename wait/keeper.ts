/**
 * What stands between a Worker and its waiter threads in a runtime that joins threads.
 *
 * Such a runtime, when it terminates a Worker, stops the threads that the Worker has started one after the other:
 * it marks one, which runs no JavaScript any more, and waits until it ends. A marked thread that is in the kernel
 * stays there for ever, or loses what it takes. So a Worker starts only a *gate*, the gate starts a *keeper*, and
 * the keeper starts the waiter threads:
 *
 *     Worker --> gate --> keeper --> waiter threads
 *
 * As long as the gate is in the kernel, nothing behind it is marked. The keeper looks, ten times a second, whether
 * the Worker waits for the end of the gate. Then it has the waiter threads end their calls and give back what
 * they have taken, and opens the gate. All is settled by then, no place in the kernel's line is lost before, and
 * the kernel keeps no timer for it.
 *
 * A Worker that blocks in a call of its own is interrupted every second, so that it can end, by its keeper, or by
 * its gate before there is a keeper.
 *
 * The functions are the text of workers, so they name nothing outside themselves.
 *
 * @module
 */

import type { Backend, Prototypes } from "../ffi/backend.ts";
import { descriptorPrototypes, interruptPrototypes } from "../ffi/symbols.ts";
import type { cancels, mailbox, orders } from "./mailbox.ts";

/** Where each field of the common memory stands: 32-bit integers and 64-bit floats, by their index among their like. */
export const common = {
  integers: {
    /** Changed to wake the gate or the keeper. */
    wake: 0,
    /** Worker: how many threads it has asked for; keeper: how many of these it has started. */
    wanted: 1,
    started: 2,
    /** Not 0 while a keeper runs, so that the gate stays in the kernel. */
    keeping: 3,
    /** Gate: how often it has come out of the kernel. */
    turns: 4,
    /** Worker: not 0 once it ends by itself, and its threads are out of their calls. */
    ended: 5,
    /** The thread ids of the Worker and the gate. */
    owner: 6,
    gate: 7,
    /** What is in each slot: see {@linkcode slots}. */
    slots: 16,
  },
  floats: {
    /** The pthread_t of the Worker and the gate; these floats stand behind the first integers. */
    owner: 4,
    gate: 5,
    /** When to interrupt the Worker next, and from when on every millisecond, or 0: see {@linkcode now}. */
    tick: 6,
    until: 7,
  },
} as const;

/** The states of a slot, which is room for the mailbox of one thread. */
export const slots = { free: 0, wanted: 1, used: 2 } as const;

/** The C functions that a gate and a keeper call. */
export const keeperCalls = {
  gettid: interruptPrototypes.gettid,
  pthread_self: { parameters: [], result: "address" },
  pthread_kill: interruptPrototypes.pthread_kill,
  poll: descriptorPrototypes.poll,
  open: descriptorPrototypes.open,
  read: descriptorPrototypes.read,
  close: descriptorPrototypes.close,
} as const satisfies Prototypes;

/** What a gate and a keeper have to know, as plain data. */
export interface KeeperSettings {
  libraries: readonly string[];
  table: Prototypes;
  common: typeof common;
  slots: typeof slots;
  mailbox: typeof mailbox;
  orders: typeof orders;
  cancels: typeof cancels;
  /** How many slots there are, and where the first mailbox stands, in bytes. */
  count: number;
  first: number;
  sigurg: number;
  /** The number of the system call futex. */
  futex: number;
  /** How often a keeper looks whether the Worker ends, and how often a blocked Worker is interrupted, in milliseconds. */
  lookMs: number;
  tickMs: number;
  /** How long a thread may take to give back what it has taken, in milliseconds. */
  giveBackMs: number;
  /** The text of the waiter threads. */
  thread: string;
}

/** What a gate, and then a keeper, is handed at its start. */
export interface KeeperData {
  readonly memory: SharedArrayBuffer;
  /** The text of the keeper. */
  readonly keeper: string;
}

/** What the parts of a gate and a keeper are given of it. */
interface Insides {
  // deno-lint-ignore no-explicit-any -- they take numbers and buffers
  readonly calls: Record<string, (...given: any[]) => number>;
  readonly integers: Int32Array;
  readonly floats: Float64Array;
  readonly settings: KeeperSettings;
  readonly startWorker: Backend["startWorker"];
  readonly parts: typeof parts;
}

/** What the texts of a gate and a keeper are given. */
type Given = [
  open: (libraries: readonly string[], table: Prototypes) => Insides["calls"],
  startWorker: Backend["startWorker"],
  parts: Insides["parts"],
  settings: KeeperSettings,
];

/** The functions that a gate and a keeper are made of. */
export const parts = { pace, isJoining, launch, startWanted, release, releaseAll, openGate };

/** The texts of a gate and of a keeper: functions of their {@linkcode KeeperData}. */
export function keeperTexts(
  { open, startWorker }: Backend,
  settings: KeeperSettings,
): { gate: string; keeper: string } {
  const texts = Object.entries(parts).map(([name, part]) => `${name}: ${part}`).join(", ");
  const given = [open, startWorker, `{ ${texts} }`, JSON.stringify(settings)].join(", ");
  return {
    gate: `(data) => (${gate})(data, ${given})`,
    keeper: `(data) => (${keeper})(data, ${given})`,
  };
}

/** Serves a Worker alone until it wants threads, and then stays in the kernel for as long as a keeper runs. */
export function gate(data: KeeperData, ...[open, startWorker, parts, settings]: Given): void {
  const at = settings.common.integers;
  const integers = new Int32Array(data.memory);
  const floats = new Float64Array(data.memory);
  const calls = open(settings.libraries, settings.table);
  const insides = { calls, integers, floats, settings, startWorker, parts };
  floats[settings.common.floats.gate] = calls.pthread_self!();
  Atomics.store(integers, at.gate, calls.gettid!());
  Atomics.notify(integers, at.gate);
  for (;;) {
    for (;;) {
      const wake = Atomics.load(integers, at.wake);
      if (Atomics.load(integers, at.ended) !== 0) return;
      if (Atomics.load(integers, at.wanted) !== Atomics.load(integers, at.started)) break;
      Atomics.wait(integers, at.wake, wake, parts.pace(insides));
    }
    Atomics.store(integers, at.keeping, 1);
    startWorker(data.keeper, data, () => {});
    while (Atomics.load(integers, at.keeping) !== 0) {
      calls.poll!(null, 0, -1);
      Atomics.add(integers, at.turns, 1);
    }
  }
}

/** Starts waiter threads as the Worker wants them, until all have ended, or the Worker ends. */
export async function keeper(
  data: KeeperData,
  ...[open, startWorker, parts, settings]: Given
): Promise<void> {
  const at = settings.common.integers;
  const integers = new Int32Array(data.memory);
  const floats = new Float64Array(data.memory);
  const calls = open(settings.libraries, settings.table);
  const insides = { calls, integers, floats, settings, startWorker, parts };
  // A wait for memory alone does not keep it running.
  const running = setInterval(() => {}, 0x7fffffff);
  for (let doubts = 0;;) {
    const wake = Atomics.load(integers, at.wake);
    const threads = parts.startWanted(insides);
    const joining = parts.isJoining(insides);
    if (joining === true || threads === 0 || Atomics.load(integers, at.ended) !== 0) {
      parts.releaseAll(insides, joining === true);
      Atomics.store(integers, at.keeping, 0);
      await parts.openGate(insides);
      return clearInterval(running);
    }
    doubts = joining === undefined ? doubts + 1 : 0;
    if (doubts * settings.lookMs >= settings.tickMs) {
      // Nobody knows: so all come out of the kernel, and the gate goes on only if it is not marked.
      doubts = 0;
      parts.releaseAll(insides, false);
      await parts.openGate(insides);
    }
    const pause = Math.min(Math.max(parts.pace(insides), 1), settings.lookMs);
    await Atomics.waitAsync(integers, at.wake, wake, pause).value;
  }
}

/** Interrupts the Worker when it is due, and returns in how many milliseconds to come again. */
function pace({ calls, floats, settings }: Insides): number {
  const { owner, tick, until } = settings.common.floats;
  const now = Number(process.hrtime.bigint()) / 1e6;
  const limit = floats[until]!;
  const isUp = limit !== 0 && now >= limit;
  if (isUp || now >= floats[tick]!) {
    calls.pthread_kill!(floats[owner]!, settings.sigurg);
    floats[tick] = now + settings.tickMs;
  }
  if (isUp) return 1;
  return Math.min(floats[tick]!, limit === 0 ? Infinity : limit) - now;
}

/** Whether the Worker waits for the end of its gate; undefined if what it does may be that. */
function isJoining({ calls, integers, settings }: Insides): boolean | undefined {
  const { owner, gate } = settings.common.integers;
  const path = new TextEncoder().encode(`/proc/self/task/${integers[owner]}/syscall\0`);
  const fd = calls.open!(path, 0, 0);
  if (fd === -1) return undefined;
  const bytes = new Uint8Array(256);
  const length = calls.read!(fd, bytes, bytes.length);
  calls.close!(fd);
  if (length <= 0) return undefined;
  // The number of the system call and its arguments: futex(address, operation, id of the thread, ...)
  const [number, , , id] = new TextDecoder().decode(bytes.subarray(0, length)).split(" ");
  if (Number(number) !== settings.futex) return false;
  return Number(id) === integers[gate] ? true : undefined;
}

/** Starts the threads that the Worker wants, and returns how many there are. */
function startWanted({ integers, settings, startWorker, parts }: Insides): number {
  const { common, slots } = settings;
  const at = common.integers;
  let threads = 0;
  for (let slot = 0; slot < settings.count; slot++) {
    const state = Atomics.load(integers, at.slots + slot);
    if (state === slots.free) continue;
    threads++;
    if (state !== slots.wanted) continue;
    Atomics.store(integers, at.slots + slot, slots.used);
    Atomics.add(integers, at.started, 1);
    const { size } = settings.mailbox;
    const place = { memory: integers.buffer, offset: settings.first + slot * size };
    parts.launch(place, integers[at.owner]!, settings, startWorker, () => {
      Atomics.store(integers, at.slots + slot, slots.free);
      Atomics.add(integers, at.wake, 1);
      Atomics.notify(integers, at.wake);
    });
  }
  return threads;
}

/** Starts a waiter thread, and says when it has ended. */
function launch(
  { memory, offset }: { memory: ArrayBufferLike; offset: number },
  owner: number,
  settings: KeeperSettings,
  startWorker: Backend["startWorker"],
  ended: () => void,
): void {
  const own = new Int32Array(memory, offset);
  const { failed, answered } = settings.mailbox.integers;
  try {
    const worker = startWorker(settings.thread, { memory, offset, owner }, () => {
      Atomics.store(own, failed, 1);
      Atomics.add(own, answered, 1);
      Atomics.notify(own, answered);
    });
    (worker as unknown as NodeJS.EventEmitter).on("exit", ended);
  } catch {
    Atomics.store(own, failed, 1);
    Atomics.add(own, answered, 1);
    Atomics.notify(own, answered);
    ended();
  }
}

/** Has all threads end their calls, and, if they are to leave, give back what they have taken. */
function releaseAll({ calls, integers, settings, parts }: Insides, leaving: boolean): void {
  const { common, slots, mailbox } = settings;
  for (let slot = 0; slot < settings.count; slot++) {
    if (Atomics.load(integers, common.integers.slots + slot) !== slots.used) continue;
    const offset = settings.first + slot * mailbox.size;
    const own = new Int32Array(integers.buffer, offset);
    const thread = new Float64Array(integers.buffer, offset)[mailbox.floats.pthread]!;
    Atomics.store(own, mailbox.integers.cancel, settings.cancels.call);
    parts.release(calls, own, thread, settings, 0);
    if (!leaving) continue;
    own[mailbox.integers.call] = settings.orders.leave;
    Atomics.add(own, mailbox.integers.asked, 1);
    Atomics.notify(own, mailbox.integers.asked);
    parts.release(calls, own, thread, settings, settings.giveBackMs);
  }
}

/** Waits until a thread has answered; it is interrupted in all that takes longer than so many milliseconds. */
function release(
  calls: Insides["calls"],
  own: Int32Array,
  thread: number,
  settings: KeeperSettings,
  milliseconds: number,
): void {
  const at = settings.mailbox.integers;
  for (let waited = 0; own[at.failed] === 0 && own[at.left] === 0; waited++) {
    const answered = Atomics.load(own, at.answered);
    if (answered === own[at.asked]) return;
    if (waited >= milliseconds) {
      if (milliseconds > 0) Atomics.store(own, at.cancel, settings.cancels.reversal);
      // One that is just starting has not said yet which it is, and is in no call.
      if (thread !== 0) calls.pthread_kill!(thread, settings.sigurg);
    }
    Atomics.wait(own, at.answered, answered, 1);
  }
}

/** Has the gate come out of the kernel. If the runtime has marked it, it ends there, and the keeper with it. */
async function openGate({ calls, integers, floats, settings }: Insides): Promise<void> {
  const { turns } = settings.common.integers;
  const before = Atomics.load(integers, turns);
  while (Atomics.load(integers, turns) === before) {
    calls.pthread_kill!(floats[settings.common.floats.gate]!, settings.sigurg);
    await Atomics.waitAsync(integers, turns, before, 1).value;
  }
}
