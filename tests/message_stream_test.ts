import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { IpcError, Message, MessageQueue } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import { assertIpcError } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";

const endings: Record<string, (stream: ReadableStream<Message>) => Promise<unknown>> = {
  "break": async (stream) => {
    for await (const _ of stream) break;
  },
  "an error in the loop": (stream) =>
    assertRejects(async () => {
      for await (const _ of stream) throw new RangeError("enough");
    }, RangeError),
  "cancel()": async (stream) => {
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel();
  },
};

for (const [how, end] of Object.entries(endings)) {
  test(`MessageQueue.readable sees the messages left after ${how}`, async () => {
    using queue = MessageQueue.create();
    for (const text of ["one", "two", "three"]) queue.trySend(text);
    const first = queue.readable;
    assert(queue.readable === first);
    await end(first);
    assertEquals(queue.stat().messages, 2);
    const texts: string[] = [];
    for await (const message of queue.readable) {
      texts.push(message.text());
      if (texts.length === 2) break;
    }
    assertEquals(texts, ["two", "three"]);
  });
}

test("MessageQueue.readable ends at once, each time, when the queue is removed", async () => {
  using queue = MessageQueue.create();
  queue.remove();
  for (let i = 0; i < 2; i++) {
    for await (const _ of queue.readable) throw new Error("There was a message");
  }
});

const closings: Record<string, (stream: WritableStream<unknown>) => Promise<unknown>> = {
  "close()": (stream) => stream.close(),
  "abort()": (stream) => stream.abort(),
  "a writer's close()": (stream) => stream.getWriter().close(),
  "a chunk that cannot be sent": (stream) =>
    assertRejects(() => stream.getWriter().write("x".repeat(20_000)), IpcError),
  "pipeTo()": (stream) => new Blob(["some"]).stream().pipeTo(stream),
};

for (const [how, close] of Object.entries(closings)) {
  test(`MessageQueue.writable is a new stream after ${how}`, async () => {
    using queue = MessageQueue.create();
    const first = queue.writable;
    assert(queue.writable === first);
    await close(first);
    const writer = queue.writable.getWriter();
    await writer.write("more");
    writer.releaseLock();
    assert(queue.tryReceive() !== undefined);
  });
}

test("return() of messages() ends a wait, and takes no message", async () => {
  using queue = MessageQueue.create();
  const messages = queue.messages();
  const next = messages.next();
  assertEquals(await messages.return!(), { value: undefined, done: true });
  assertEquals(await next, { value: undefined, done: true });
  queue.trySend("kept");
  assertEquals(await messages.next(), { value: undefined, done: true });
  assertEquals(queue.receiveSync().text(), "kept");
});

test("messages() ends for good when its signal is aborted, with its reason", async () => {
  using queue = MessageQueue.create();
  const controller = new AbortController();
  const messages = queue.messages({ signal: controller.signal });
  const next = messages.next();
  controller.abort(new RangeError("enough"));
  await assertRejects(() => next, RangeError, "enough");
  assertEquals((await messages.next()).done, true);
});

test("A type beyond 2^53 keeps its 64 bits through messages, streams and back", async () => {
  using queue = MessageQueue.create();
  using other = MessageQueue.create();
  const type = 2n ** 60n + 1n;
  libc.msgsnd(queue.id, { mtype: type, mtext: new Uint8Array([1]) });
  const message = queue.receiveSync();
  assertEquals([message.type, message.exactType], [Number(type), type]);
  queue.trySend(message.bytes, { type: message.exactType });
  const stop = new AbortController();
  const piping = queue.readable.pipeTo(other.writable, { signal: stop.signal });
  assertEquals((await other.receive()).exactType, type);
  stop.abort();
  await piping.catch(() => {});
});

function assertThrowsAll(
  kind: typeof TypeError | typeof RangeError,
  calls: (() => unknown)[],
): void {
  for (const call of calls) assertThrows(call, kind, undefined, String(call));
}

