import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "node:test";
import { type MessageInfo, MessageQueue } from "@sysv/ipc";
import { assertFailed, endOf, text, untilReceiving } from "./support/queue_waits.ts";
import { until } from "./support/time.ts";

test("Equal receivers are served in the order in which they came, each with one message", async () => {
  using queue = MessageQueue.create();
  const served: [number, string][] = [];
  const receives = Array.from(
    { length: 200 },
    (_, i) => queue.receive().then((message) => served.push([i, message.text()])),
  );
  await untilReceiving();
  for (let i = 0; i < 200; i++) await queue.send(`${i}`);
  await Promise.all(receives);
  assertEquals(served, Array.from({ length: 200 }, (_, i) => [i, `${i}`]));
});

test("Receivers of different types each get their own", async () => {
  using queue = MessageQueue.create();
  const receives = Array.from({ length: 6 }, (_, i) => queue.receive({ type: i + 1 }));
  for (let type = 6; type >= 1; type--) queue.sendSync(`for ${type}`, { type });
  const messages = await Promise.all(receives);
  assertEquals(messages.map(text), [1, 2, 3, 4, 5, 6].map((type) => `for ${type}`));
});

test("Equal receivers with different timeouts end each in its time, the others in order", async () => {
  using queue = MessageQueue.create();
  const served: number[] = [];
  const late: number[] = [];
  const timeouts = [10, undefined, 1, Infinity, 20, 1e12];
  const receives = timeouts.map((timeout, i) =>
    queue.receive({ timeout }).then(() => served.push(i), () => late.push(i))
  );
  await until(() => late.length === 3);
  assertEquals(late, [2, 0, 4]);
  for (let i = 0; i < 3; i++) queue.trySend("");
  await Promise.all(receives);
  assertEquals(served, [1, 3, 5]);
});

test("A receiver that joins as the only other leaves gets the message", async () => {
  using queue = MessageQueue.create();
  for (let i = 0; i < 30; i++) {
    const abort = new AbortController();
    const leaving = endOf(queue.receive({ signal: abort.signal }));
    if (i % 2 === 0) await untilReceiving();
    abort.abort("left");
    const joining = queue.receive();
    queue.trySend(`${i}`);
    assertEquals((await joining).text(), `${i}`);
    assertEquals(await leaving, "left");
  }
});

test("A message that comes just before the abort goes to the next receiver, or else to the one that left", async () => {
  using queue = MessageQueue.create();
  for (const others of [1, 0]) {
    const abort = new AbortController();
    const leaving = queue.receive({ signal: abort.signal }).then(text, (reason) => reason);
    const staying = others === 1 ? queue.receive() : undefined;
    await untilReceiving();
    queue.trySend("hello");
    abort.abort("left");
    assertEquals(text(await staying), others === 1 ? "hello" : undefined);
    assertEquals(await leaving, others === 1 ? "left" : "hello");
    assertEquals(queue.stat().messages, 0);
  }
});

test("Of two handles that wait for one queue each ends alone", async () => {
  using queue = MessageQueue.create();
  for (const disposed of [0, 1]) {
    const handles = [MessageQueue.fromId(queue.id), MessageQueue.fromId(queue.id)];
    const ends = handles.map((handle) => handle.receive().then(text, (error) => error));
    await untilReceiving();
    handles[disposed]![Symbol.dispose]();
    assertInstanceOf(await ends[disposed], ReferenceError);
    queue.trySend("hello");
    assertEquals(await ends[1 - disposed], "hello");
  }
});

test("Waiting receivers take messages of any length", async () => {
  using queue = MessageQueue.create();
  const longest = queue.stat().maxBytes / 2;
  for (const length of [longest, 0, 1, longest]) {
    const receives = [queue.receive(), queue.receive()];
    await untilReceiving();
    queue.trySend("x".repeat(length));
    queue.trySend("y".repeat(length));
    const [first, second] = await Promise.all(receives);
    assertEquals([text(first), text(second)], ["x".repeat(length), "y".repeat(length)]);
  }
});

test("MessageQueue.receiveInto() that waits fails with E2BIG when too long a message comes, which stays", async () => {
  using queue = MessageQueue.create();
  const small = endOf(queue.receiveInto(new Uint8Array(4)));
  const typed = queue.receiveInto(new Uint8Array(4), { type: 7 });
  await untilReceiving(2);
  queue.trySend("too long", { type: 2 });
  const error = await small;
  assertFailed(error, "E2BIG", "msgrcv");
  assertEquals(queue.stat().messages, 1);
  queue.trySend("1234", { type: 7 });
  assertEquals(await typed, { length: 4, type: 7 });
  assertEquals(text(queue.tryReceive()), "too long");
});

test("MessageQueue.receiveInto() takes no more than fits into a buffer that is detached or resized meanwhile", async () => {
  const detached = new Uint8Array(8);
  const resized = new Uint8Array(new ArrayBuffer(8, { maxByteLength: 8 }));
  const cases = [
    { buffer: detached, lessen: () => detached.buffer.transfer(), fits: "" },
    { buffer: resized, lessen: () => resized.buffer.resize(2), fits: "12" },
  ];
  for (const { buffer, lessen, fits } of cases) {
    using queue = MessageQueue.create();
    const first = queue.receiveInto(buffer);
    const second = endOf(queue.receiveInto(buffer));
    await untilReceiving();
    lessen();
    queue.trySend(fits, { type: 2 });
    queue.trySend(`${fits}+`, { type: 3 });
    assertEquals(await first, { length: fits.length, type: 2 });
    assertInstanceOf(await second, TypeError);
    await until(() => queue.stat().messages === 1);
    assertEquals(text(queue.tryReceive({ type: 3 })), `${fits}+`);
  }
});

test("MessageQueue.receiveInto() fills each waiter's own view, and nothing around it", async () => {
  using queue = MessageQueue.create();
  const buffers = Array.from({ length: 5 }, () => new Uint8Array(10).fill(46));
  const waits = buffers.map((buffer) => queue.receiveInto(buffer.subarray(2, 7)));
  await untilReceiving();
  for (const letter of "abcde") queue.trySend(letter.repeat(3), { type: 5 });
  const infos: MessageInfo[] = await Promise.all(waits);
  assert(infos.every(({ length, type }) => length === 3 && type === 5));
  assertEquals(
    buffers.map((buffer) => new TextDecoder().decode(buffer)),
    [..."abcde"].map((letter) => `..${letter.repeat(3)}.....`),
  );
});
