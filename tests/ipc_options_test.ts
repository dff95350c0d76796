import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  configure,
  ftok,
  keyOf,
  MessageQueue,
  prepare,
  Semaphore,
  SemaphoreSet,
  SharedMemory,
} from "@sysv/ipc";
import { freshName } from "./support/objects.ts";

type Call = () => unknown;

/** What is no object, so that it would be ignored in silence. */
const noOptions = [null, 5, "name", true, [], () => {}] as never[];
/** What is no boolean. */
const noFlags = [null, 0, 1, "false", {}] as never[];
/** What is no AbortSignal. */
const noSignals = [null, {}, "abort", new AbortController(), new EventTarget()] as never[];

/** Asserts that a call throws a TypeError, or rejects with one. */
async function refuses(call: Call, what: unknown): Promise<void> {
  const message = `${call} of ${String(what)}`;
  let result;
  try {
    result = call();
  } catch (error) {
    return assertThrows(
      () => {
        throw error;
      },
      TypeError,
      undefined,
      message,
    ) as void;
  }
  if (!(result instanceof Promise)) throw new Error(`Accepted: ${message}`);
  await assertRejects(() => result, TypeError, undefined, message);
}

function objects() {
  const semaphore = Semaphore.create({ value: 1 });
  const set = SemaphoreSet.create({ values: [1, 1] });
  const queue = MessageQueue.create();
  const memory = SharedMemory.create({ size: 10 });
  queue.trySend("kept");
  return {
    semaphore,
    set,
    queue,
    memory,
    [Symbol.dispose]() {
      for (const object of [semaphore, set, queue, memory]) object[Symbol.dispose]();
    },
  };
}

test("Options that are no objects are refused at every entry, before anything happens", async () => {
  using all = objects();
  const { semaphore, set, queue, memory } = all;
  const key = freshName();
  const buffer = new Uint8Array(9);
  for (const wrong of noOptions) {
    const calls: Call[] = [
      () => Semaphore.create(wrong),
      () => Semaphore.openOrCreate(key, wrong),
      () => semaphore.increment(1, wrong),
      () => semaphore.decrement(1, wrong),
      () => semaphore.decrementSync(1, wrong),
      () => semaphore.tryDecrement(1, wrong),
      () => semaphore.acquire(1, wrong),
      () => semaphore.acquireSync(1, wrong),
      () => semaphore.tryAcquire(1, wrong),
      () => semaphore.waitForZero(wrong),
      () => semaphore.waitForZeroSync(wrong),
      () => semaphore.waitForAtLeast(1, wrong),
      () => semaphore.waitForAtLeastSync(1, wrong),
      () => semaphore.run(() => {}, wrong),
      () => semaphore.setPermissions(wrong),
      () => SemaphoreSet.create(wrong),
      () => SemaphoreSet.open(key, wrong),
      () => SemaphoreSet.openOrCreate(key, wrong),
      () => SemaphoreSet.fromId(set.id, wrong),
      () => set.operate([{ delta: 1 }], wrong),
      () => set.operateSync([{ delta: 1 }], wrong),
      () => set.setPermissions(wrong),
      () => MessageQueue.create(wrong),
      () => MessageQueue.openOrCreate(key, wrong),
      () => queue.send("x", wrong),
      () => queue.sendSync("x", wrong),
      () => queue.trySend("x", wrong),
      () => queue.receive(wrong),
      () => queue.receiveSync(wrong),
      () => queue.tryReceive(wrong),
      () => queue.receiveInto(buffer, wrong),
      () => queue.receiveIntoSync(buffer, wrong),
      () => queue.tryReceiveInto(buffer, wrong),
      () => queue.messages(wrong),
      () => queue.setPermissions(wrong),
      () => SharedMemory.create(wrong),
      () => SharedMemory.open(key, wrong),
      () => SharedMemory.openOrCreate(key, wrong),
      () => SharedMemory.fromId(memory.id, wrong),
      () => memory.setPermissions(wrong),
      () => configure(wrong),
    ];
    for (const call of calls) await refuses(call, wrong);
  }
  assertEquals([semaphore.value, set.values, queue.stat().messages], [1, [1, 1], 1]);
  assertEquals(memory.stat().attachments, 1);
});

test("Flags that are no booleans are refused at every entry, before anything happens", async () => {
  using all = objects();
  const { semaphore, set, memory } = all;
  const key = freshName();
  for (const wrong of noFlags) {
    const calls: Call[] = [
      () => Semaphore.create({ owner: wrong }),
      () => Semaphore.openOrCreate(key, { allowForeign: wrong }),
      () => semaphore.increment(1, { undo: wrong }),
      () => semaphore.decrement(1, { undo: wrong }),
      () => semaphore.decrementSync(1, { undo: wrong }),
      () => semaphore.tryDecrement(1, { undo: wrong }),
      () => semaphore.acquire(1, { undo: wrong }),
      () => semaphore.acquireSync(1, { undo: wrong }),
      () => semaphore.tryAcquire(1, { undo: wrong }),
      () => semaphore.run(() => {}, { undo: wrong }),
      () => SemaphoreSet.create({ values: [1], owner: wrong }),
      () => SemaphoreSet.openOrCreate(key, { values: [1], allowForeign: wrong }),
      () => set.operate([{ delta: 1, undo: wrong }]),
      () => set.operateSync([{ delta: 1, undo: wrong }]),
      () => set.tryOperate([{ delta: 1, undo: wrong }]),
      () => MessageQueue.create({ owner: wrong }),
      () => MessageQueue.openOrCreate(key, { allowForeign: wrong }),
      () => SharedMemory.create({ size: 1, owner: wrong }),
      () => SharedMemory.create({ size: 1, ephemeral: wrong }),
      () => SharedMemory.create({ size: 1, hugePages: wrong }),
      () => SharedMemory.open(key, { readonly: wrong }),
      () => SharedMemory.openOrCreate(key, { size: 1, allowForeign: wrong }),
      () => SharedMemory.fromId(memory.id, { readonly: wrong }),
    ];
    for (const call of calls) await refuses(call, wrong);
  }
  assertEquals([semaphore.value, set.values], [1, [1, 1]]);
});

