import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import * as ipc from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import * as inventory from "@sysv/ipc/inventory";
import * as sync from "@sysv/ipc/sync";
import { type Entry, on, refusals, refuses, withMethods } from "./support/refuses.ts";
import {
  arrayOf,
  buffer,
  callback,
  data,
  flag,
  id,
  key,
  mode,
  object,
  type Parameter,
  path,
  signal,
  timeout,
  whole,
  word,
} from "./support/wrong.ts";

const tries = object({ timeout });
const waits = object({ timeout, signal });
const opens = { mode, allowForeign: flag };
const creates = { key, mode, owner: flag };
const undo = object({ undo: flag });
const amount = whole(1, 0, -1, 32768, 2 ** 31);
const permissions = object({
  mode,
  uid: whole(0, -1, 2 ** 32),
  gid: whole(0, -1, 2 ** 32),
});
/** The static methods that make and find objects. */
const finds = (of: object, create: Parameter, openOrCreate: Parameter, ...open: Parameter[]) =>
  withMethods(of, {
    create: [create],
    open: [key, ...open],
    openOrCreate: [key, openOrCreate],
    fromId: [id, ...open],
  });

const start = { value: whole(1, -1, 32768) };
refuses(
  "Semaphore.",
  finds(ipc.Semaphore, object({ ...creates, ...start }), object({ ...opens, ...start })),
);
refuses(
  "Semaphore.",
  on(ipc.Semaphore.create({ owner: false }), (semaphore) =>
    withMethods(semaphore, {
      increment: [amount, undo],
      decrement: [amount, object({ timeout, signal, undo: flag })],
      decrementSync: [amount, object({ timeout, undo: flag })],
      tryDecrement: [amount, undo],
      waitForZero: [waits],
      waitForZeroSync: [tries],
      waitForAtLeast: [amount, waits],
      waitForAtLeastSync: [amount, tries],
      tryWaitForAtLeast: [amount],
      acquire: [amount, object({ timeout, signal, undo: flag })],
      acquireSync: [amount, object({ timeout, undo: flag })],
      tryAcquire: [amount, undo],
      setPermissions: [permissions],
    })),
);

const kind = { kind: word("mutex") };
const values = { values: arrayOf(whole(1, -1, 32768)) };
refuses(
  "SemaphoreSet.",
  finds(
    ipc.SemaphoreSet,
    object({ ...creates, ...kind, ...values }),
    object({ ...opens, ...kind, ...values }),
    object(kind),
  ),
);
const operations = arrayOf(object({
  index: whole(0, -1, 2 ** 16),
  delta: whole(1, 32768, -32769),
  undo: flag,
}));
refuses(
  "SemaphoreSet.",
  on(ipc.SemaphoreSet.create({ values: [1], owner: false }), (set) => ({
    ...withMethods(set, {
      at: [whole(0, -1, 1)],
      operate: [operations, waits],
      operateSync: [operations, tries],
      tryOperate: [operations],
      setPermissions: [permissions],
    }),
    values: [(given) => set.values = given, values.values],
  })),
);

const maxBytes = { maxBytes: whole(100, -1, 2 ** 32) };
const sent = { type: whole(1, 0, -1, 2 ** 53) };
const received = {
  type: { right: 1, wrong: [null, "1", 1.5, NaN, {}, true, 2 ** 53] },
};
refuses(
  "MessageQueue.",
  finds(ipc.MessageQueue, object({ ...creates, ...maxBytes }), object({ ...opens, ...maxBytes })),
);
refuses(
  "MessageQueue.",
  on(ipc.MessageQueue.create({ owner: false }), (queue) =>
    withMethods(queue, {
      send: [data, object({ ...sent, timeout, signal })],
      sendSync: [data, object({ ...sent, timeout })],
      trySend: [data, object(sent)],
      receive: [object({ ...received, timeout, signal })],
      receiveSync: [object({ ...received, timeout })],
      tryReceive: [object(received)],
      receiveInto: [buffer, object({ ...received, timeout, signal })],
      receiveIntoSync: [buffer, object({ ...received, timeout })],
      tryReceiveInto: [buffer, object(received)],
      messages: [object({ ...received, signal })],
      peek: [whole(0, -1)],
      setPermissions: [object({ mode, ...maxBytes })],
    })),
);