test("Message refuses what can be no type, and what is no bytes", () => {
  const bytes = new Uint8Array(1);
  assertThrowsAll(RangeError, [
    () => new Message(0, bytes),
    () => new Message(1.5, bytes),
    () => new Message(2 ** 53, bytes),
    () => new Message(2n ** 63n, bytes),
  ]);
  assertThrowsAll(TypeError, [
    () => new Message("1" as never, bytes),
    () => new Message(1n, bytes),
    () => new Message(1, [1] as never),
    () => new Message(1, "text" as never),
  ]);
});

test("A message that can never fit its queue fails at once in every form, and holds up nothing", async () => {
  using queue = MessageQueue.create({ maxBytes: 100 });
  const long = "x".repeat(200);
  const forms = [
    () => queue.trySend(long),
    () => queue.sendSync(long),
    () => queue.sendSync(long, { timeout: 10 }),
  ];
  for (const form of forms) {
    const error = assertIpcError(form, "EINVAL", "msgsnd");
    assertStringIncludes(error.message, "holds at most 100 bytes");
  }
  const promised = [
    () => queue.send(long),
    () => queue.send(long, { timeout: 0 }),
    () => queue.writable.getWriter().write(long),
  ];
  for (const form of promised) assertEquals((await assertRejects(form, IpcError)).code, "EINVAL");
  queue.trySend("y".repeat(100));
  const behind = queue.send("fits");
  const late = await assertRejects(() => queue.send(long), IpcError);
  assertEquals(late.code, "EINVAL");
  queue.receiveSync();
  await behind;
  assertEquals(queue.receiveSync().text(), "fits");
});

test("setPermissions() that shrinks a queue ends the waits of what can never fit any more", async () => {
  using queue = MessageQueue.create({ maxBytes: 100 });
  using same = MessageQueue.fromId(queue.id);
  queue.trySend("y".repeat(100));
  const refused = assertRejects(() => queue.send("x".repeat(60)), IpcError);
  const short = queue.send("fits");
  same.setPermissions({ maxBytes: 50 });
  assertEquals((await refused).code, "EINVAL");
  queue.receiveSync();
  await short;
  assertEquals(queue.receiveSync().text(), "fits");
});

test("A process that shrinks a queue ends the waits of others for what can never fit any more", async () => {
  using queue = MessageQueue.create({ maxBytes: 100 });
  queue.trySend("y".repeat(100));
  const refused = assertRejects(() => queue.send("x".repeat(60)), IpcError);
  await using child = run(
    `MessageQueue.fromId(Number(args[0])).setPermissions({ maxBytes: 50 });`,
    {
      args: [queue.id],
    },
  );
  assertEquals(await child.exit, { code: 0, signal: null }, child.stderr);
  assertEquals((await refused).code, "EINVAL");
});

test("A queue limited to 0 bytes holds up what is sent until it is opened", async () => {
  using queue = MessageQueue.create({ maxBytes: 0 });
  assertEquals(queue.trySend("x"), false);
  const sent = queue.send("x");
  queue.setPermissions({ maxBytes: 10 });
  await sent;
  assertEquals(queue.receiveSync().text(), "x");
});

test("receiveInto() gives back what its buffer has no room for any more, and says if it cannot", async () => {
  using queue = MessageQueue.create();
  const buffer = new ArrayBuffer(10);
  const waiting = queue.receiveInto(buffer);
  buffer.transfer(0);
  queue.trySend("kept");
  const error = await assertRejects(() => waiting, TypeError, "the buffer was detached");
  assertEquals(error.cause, undefined);
  assertEquals(queue.receiveSync().text(), "kept");
});

test(
  "receiveInto() rejects with the failure when its message cannot be given back",
  onlyRoot,
  async () => {
    using queue = MessageQueue.create({ mode: 0o644 });
    await using child = run(
      `${privileges}
      becomeNobody();
      const queue = MessageQueue.fromId(Number(args[0]));
      const buffer = new ArrayBuffer(10);
      const waiting = queue.receiveInto(buffer);
      buffer.transfer(0);
      say("waits");
      const error = await waiting.catch((error) => error);
      say([error.name, error.cause.code].join(" "));
    `,
      { args: [queue.id] },
    );
    assertEquals(await child.hear(), "waits");
    queue.trySend("lost");
    assertEquals(await child.hear(), "TypeError EACCES");
    assertEquals(await child.exit, { code: 0, signal: null }, child.stderr);
  },
);