test("A signal that is no AbortSignal is refused, before anything happens", async () => {
  using all = objects();
  const { semaphore, set, queue } = all;
  for (const signal of noSignals) {
    const calls: Call[] = [
      () => semaphore.acquire(1, { signal }),
      () => semaphore.decrement(1, { signal }),
      () => semaphore.waitForZero({ signal }),
      () => semaphore.waitForAtLeast(1, { signal }),
      () => semaphore.run(() => {}, { signal }),
      () => set.operate([{ delta: -1 }], { signal }),
      () => queue.send("x", { signal }),
      () => queue.receive({ signal }),
      () => queue.receiveInto(new Uint8Array(9), { signal }),
      () => queue.messages({ signal }),
    ];
    for (const call of calls) await refuses(call, signal);
  }
  assertEquals([semaphore.value, set.values, queue.stat().messages], [1, [1, 1], 1]);
});

test("Unknown kinds, holes in arrays, and what is no name or function are refused", async () => {
  using all = objects();
  const { semaphore, set } = all;
  const key = freshName();
  const hole = [, { delta: 1 }] as never;
  const kinds = ["", "semaphore", "toString", null, 5, {}] as never[];
  const calls: Call[] = [
    ...kinds.flatMap((kind): Call[] => [
      () => SemaphoreSet.create({ values: [1], kind }),
      () => SemaphoreSet.open(key, { kind }),
      () => SemaphoreSet.openOrCreate(key, { values: [1], kind }),
      () => SemaphoreSet.fromId(set.id, { kind }),
    ]),
    () => SemaphoreSet.create({ values: [1, , 2] as never }),
    () => SemaphoreSet.openOrCreate(key, { values: new Array(2) }),
    () => set.values = [, 1] as never,
    () => set.operate(hole),
    () => set.operateSync(hole),
    () => set.tryOperate(hole),
    () => set.tryOperate([null] as never),
    () => semaphore.run("nothing" as never),
    () => keyOf(5 as never),
    () => keyOf(""),
    () => ftok(5 as never, 1),
    () => ftok("/", "1" as never),
    () => Semaphore.open({} as never),
    () => Semaphore.create({ key: null as never }),
    () => configure({ waiterThreads: "2" as never }),
  ];
  for (const call of calls) await refuses(call, "");
  assertEquals([semaphore.value, set.values], [1, [1, 1]]);
  await prepare();
});

test("Options are read before anything is packed", async () => {
  using a = Semaphore.create({ value: 5 });
  using b = Semaphore.create();
  using set = SemaphoreSet.create({ values: [5, 5] });
  using queue = MessageQueue.create();
  const other = () => {
    b.increment(2);
    set.tryOperate([{ index: 1, delta: -1 }, { index: 1, delta: 1 }]);
    queue.trySend("other", { type: 9 });
  };
  const options = {
    get timeout() {
      other();
      return undefined;
    },
    get undo() {
      other();
      return undefined;
    },
    get signal() {
      other();
      return undefined;
    },
  };
  await a.decrement(1, options);
  assertEquals(a.value, 4);
  a.decrementSync(1, options);
  assertEquals(a.value, 3);
  await a.waitForAtLeast(3, options);
  a.waitForAtLeastSync(3, options);
  (await a.acquire(1, options)).release();
  assertEquals(a.value, 3);
  await set.operate([{ delta: -2 }], options);
  set.operateSync([{ delta: -2 }], options);
  assertEquals(set.values, [1, 5]);
  while (queue.tryReceive() !== undefined);
  await queue.send("mine", options);
  queue.sendSync("mine", options);
  const texts: string[] = [];
  for (let m = queue.tryReceive({ type: 1 }); m !== undefined; m = queue.tryReceive({ type: 1 })) {
    texts.push(m.text());
  }
  assertEquals(texts, ["mine", "mine"]);
});

test("Operations with getters are packed as they say", () => {
  using set = SemaphoreSet.create({ values: [5, 5] });
  const sly = {
    index: 1,
    get delta() {
      set.tryOperate([{ index: 0, delta: 1 }, { index: 0, delta: -1 }]);
      return -2;
    },
  };
  set.tryOperate([{ index: 0, delta: -1 }, sly]);
  assertEquals(set.values, [4, 3]);
});
