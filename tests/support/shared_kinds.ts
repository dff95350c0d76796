/**
 * All kinds of structures in shared memory, and all that can be done with each: for tests that hold for
 * every one of them.
 *
 * @module
 */

import {
  Broadcast,
  bytes,
  Channel,
  SharedCounters,
  SharedMutex,
  type SharedStructure,
  SharedVariable,
  WorkQueue,
} from "@sysv/ipc/shared";

/** What can be done with a handle: none of it takes longer than a moment. */
export type Uses = Readonly<Record<string, () => unknown>>;

/** A kind of structure. */
export interface Kind<Handle extends SharedStructure = SharedStructure> {
  /** Makes one, of few members and bytes. */
  create(options?: { mode?: number; key?: string; owner?: boolean }): Handle;
  open(key: string): Handle;
  openOrCreate(key: string): Handle;
  fromId(id: number): Handle;
  /** Puts something into it, and takes the places that the forms of a handle take. */
  fill(handle: Handle): Promise<void>;
  /** The forms that block or try. */
  usesSync(handle: Handle): Uses;
  /** The forms that return promises. */
  uses(handle: Handle): Readonly<Record<string, () => Promise<unknown>>>;
  /** Whether removing it ends all that can be done with it: who has it before can look at it still. */
  readonly endsByRemoval: (use: string) => boolean;
}

const timeout = 2;
const message = new Uint8Array(16).fill(7);
const members = 8;
const codec = bytes;

function kindOf<Handle extends SharedStructure>(kind: Kind<Handle>): Kind {
  return kind as unknown as Kind;
}

const counters = { hits: "u32", sum: "i64" } as const;

