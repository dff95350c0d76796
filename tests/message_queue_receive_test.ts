import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { MessageQueue } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { drain, sendTypes } from "./support/queues.ts";

test("MessageQueue.tryReceive() takes the oldest of whatever type", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 5, 1, 3);
  assertEquals(drain(queue), ["5:0", "1:1", "3:2"]);
});

test("MessageQueue.tryReceive() takes a type in the order of sending, and leaves the others", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 4, 3, 2, 3, 1);
  assertEquals(queue.tryReceive({ type: 3 })?.text(), "1");
  assertEquals(queue.tryReceive({ type: 3 })?.text(), "3");
  assertEquals(queue.tryReceive({ type: 3 }), undefined);
  assertEquals(drain(queue), ["4:0", "2:2", "1:4"]);
});

test("MessageQueue.tryReceive() with atMost takes the lowest type, the oldest of it first", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 4, 2, 3, 2);
  const take = (atMost: number) => queue.tryReceive({ type: { atMost } })?.text();
  assertEquals(take(1), undefined);
  assertEquals([take(3), take(3), take(3), take(3)], ["1", "3", "2", undefined]);
  assertEquals(drain(queue), ["4:0"]);
});

test("MessageQueue.tryReceive() with not takes the oldest of any other type", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 2, 1, 2, 3);
  const take = () => queue.tryReceive({ type: { not: 2 } })?.text();
  assertEquals([take(), take(), take()], ["1", "3", undefined]);
  assertEquals(drain(queue), ["2:0", "2:2"]);
});

test("MessageQueue.receiveSync() selects as tryReceive() does", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 4, 2, 3, 2);
  assertEquals(queue.receiveSync({ type: { atMost: 3 } }).text(), "1");
  assertEquals(queue.receiveSync({ type: { not: 4 } }).text(), "2");
  assertEquals(queue.receiveSync({ type: 2 }).text(), "3");
  assertEquals(queue.receiveSync().text(), "0");
});

test("MessageQueue.receiveIntoSync() and tryReceiveInto() give length and type, and leave the rest of the buffer", () => {
  using queue = MessageQueue.create();
  const buffer = new Uint8Array(10).fill(9);
  queue.sendSync(Uint8Array.of(1, 2, 3), { type: 7 });
  assertEquals(queue.receiveIntoSync(buffer), { length: 3, type: 7 });
  assertEquals([...buffer], [1, 2, 3, 9, 9, 9, 9, 9, 9, 9]);
  queue.sendSync(Uint8Array.of(4), { type: 2 ** 40 });
  assertEquals(queue.tryReceiveInto(buffer), { length: 1, type: 2 ** 40 });
  assertEquals([...buffer.subarray(0, 4)], [4, 2, 3, 9]);
  assertEquals(queue.tryReceiveInto(buffer), undefined);
  assertEquals([...buffer.subarray(0, 4)], [4, 2, 3, 9]);
});

test("MessageQueue.tryReceiveInto() fills any view, and nothing around it", () => {
  using queue = MessageQueue.create();
  const memory = new Uint8Array(12);
  const views = [
    memory.subarray(4, 8),
    new DataView(memory.buffer, 4, 4),
    new Uint16Array(memory.buffer, 4, 2),
  ];
  for (const view of views) {
    memory.fill(9);
    queue.sendSync(Uint8Array.of(1, 2, 3, 4));
    assertEquals(queue.tryReceiveInto(view), { length: 4, type: 1 });
    assertEquals([...memory], [9, 9, 9, 9, 1, 2, 3, 4, 9, 9, 9, 9]);
  }
  const buffer = new ArrayBuffer(2);
  queue.sendSync(Uint8Array.of(5, 6));
  queue.tryReceiveInto(buffer);
  assertEquals([...new Uint8Array(buffer)], [5, 6]);
});

test("MessageQueue.tryReceiveInto() selects as tryReceive() does", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 4, 2, 3);
  const buffer = new Uint8Array(1);
  const take = (type: Parameters<typeof queue.tryReceive>[0]) => queue.tryReceiveInto(buffer, type);
  assertEquals(take({ type: { atMost: 3 } })?.type, 2);
  assertEquals(take({ type: { not: 4 } })?.type, 3);
  assertEquals(take({ type: 5 }), undefined);
  assertEquals(take({ type: 4 })?.type, 4);
});

test("MessageQueue.tryReceiveInto() leaves a message that is longer than the buffer, and the buffer", () => {
  using queue = MessageQueue.create();
  queue.sendSync("12345");
  const buffer = new Uint8Array(4);
  for (const receive of [() => queue.tryReceiveInto(buffer), () => queue.receiveIntoSync(buffer)]) {
    const error = assertIpcError(receive, "E2BIG", "msgrcv");
    assertStringIncludes(error.message, "stays in the queue");
  }
  assertEquals([...buffer], [0, 0, 0, 0]);
  assertEquals(queue.tryReceiveInto(new Uint8Array(5)), { length: 5, type: 1 });
});

test("MessageQueue.tryReceiveInto() takes an empty message into an empty buffer, even a detached one", () => {
  using queue = MessageQueue.create();
  const detached = new Uint8Array(4);
  detached.buffer.transfer();
  for (const buffer of [new Uint8Array(0), detached]) {
    queue.sendSync("", { type: 2 });
    assertEquals(queue.tryReceiveInto(buffer), { length: 0, type: 2 });
  }
});

test("MessageQueue.peek() copies the message at a position and leaves everything as it was", () => {
  using queue = MessageQueue.create();
  sendTypes(queue, 5, 1, 3);
  const before = queue.stat();
  const seen = [0, 1, 2].map((index) => queue.peek(index));
  assertEquals(seen.map((message) => `${message?.type}:${message?.text()}`), ["5:0", "1:1", "3:2"]);
  assertEquals(queue.peek()?.text(), "0");
  assertEquals(queue.peek(3), undefined);
  assertEquals(queue.stat(), before);
  assertEquals(drain(queue), ["5:0", "1:1", "3:2"]);
  assertEquals(queue.peek(), undefined);
});