const size = { size: whole(100, 0, -1, 2 ** 53) };
refuses(
  "SharedMemory.",
  finds(
    ipc.SharedMemory,
    object({ ...creates, ...size, hugePages: flag }),
    object({ ...opens, ...size }),
    object({ readonly: flag }),
  ),
);
refuses("SharedMemory.", {
  ...withMethods(ipc.SharedMemory, { create: [object({ ...size, ephemeral: flag })] }),
});
refuses(
  "SharedMemory.",
  on(ipc.SharedMemory.create({ size: 100, owner: false }), (memory) =>
    withMethods(memory, {
      read: [whole(0, -1, 101), whole(1, -1)],
      write: [data, whole(0, -1, 101)],
      setPermissions: [permissions],
    })),
);

refuses("", {
  ...withMethods({ ...ipc }, {
    keyOf: [{ right: "name", wrong: [null, undefined, 5, "", {}, ["name"], true] }],
    ftok: [path, whole(1, 0, -1, 256, undefined)],
    removeOnExit: [{ right: undefined, wrong: [null, 5, "x", {}, [ipc.Semaphore], { remove: 5 }] }],
    guard: [{ right: undefined, wrong: [null, 5, "x", {}, [], { remove() {} }] }],
    configure: [object({ waiterThreads: whole(1, -1, 2 ** 31) })],
    prepare: [whole(1, -1, 2 ** 31)],
  }),
});

const listed = object({ type: word("queue", "semaphore") });
refuses("inventory.", withMethods({ ...inventory }, { list: [listed], orphans: [listed] }));

const guards: Readonly<Record<string, Parameter[]>> = { setPermissions: [permissions] };
refuses(
  "Mutex.",
  finds(
    sync.Mutex,
    object({ ...creates, onDeath: word("release") }),
    object({ ...opens, onDeath: word("release") }),
    object({ onDeath: word("release") }),
  ),
);
refuses(
  "Mutex.",
  on(sync.Mutex.create({ owner: false }), (mutex) =>
    withMethods(mutex, {
      ...guards,
      lock: [waits],
      lockSync: [tries],
      recover: [waits],
      recoverSync: [tries],
      run: [callback, waits],
    })),
);

const prefer = { prefer: word("readers") };
refuses(
  "RwLock.",
  finds(
    sync.RwLock,
    object({ ...creates, ...prefer }),
    object({ ...opens, ...prefer }),
    object(prefer),
  ),
);
refuses(
  "RwLock.",
  on(sync.RwLock.create({ owner: false }), (lock) =>
    withMethods(lock, {
      ...guards,
      read: [waits],
      readSync: [tries],
      write: [waits],
      writeSync: [tries],
      runRead: [callback, waits],
      runWrite: [callback, waits],
    })),
);

const tickets = { tickets: whole(2, 0, -1, 32768) };
const quota = { quota: { right: 0.5, wrong: [null, "1", 0, -1, 1.5, NaN, {}, true, [1]] } };
refuses(
  "Bulkhead.",
  finds(
    sync.Bulkhead,
    object({ ...creates, ...tickets }),
    object({ ...opens, ...tickets }),
    object(quota),
  ),
);
refuses(
  "Bulkhead.",
  on(sync.Bulkhead.create({ tickets: 2, owner: false }), (bulkhead) =>
    withMethods(bulkhead, {
      ...guards,
      acquire: [waits],
      acquireSync: [tries],
      run: [callback, waits],
      resize: [tickets.tickets],
    })),
);