/** Every kind. */
export const kinds: Readonly<Record<string, Kind>> = {
  SharedMutex: kindOf<SharedMutex>({
    create: (options) => SharedMutex.create({ members, ...options }),
    open: (key) => SharedMutex.open(key),
    openOrCreate: (key) => SharedMutex.openOrCreate(key, { members }),
    fromId: (id) => SharedMutex.fromId(id),
    async fill(mutex) {
      mutex.lockSync().release();
      const guard = mutex.lockSync();
      await mutex.lock({ timeout }).then((other) => other.release(), () => {});
      guard.release();
    },
    usesSync: (mutex) => ({
      lockSync: () => mutex.lockSync({ timeout }).release(),
      tryLock: () => mutex.tryLock()?.release(),
      locked: () => mutex.locked,
    }),
    uses: (mutex) => ({
      lock: async () => (await mutex.lock({ timeout })).release(),
      run: () => mutex.run(() => 1, { timeout }),
    }),
    endsByRemoval: (use) => use !== "locked",
  }),

  Channel: kindOf<Channel<Uint8Array>>({
    create: (options) => Channel.create({ codec, members, capacity: 256, ...options }),
    open: (key) => Channel.open(key, { codec }),
    openOrCreate: (key) => Channel.openOrCreate(key, { codec, members, capacity: 256 }),
    fromId: (id) => Channel.fromId(id, { codec }),
    async fill(channel) {
      channel.sendSync(message);
      await channel.send(message);
      await channel.receive();
      channel.sendSync(message.subarray(5));
    },
    usesSync: (channel) => ({
      sendSync: () => channel.sendSync(message, { timeout }),
      trySend: () => channel.trySend(message),
      receiveSync: () => channel.receiveSync({ timeout }),
      receiveIntoSync: () => channel.receiveIntoSync(new Uint8Array(120), { timeout }),
      tryReceive: () => channel.tryReceive(),
      tryReceiveInto: () => channel.tryReceiveInto(new Uint8Array(120)),
      used: () => channel.used,
      closed: () => channel.closed,
      abandoned: () => channel.abandoned,
    }),
    uses: (channel) => ({
      send: () => channel.send(message, { timeout }),
      receive: () => channel.receive({ timeout }),
      receiveInto: () => channel.receiveInto(new Uint8Array(120), { timeout }),
    }),
    endsByRemoval: (use) => !["used", "closed", "abandoned"].includes(use),
  }),

  WorkQueue: kindOf<WorkQueue<Uint8Array>>({
    create: (options) =>
      WorkQueue.create({ codec, members, capacity: 4, maxBytes: 64, ...options }),
    open: (key) => WorkQueue.open(key, { codec }),
    openOrCreate: (key) =>
      WorkQueue.openOrCreate(key, { codec, members, capacity: 4, maxBytes: 64 }),
    fromId: (id) => WorkQueue.fromId(id, { codec }),
    async fill(queue) {
      queue.sendSync(message);
      await queue.send(message);
      (await queue.receive()).done();
      queue.receiveSync().release();
    },
    usesSync: (queue) => ({
      sendSync: () => queue.sendSync(message, { timeout }),
      trySend: () => queue.trySend(message),
      receiveSync: () => queue.receiveSync({ timeout }).done(),
      tryReceive: () => queue.tryReceive()?.release(),
      waiting: () => queue.waiting,
      claimed: () => queue.claimed,
    }),
    uses: (queue) => ({
      send: () => queue.send(message, { timeout }),
      receive: async () => (await queue.receive({ timeout })).release(),
      done: async () => (await queue.receive({ timeout })).done(),
    }),
    endsByRemoval: (use) => !["waiting", "claimed"].includes(use),
  }),

  SharedVariable: kindOf<SharedVariable<Uint8Array>>({
    create: (options) => SharedVariable.create({ codec, members, maxBytes: 64, ...options }),
    open: (key) => SharedVariable.open(key, { codec }),
    openOrCreate: (key) => SharedVariable.openOrCreate(key, { codec, members, maxBytes: 64 }),
    fromId: (id) => SharedVariable.fromId(id, { codec }),
    async fill(variable) {
      variable.setSync(message);
      await variable.set(message);
    },
    usesSync: (variable) => ({
      get: () => variable.get(),
      read: () => variable.read(),
      version: () => variable.version,
      setSync: () => variable.setSync(message, { timeout }),
      updateSync: () => variable.updateSync((old) => old ?? message, { timeout }),
      waitSync: () => variable.waitSync({ timeout }),
    }),
    uses: (variable) => ({
      set: () => variable.set(message, { timeout }),
      update: () => variable.update((old) => old ?? message, { timeout }),
      wait: () => variable.wait({ timeout }),
    }),
    endsByRemoval: (use) => !["get", "read", "version"].includes(use),
  }),

  Broadcast: kindOf<Broadcast<Uint8Array>>({
    create: (options) => Broadcast.create({ codec, members, capacity: 256, ...options }),
    open: (key) => Broadcast.open(key, { codec }),
    openOrCreate: (key) => Broadcast.openOrCreate(key, { codec, members, capacity: 256 }),
    fromId: (id) => Broadcast.fromId(id, { codec }),
    async fill(news) {
      for (let i = 0; i < 12; i++) news.publishSync(message);
      await news.publish(message);
    },
    usesSync(news) {
      const mine = news.subscribe();
      return {
        publishSync: () => news.publishSync(message, { timeout }),
        tryReceive: () => mine.tryReceive(),
        receiveSync: () => mine.receiveSync({ timeout }),
        subscribe: () => news.subscribe(),
      };
    },
    uses(news) {
      const mine = news.subscribe();
      return {
        receive: () => mine.receive({ timeout }),
        publish: () => news.publish(message, { timeout }),
      };
    },
    endsByRemoval: (use) => use !== "subscribe",
  }),

  SharedCounters: kindOf<SharedCounters<typeof counters>>({
    create: (options) => SharedCounters.create({ counters, ...options }),
    open: (key) => SharedCounters.open<typeof counters>(key),
    openOrCreate: (key) => SharedCounters.openOrCreate(key, { counters }),
    fromId: (id) => SharedCounters.fromId<typeof counters>(id),
    fill: (counters) => Promise.resolve(counters.store("hits", 1)),
    usesSync: (counters) => ({
      add: () => counters.add("hits", 1),
      load: () => counters.load("sum"),
      values: () => counters.values(),
    }),
    uses: () => ({}),
    endsByRemoval: () => false,
  }),
};
