import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "node:test";
import { IpcError, type Message, MessageQueue } from "@sysv/ipc";
import { wrong } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { until } from "./support/time.ts";

const text = (message: Message | undefined) => message?.text();

function send(queue: MessageQueue, ...texts: string[]): void {
  for (const data of texts) assert(queue.trySend(data));
}

function drain(queue: MessageQueue): string[] {
  const texts: string[] = [];
  for (let message; (message = queue.tryReceive());) texts.push(message.text());
  return texts;
}

/** Gives everything that is started so far its turn. */
const turn = () => new Promise<void>((resolve) => setTimeout(resolve));

/** Asserts that a promise is still pending. */
async function assertPending(promise: Promise<unknown>): Promise<void> {
  await turn();
  assertEquals(await Promise.race([promise, Promise.resolve("pending")]), "pending");
}

test("for await gives the messages of a queue in order, as another process sends them, until it removes the queue", async () => {
  using queue = MessageQueue.create();
  await using child = run(
    `
    const queue = MessageQueue.fromId(Number(args[0]));
    for (let i = 0; i < 2000; i++) await queue.send(String(i), { type: 1 + i % 3 });
    while (queue.stat().messages > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    queue.remove();
  `,
    { args: [queue.id], runtime: otherRuntime },
  );
  const received: number[] = [];
  for await (const message of queue) {
    assertEquals(message.type, 1 + received.length % 3);
    received.push(Number(message.text()));
  }
  assertEquals(received, Array.from({ length: 2000 }, (_, i) => i));
  child.end();
});

test("Leaving for await in the middle leaves the rest in the queue, and another can go on", async () => {
  using queue = MessageQueue.create();
  send(queue, "a", "b", "c", "d");
  for await (const message of queue) {
    if (message.text() === "b") break;
  }
  assertEquals(queue.stat().messages, 2);
  await assertRejects(async () => {
    for await (const message of queue) throw new Error(message.text());
  }, "c");
  assertEquals(drain(queue), ["d"]);
});

test("MessageQueue.messages() takes a message when it is asked for one, not before", async () => {
  using queue = MessageQueue.create();
  send(queue, "a", "b");
  const messages = queue.messages();
  await turn();
  assertEquals(queue.stat().messages, 2);
  assertEquals(text((await messages.next()).value), "a");
  await turn();
  assertEquals(queue.stat().messages, 1);
});

test("MessageQueue.messages() selects by type", async () => {
  using queue = MessageQueue.create();
  for (const type of [1, 2, 3, 2, 4]) queue.trySend(`${type}`, { type });
  const of = async (type: number | { atMost: number } | { not: number }, count: number) => {
    const types: number[] = [];
    for await (const message of queue.messages({ type })) {
      types.push(message.type);
      if (types.length === count) break;
    }
    return types;
  };
  assertEquals(await of(2, 2), [2, 2]);
  assertEquals(await of({ not: 1 }, 1), [3]);
  assertEquals(await of({ atMost: 9 }, 2), [1, 4]);
});

test("MessageQueue.messages() throws the reason of its signal, while it waits and between two messages", async () => {
  using queue = MessageQueue.create();
  for (const waits of [true, false]) {
    const abort = new AbortController();
    const reason = { no: "error" };
    send(queue, "a");
    const received: string[] = [];
    const end = (async () => {
      for await (const message of queue.messages({ signal: abort.signal })) {
        received.push(message.text());
        if (!waits) {
          send(queue, "b");
          abort.abort(reason);
        }
      }
    })().then(() => "over", (error) => error);
    await until(() => received.length === 1);
    if (waits) {
      await assertPending(end);
      abort.abort(reason);
    }
    assertStrictEquals(await end, reason);
    assertEquals(drain(queue), waits ? [] : ["b"]);
  }
});

test("MessageQueue.messages() throws a ReferenceError when its handle is disposed", async () => {
  using queue = MessageQueue.create();
  const handle = MessageQueue.fromId(queue.id);
  const next = handle.messages().next();
  await assertPending(next);
  handle[Symbol.dispose]();
  await assertRejects(() => next, ReferenceError);
});