const parties = { parties: whole(2, 0, -1, 32768), onDeath: word("break") };
refuses(
  "Barrier.",
  finds(
    sync.Barrier,
    object({ ...creates, ...parties }),
    object({ ...opens, ...parties }),
    object(parties),
  ),
);
const barrier = sync.Barrier.create({ parties: 2, owner: false });
const party = barrier.join();
refuses("Barrier.", on(barrier, (barrier) => withMethods(barrier, guards)));
refuses("BarrierParty.", withMethods(party, { wait: [waits], waitSync: [tries] }));

const count = { count: whole(2, -1, 32768) };
refuses(
  "Latch.",
  finds(sync.Latch, object({ ...creates, ...count }), object({ ...opens, ...count })),
);
refuses(
  "Latch.",
  on(sync.Latch.create({ count: 2, owner: false }), (latch) =>
    withMethods(latch, {
      ...guards,
      countDown: [amount],
      reset: [count.count],
      wait: [waits],
      waitSync: [tries],
    })),
);

refuses(
  "Event.",
  finds(sync.Event, object({ ...creates, set: flag }), object({ ...opens, set: flag })),
);
refuses(
  "Event.",
  on(
    sync.Event.create({ owner: false }),
    (event) => withMethods(event, { ...guards, wait: [waits], waitSync: [tries] }),
  ),
);

refuses("Gauge.", finds(sync.Gauge, object(creates), object(opens)));
refuses(
  "Gauge.",
  on(sync.Gauge.create({ owner: false }), (gauge) =>
    withMethods(gauge, {
      ...guards,
      enter: [amount],
      waitForIdle: [waits],
      waitForIdleSync: [tries],
      waitForAtLeast: [amount, waits],
      waitForAtLeastSync: [amount, tries],
      waitForAtMost: [whole(1, -1), waits],
      waitForAtMostSync: [whole(1, -1), tries],
    })),
);

refuses("Leader.", finds(sync.Leader, object(creates), object(opens)));
refuses(
  "Leader.",
  on(sync.Leader.create({ owner: false }), (leader) =>
    withMethods(leader, {
      ...guards,
      campaign: [waits],
      campaignSync: [tries],
      run: [callback, waits],
      every: [whole(1, 0, -1, 2 ** 31), callback, object({ signal, immediate: flag })],
    })),
);

/** Semaphores of another engine than the kernel. */
const engine = { size: 9, operate() {}, tryOperate() {}, read() {}, remove() {} };
const array: Parameter = {
  right: undefined,
  wrong: [null, undefined, 5, "set", true, {}, [], [1], { size: 2 }, { ...engine, size: "2" }, {
    ...engine,
    read: 5,
  }],
};
const ofSemaphores = [
  sync.Barrier,
  sync.Bulkhead,
  sync.Event,
  sync.Gauge,
  sync.Latch,
  sync.Leader,
  sync.Mutex,
  sync.RwLock,
] as unknown as { new (array: unknown): unknown; name: string }[];
refuses(
  "new ",
  Object.fromEntries(
    ofSemaphores.map((
      Class,
    ): [string, Entry] => [Class.name, [(array) => new Class(array), array]]),
  ),
);

test("the wrong arguments are many", () => {
  party.leave();
  assert(refusals() > 4000, `${refusals()}`);
});

test("-0 is 0, wherever a runtime would pass no -0", () => {
  using set = ipc.SemaphoreSet.create({ values: [1, 2] });
  const first = set.at(-0);
  assertEquals([first.value, first.waiting.forZero], [1, 0]);
  first.value = -0;
  assertEquals(set.values, [0, 2]);
  using queue = ipc.MessageQueue.create();
  queue.trySend("oldest");
  assertEquals(queue.peek(-0)?.text(), "oldest");
  assertEquals(libc.semctl(set.id, -0, libc.GETVAL), 0);
  assertEquals(libc.msgrcv(queue.id, 10, -0, -0).mtext.length, 6);
});
