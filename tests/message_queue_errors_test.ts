import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { MessageQueue } from "@sysv/ipc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { freshName } from "./support/objects.ts";
import { drain, msgmnb } from "./support/queues.ts";

/** Every operation there is. */
const operations: Record<string, (queue: MessageQueue) => unknown> = {
  sendSync: (queue) => queue.sendSync("x"),
  trySend: (queue) => queue.trySend("x"),
  receiveSync: (queue) => queue.receiveSync(),
  tryReceive: (queue) => queue.tryReceive(),
  receiveIntoSync: (queue) => queue.receiveIntoSync(new Uint8Array(10)),
  tryReceiveInto: (queue) => queue.tryReceiveInto(new Uint8Array(10)),
  peek: (queue) => queue.peek(),
  stat: (queue) => queue.stat(),
  setPermissions: (queue) => queue.setPermissions({ mode: 0o600 }),
  remove: (queue) => queue.remove(),
};

test("MessageQueue fails with EIDRM after remove(), in every operation", () => {
  using queue = MessageQueue.create();
  queue.remove();
  for (const operation of Object.values(operations)) {
    assertIpcError(() => operation(queue), "EIDRM", "msgctl");
  }
});

test("MessageQueue fails with EIDRM once somebody else has removed it, in every operation", () => {
  const syscalls: Record<string, string> = {
    sendSync: "msgsnd",
    trySend: "msgsnd",
    receiveSync: "msgrcv",
    tryReceive: "msgrcv",
    receiveIntoSync: "msgrcv",
    tryReceiveInto: "msgrcv",
    peek: "msgrcv",
  };
  using queue = MessageQueue.create();
  MessageQueue.fromId(queue.id).remove();
  for (const [name, operation] of Object.entries(operations)) {
    const error = assertIpcError(() => operation(queue), "EIDRM", syscalls[name] ?? "msgctl");
    assertEquals(error.id, queue.id);
  }
});

test("MessageQueue throws ReferenceError after dispose, in every operation, and touches nothing", () => {
  using owner = MessageQueue.create();
  owner.sendSync("kept");
  const queue = MessageQueue.fromId(owner.id);
  queue[Symbol.dispose]();
  for (const operation of Object.values(operations)) {
    assertThrows(() => operation(queue), ReferenceError, "disposed");
  }
  assertEquals(owner.receiveSync().text(), "kept");
});

test("MessageQueue throws for wrong data before it sends anything", () => {
  using queue = MessageQueue.create();
  for (const data of wrong(undefined, null, 5, true, {}, [1, 2], new Date())) {
    assertThrows(() => queue.sendSync(data), TypeError, "message queue");
    assertThrows(() => queue.trySend(data), TypeError, "message queue");
  }
  assertEquals(queue.stat().messages, 0);
});

test("MessageQueue throws for wrong types before it sends or takes anything", () => {
  using queue = MessageQueue.create();
  queue.sendSync("kept");
  for (const type of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => queue.sendSync("x", { type }), RangeError);
    assertThrows(() => queue.trySend("x", { type }), RangeError);
    for (const selector of [type, { atMost: type }, { not: type }]) {
      assertThrows(() => queue.receiveSync({ type: selector }), RangeError);
      assertThrows(() => queue.tryReceive({ type: selector }), RangeError);
      assertThrows(() => queue.tryReceiveInto(new Uint8Array(9), { type: selector }), RangeError);
    }
  }
  for (const type of wrong("1", null, {}, { atLeast: 1 }, 1n, true)) {
    assertThrows(() => queue.tryReceive({ type }), TypeError);
    assertThrows(() => queue.receiveIntoSync(new Uint8Array(9), { type }), TypeError);
  }
  for (const type of wrong("1", {}, 1n, true)) {
    const of = `got a value of type ${typeof type}`;
    assertThrows(() => queue.trySend("x", { type }), TypeError, of);
  }
  assertEquals(drain(queue), ["1:kept"]);
});

test("MessageQueue.tryReceiveInto() throws for what is no buffer, or one of no memory, and takes nothing", () => {
  using queue = MessageQueue.create();
  queue.sendSync("kept");
  for (const buffer of wrong(undefined, null, "text", 5, [0, 0])) {
    assertThrows(() => queue.tryReceiveInto(buffer), TypeError);
    assertThrows(() => queue.receiveIntoSync(buffer), TypeError);
  }
  const detached = new ArrayBuffer(100);
  const view = new Uint8Array(detached);
  detached.transfer();
  assertThrows(() => queue.tryReceiveInto(detached), TypeError);
  assertIpcError(() => queue.tryReceiveInto(view), "E2BIG", "msgrcv");
  assertEquals(drain(queue), ["1:kept"]);
});

test("MessageQueue.peek() throws for a wrong position", () => {
  using queue = MessageQueue.create();
  for (const index of [-1, 0.5, NaN, 2 ** 31]) {
    assertThrows(() => queue.peek(index), RangeError);
  }
  assertThrows(() => queue.peek("0" as never), TypeError);
});

test("MessageQueue throws for wrong permissions and limits before it changes anything", () => {
  using queue = MessageQueue.create({ mode: 0o640 });
  const wrong = [
    { mode: 0o1000 },
    { mode: -1 },
    { mode: 0.5 },
    { uid: -1 },
    { uid: 0xffffffff },
    { gid: -1 },
    { gid: 1.5 },
    { maxBytes: -1 },
    { maxBytes: 1.5 },
    { maxBytes: NaN },
    { maxBytes: Infinity },
  ];
  for (const permissions of wrong) {
    assertThrows(() => queue.setPermissions(permissions), RangeError);
    assertThrows(
      () => queue.setPermissions({ mode: 0o600, maxBytes: 1, ...permissions }),
      RangeError,
    );
  }
  assertThrows(() => queue.setPermissions({ mode: "600" as never }), TypeError);
  assertEquals([queue.stat().mode, queue.stat().maxBytes], [0o640, msgmnb]);
});

test("MessageQueue throws for wrong options of creation before it creates anything", () => {
  const key = freshName();
  assertThrows(() => MessageQueue.create({ key, mode: 0o1000 }), RangeError);
  assertThrows(() => MessageQueue.create({ key, maxBytes: -1 }), RangeError);
  assertThrows(() => MessageQueue.openOrCreate(key, { mode: 0o1000 }), RangeError);
  assertThrows(() => MessageQueue.openOrCreate(key, { maxBytes: 0.5 }), RangeError);
  assertIpcError(() => MessageQueue.open(key), "ENOENT", "msgget");
  for (const id of [-1, 1.5, NaN, 2 ** 31]) {
    assertThrows(() => MessageQueue.fromId(id), RangeError);
  }
  assertThrows(() => MessageQueue.fromId("0" as never), TypeError);
});