test("Two iterations share the messages: each goes to one of them", async () => {
  using queue = MessageQueue.create();
  const received: string[] = [];
  const iterate = async () => {
    for await (const message of queue) received.push(message.text());
  };
  const both = Promise.all([iterate(), iterate()]);
  const texts = Array.from({ length: 100 }, (_, i) => `${i}`);
  for (const data of texts) await queue.send(data);
  await until(() => received.length === 100);
  queue.remove();
  await both;
  assertEquals(received.toSorted(), texts.toSorted());
});

test("MessageQueue.readable takes a message when somebody reads, not before", async () => {
  using queue = MessageQueue.create();
  send(queue, "a", "b");
  assertStrictEquals(queue.readable, queue.readable);
  await turn();
  assertEquals(queue.stat().messages, 2);
  const reader = queue.readable.getReader();
  await turn();
  assertEquals(queue.stat().messages, 2);
  assertEquals(text((await reader.read()).value), "a");
  await turn();
  assertEquals(queue.stat().messages, 1);
});

test("MessageQueue.readable closes when the queue is removed, here or elsewhere", async () => {
  for (const here of [true, false]) {
    const queue = MessageQueue.create();
    send(queue, "a");
    const reader = queue.readable.getReader();
    assertEquals(text((await reader.read()).value), "a");
    const read = reader.read();
    await assertPending(read);
    (here ? queue : MessageQueue.fromId(queue.id)).remove();
    assertEquals(await read, { done: true, value: undefined });
    await reader.closed;
  }
});

test("MessageQueue.readable fails with a ReferenceError when its handle is disposed", async () => {
  using queue = MessageQueue.create();
  const handle = MessageQueue.fromId(queue.id);
  const reader = handle.readable.getReader();
  const closed = assertRejects(() => reader.closed, ReferenceError);
  const read = reader.read();
  await assertPending(read);
  handle[Symbol.dispose]();
  await assertRejects(() => read, ReferenceError);
  await closed;
});

test("Cancelling MessageQueue.readable with a read pending loses no message", async () => {
  for (let i = 0; i < 20; i++) {
    using queue = MessageQueue.create();
    const reader = queue.readable.getReader();
    const read = reader.read();
    await assertPending(read);
    if (i % 2 === 0) send(queue, "hello");
    await reader.cancel("enough");
    if (i % 2 === 1) send(queue, "hello");
    const { done, value } = await read;
    assertEquals([done, value], [true, undefined]);
    assertEquals(drain(queue), ["hello"]);
  }
});

test("Cancelling MessageQueue.readable keeps the type of the message that goes back", async () => {
  using queue = MessageQueue.create();
  const reader = queue.readable.getReader();
  const read = reader.read();
  await assertPending(read);
  queue.trySend("hello", { type: 7 });
  await reader.cancel();
  await read;
  const message = queue.tryReceive();
  assertEquals([text(message), message?.type], ["hello", 7]);
});

test("Cancelling MessageQueue.readable and disposing its handle at once loses no message", async () => {
  using queue = MessageQueue.create();
  const handle = MessageQueue.fromId(queue.id);
  const reader = handle.readable.getReader();
  const read = reader.read();
  await assertPending(read);
  send(queue, "hello");
  const cancel = reader.cancel();
  handle[Symbol.dispose]();
  await cancel;
  await read;
  assertEquals(drain(queue), ["hello"]);
});

test("MessageQueue.writable sends text, bytes, messages and { data, type }", async () => {
  using queue = MessageQueue.create();
  const writer = queue.writable.getWriter();
  await writer.write("text");
  await writer.write(new TextEncoder().encode("bytes"));
  await writer.write(new TextEncoder().encode("<view>").subarray(1, 5));
  await writer.write(new TextEncoder().encode("buffer").buffer);
  await writer.write({ data: "typed", type: 5 });
  await writer.write(queue.tryReceive()!);
  assertEquals(drain(queue), ["bytes", "view", "buffer", "typed", "text"]);
});

