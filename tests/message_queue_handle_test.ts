import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { keyOf, MessageQueue } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { freshName, removing } from "./support/objects.ts";
import { msgmnb } from "./support/queues.ts";

test("MessageQueue.stat() tells what is in the queue and who used it", () => {
  // The kernel tells whole seconds of a clock that lags a little.
  const start = Math.floor(Date.now() / 1000) * 1000 - 1000;
  using queue = MessageQueue.create();
  const fresh = queue.stat();
  assertEquals([fresh.messages, fresh.bytes, fresh.maxBytes], [0, 0, msgmnb]);
  assertEquals([fresh.lastSend, fresh.lastReceive], [undefined, undefined]);
  assertEquals([fresh.lastSendPid, fresh.lastReceivePid], [0, 0]);
  assertEquals([fresh.id, fresh.key, fresh.mode], [queue.id, undefined, 0o600]);
  assertEquals([fresh.uid, fresh.creatorUid], [process.geteuid!(), process.geteuid!()]);
  assertEquals([fresh.gid, fresh.creatorGid], [process.getegid!(), process.getegid!()]);
  assert(fresh.lastChange.getTime() >= start);

  queue.sendSync("four");
  queue.sendSync("sixsix");
  queue.receiveSync();
  const used = queue.stat();
  assertEquals([used.messages, used.bytes], [1, 6]);
  assertEquals([used.lastSendPid, used.lastReceivePid], [process.pid, process.pid]);
  assert(used.lastSend!.getTime() >= start && used.lastReceive!.getTime() >= start);
  assertEquals(fresh.messages, 0, "a snapshot does not change");
  assert(Object.isFrozen(used));
});

test("MessageQueue.create() makes a private queue, different each time", () => {
  using one = MessageQueue.create();
  using other = MessageQueue.create();
  assertNotEquals(one.id, other.id);
  assertEquals([one.key, one.owned, one.stat().mode], [undefined, true, 0o600]);
});

test("MessageQueue.create() fails if the key is taken, and leaves the other's alone", () => {
  const key = freshName();
  using queue = MessageQueue.create({ key, mode: 0o666 });
  queue.sendSync("kept");
  const error = assertIpcError(() => MessageQueue.create({ key }), "EEXIST", "msgget");
  assertEquals(error.key, keyOf(key));
  assertEquals([queue.stat().mode, queue.receiveSync().text()], [0o666, "kept"]);
});

test("MessageQueue.open() finds by name and by number, and does not own", () => {
  const key = freshName();
  using created = MessageQueue.create({ key });
  {
    using byName = MessageQueue.open(key);
    using byNumber = MessageQueue.open(keyOf(key));
    assertEquals([byName.id, byNumber.id], [created.id, created.id]);
    assertEquals([byName.key, byNumber.key], [keyOf(key), keyOf(key)]);
    assertEquals([byName.owned, byNumber.owned], [false, false]);
    byName.sendSync("hello");
    assertEquals(byNumber.receiveSync().text(), "hello");
  }
  assertEquals(created.stat().messages, 0);
});

test("MessageQueue.open() fails if there is none", () => {
  const key = freshName();
  const error = assertIpcError(() => MessageQueue.open(key), "ENOENT", "msgget");
  assertEquals(error.key, keyOf(key));
});

test("MessageQueue.openOrCreate() creates with its options, then opens and leaves all as it is", () => {
  const key = freshName();
  using created = MessageQueue.openOrCreate(key, { mode: 0o640, maxBytes: 1000 });
  using _ = removing(created);
  created.sendSync("kept");
  using opened = MessageQueue.openOrCreate(key, { mode: 0o600, maxBytes: 5 });
  assertEquals([opened.id, opened.owned, created.owned], [created.id, false, false]);
  const { mode, maxBytes } = opened.stat();
  assertEquals([mode, maxBytes], [0o640, 1000]);
  assertEquals(opened.receiveSync().text(), "kept");
});

test("MessageQueue.openOrCreate() makes a new queue once the old one is removed", () => {
  const key = freshName();
  using first = MessageQueue.openOrCreate(key);
  first.sendSync("gone with it");
  first.remove();
  using second = MessageQueue.openOrCreate(key);
  using _ = removing(second);
  assertNotEquals(second.id, first.id);
  assertEquals(second.tryReceive(), undefined);
});

test("MessageQueue.fromId() takes a queue, learns its key, and does not own it", () => {
  const key = freshName();
  using created = MessageQueue.create({ key });
  {
    using taken = MessageQueue.fromId(created.id);
    assertEquals([taken.id, taken.key, taken.owned], [created.id, keyOf(key), false]);
  }
  assertEquals(created.stat().id, created.id);
});

test("MessageQueue.fromId() asks for negative identifiers too, as macOS has them, but for -1", () => {
  for (const id of [-2, -65536, -(2 ** 31)]) {
    assertIpcError(() => MessageQueue.fromId(id), "EIDRM", "msgctl");
  }
  assertThrows(() => MessageQueue.fromId(-1), RangeError, "a failed call gives -1");
});

test("MessageQueue.fromId() fails with EIDRM if the queue was removed", () => {
  const queue = MessageQueue.create();
  queue.remove();
  const error = assertIpcError(() => MessageQueue.fromId(queue.id), "EIDRM", "msgctl");
  assertEquals(error.id, queue.id);
});

test("MessageQueue[Symbol.dispose]() removes an owned queue, and nothing the second time", () => {
  const queue = MessageQueue.create();
  const other = MessageQueue.fromId(queue.id);
  other[Symbol.dispose]();
  assertEquals(queue.stat().messages, 0);
  queue[Symbol.dispose]();
  queue[Symbol.dispose]();
  assertIpcError(() => MessageQueue.fromId(queue.id), "EIDRM", "msgctl");
});

test("MessageQueue[Symbol.dispose]() leaves a queue that was created with owner false", () => {
  const queue = MessageQueue.create({ owner: false });
  assert(!queue.owned);
  queue.sendSync("outlives");
  queue[Symbol.dispose]();
  using same = MessageQueue.fromId(queue.id);
  using _ = removing(same);
  assertEquals(same.receiveSync().text(), "outlives");
});

test("MessageQueue[Symbol.dispose]() does nothing more when somebody else removed the queue", () => {
  const queue = MessageQueue.create();
  MessageQueue.fromId(queue.id).remove();
  queue[Symbol.dispose]();
});