test("MessageQueue.writable makes writers wait while the queue is full, in order", async () => {
  using queue = MessageQueue.create({ maxBytes: 8 });
  const writer = queue.writable.getWriter();
  await writer.write("12345678");
  const writes = ["a", "b", "c"].map((chunk) => writer.write(chunk));
  await assertPending(writes[0]!);
  assertEquals(writer.desiredSize! <= 0, true);
  assertEquals(queue.stat().messages, 1);
  assertEquals(text(queue.tryReceive()), "12345678");
  await Promise.all(writes);
  await writer.close();
  assertEquals(drain(queue), ["a", "b", "c"]);
});

test("Aborting MessageQueue.writable ends the wait for room, and sends no more", async () => {
  using queue = MessageQueue.create({ maxBytes: 8 });
  const writer = queue.writable.getWriter();
  await writer.write("12345678");
  const ends = ["a", "b"].map((chunk) => writer.write(chunk).then(() => "sent", (error) => error));
  await assertPending(ends[0]!);
  writer.closed.catch(() => {});
  const reason = new Error("enough");
  await writer.abort(reason);
  assertStrictEquals(await ends[1], reason);
  assertStrictEquals(await ends[0], reason);
  assertEquals(drain(queue), ["12345678"]);
});

test("MessageQueue.writable fails for what is no message", async () => {
  for (const chunk of wrong(null, undefined, 5, {}, { data: null })) {
    using queue = MessageQueue.create();
    const writer = queue.writable.getWriter();
    const closed = assertRejects(() => writer.closed, TypeError);
    await assertRejects(() => writer.write(chunk), TypeError, "expected a string, an ArrayBuffer");
    await closed;
    assertEquals(queue.stat().messages, 0);
  }
});

test("MessageQueue.writable fails with EIDRM when the queue is removed", async () => {
  const queue = MessageQueue.create({ maxBytes: 8 });
  const writer = queue.writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write("12345678");
  const write = writer.write("a").then(() => "sent", (error) => error);
  await assertPending(write);
  MessageQueue.fromId(queue.id).remove();
  const error = await write;
  assertInstanceOf(error, IpcError);
  assertEquals(error.code, "EIDRM");
  await assertRejects(() => writer.write("b"), IpcError);
});

test("pipeTo() carries a queue into another until it is removed, however small the other", async () => {
  using source = MessageQueue.create();
  using target = MessageQueue.create({ maxBytes: 16 });
  const texts = Array.from({ length: 300 }, (_, i) => `${i}`);
  const received: Message[] = [];
  const piping = source.readable.pipeTo(target.writable, { preventClose: true });
  const receiving = (async () => {
    for await (const message of target) if (received.push(message) === 300) break;
  })();
  for (const [i, data] of texts.entries()) await source.send(data, { type: i % 3 + 1 });
  await receiving;
  source.remove();
  await piping;
  assertEquals(received.map(text), texts);
  assert(received.every(({ type }, i) => type === i % 3 + 1));
});

test("pipeThrough() transforms what another process sends", async () => {
  using queue = MessageQueue.create();
  await using child = run(
    `
    const queue = MessageQueue.fromId(Number(args[0]));
    const writer = queue.writable.getWriter();
    for (let i = 0; i < 100; i++) await writer.write({ data: JSON.stringify({ i }), type: 2 });
    await writer.close();
    say("done");
    await hear();
  `,
    { args: [queue.id], runtime: otherRuntime },
  );
  const numbers = queue.readable.pipeThrough(
    new TransformStream<Message, number>({
      transform: (message, controller) => controller.enqueue(message.json<{ i: number }>().i * 2),
    }),
  );
  const reader = numbers.getReader();
  for (let i = 0; i < 100; i++) assertEquals((await reader.read()).value, 2 * i);
  assertEquals(await child.hear(), "done");
  await reader.cancel();
  assertEquals(queue.stat().messages, 0);
});

test("Aborting pipeTo() while it waits for a message loses none", async () => {
  using source = MessageQueue.create();
  using target = MessageQueue.create();
  const abort = new AbortController();
  const piping = source.readable.pipeTo(target.writable, { signal: abort.signal }).then(
    () => "over",
    (error) => error,
  );
  send(source, "a");
  await until(() => target.stat().messages === 1);
  await assertPending(piping);
  abort.abort("enough");
  assertEquals(await piping, "enough");
  send(source, "b");
  await turn();
  assertEquals([drain(target), drain(source)], [["a"], ["b"]]);
});
