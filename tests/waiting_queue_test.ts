import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "node:test";
import { MessageQueue, type SendWaitOptions, type WaitOptions } from "@sysv/ipc";
import { assertTimesOut } from "./support/assert.ts";
import { run, runtimes } from "./support/child.ts";
import {
  assertFailed,
  assertMessage,
  create,
  endOf,
  fill,
  ROOM,
  text,
  threadsIn,
  untilReceiving,
  untilSending,
} from "./support/queue_waits.ts";

/** A form of waiting for a queue. */
interface Form {
  wait(queue: MessageQueue, options?: WaitOptions): Promise<unknown>;
  /** Makes the queue one for which it has to wait. */
  block(queue: MessageQueue): void;
  /** Lets it go on. */
  unblock(queue: MessageQueue): void;
  untilWaiting(count?: number): Promise<void>;
  /** Asserts that it has happened. */
  check(queue: MessageQueue, result: unknown): void;
}

const forms: Record<string, Form> = {
  "MessageQueue.receive()": {
    wait: (queue, options) => queue.receive(options),
    block() {},
    unblock: (queue) => assert(queue.trySend("hello", { type: 3 })),
    untilWaiting: untilReceiving,
    check(queue, message) {
      assertMessage(message, "hello", 3);
      assertEquals(queue.stat().messages, 0);
    },
  },
  "MessageQueue.receive() of a type": {
    wait: (queue, options) => queue.receive({ ...options, type: { atMost: 3 } }),
    block: (queue) => assert(queue.trySend("other", { type: 4 })),
    unblock: (queue) => assert(queue.trySend("hello", { type: 3 })),
    untilWaiting: untilReceiving,
    check(queue, message) {
      assertMessage(message, "hello", 3);
      assertEquals(text(queue.tryReceive()), "other");
    },
  },
  "MessageQueue.receiveInto()": {
    wait: (queue, options) => queue.receiveInto(new Uint8Array(8), options),
    block() {},
    unblock: (queue) => assert(queue.trySend("hello", { type: 3 })),
    untilWaiting: untilReceiving,
    check(queue, info) {
      assertEquals(info, { length: 5, type: 3 });
      assertEquals(queue.stat().messages, 0);
    },
  },
  "MessageQueue.send()": {
    wait: (queue, options) => queue.send("hello", { ...options, type: 3 } as SendWaitOptions),
    block: fill,
    unblock: (queue) => assert(queue.tryReceive({ type: 99 })),
    untilWaiting: untilSending,
    check(queue) {
      const message = queue.tryReceive();
      assertEquals([text(message), message?.type], ["hello", 3]);
      assertEquals(queue.stat().messages, 0);
    },
  },
};

/** Asserts that a queue is as it was when it was blocked. */
function assertBlocked(form: Form, queue: MessageQueue): void {
  using fresh = create();
  form.block(fresh);
  const { messages, bytes } = fresh.stat();
  const { messages: now, bytes: bytesNow } = queue.stat();
  assertEquals([now, bytesNow], [messages, bytes]);
}

for (const [name, form] of Object.entries(forms)) {
  test(`${name} goes on when it can, and not before`, async () => {
    using queue = create();
    form.block(queue);
    let over = false;
    const wait = form.wait(queue);
    wait.then(() => over = true);
    await form.untilWaiting();
    assert(!over);
    form.unblock(queue);
    form.check(queue, await wait);
  });

  test(`${name} goes on at once where it can`, async () => {
    using queue = create();
    form.block(queue);
    form.unblock(queue);
    form.check(queue, await form.wait(queue));
  });

  test(`${name} gives up when the time is up, not earlier, with nothing changed`, async () => {
    using queue = create();
    form.block(queue);
    const start = performance.now();
    await assertTimesOut(form.wait(queue, { timeout: 20 }));
    assert(performance.now() - start >= 20);
    assertBlocked(form, queue);
    await form.untilWaiting(0);
    form.unblock(queue);
    form.check(queue, await form.wait(queue));
  });

  test(`${name} with a timeout of 0 tries once`, async () => {
    using queue = create();
    form.block(queue);
    const wait = form.wait(queue, { timeout: 0 });
    form.unblock(queue);
    await assertTimesOut(wait);
    form.check(queue, await form.wait(queue, { timeout: 0 }));
  });

  test(`${name} takes huge timeouts for what they are`, async () => {
    using queue = create();
    form.block(queue);
    for (const timeout of [Infinity, undefined, 1e12, 2 ** 31, 2 ** 31 - 1, Number.MAX_VALUE]) {
      const abort = new AbortController();
      const end = endOf(form.wait(queue, { signal: abort.signal, timeout }));
      await form.untilWaiting();
      const reason = { timeout };
      abort.abort(reason);
      assertStrictEquals(await end, reason);
    }
    assertBlocked(form, queue);
  });

  test(`${name} refuses wrong timeouts before it changes anything`, async () => {
    using queue = create();
    form.block(queue);
    form.unblock(queue);
    for (const timeout of [-1, -Infinity, NaN]) {
      await assertRejects(() => form.wait(queue, { timeout }), RangeError, "milliseconds");
    }
    const wrong = "1000" as unknown as number;
    await assertRejects(() => form.wait(queue, { timeout: wrong }), TypeError, "milliseconds");
    form.check(queue, await form.wait(queue));
  });

  test(`${name} rejects with the very reason of its signal, with nothing changed`, async () => {
    using queue = create();
    form.block(queue);
    for (const reason of [new Error("enough"), "enough", null, undefined]) {
      const abort = new AbortController();
      const end = endOf(form.wait(queue, { signal: abort.signal }));
      await form.untilWaiting();
      abort.abort(reason);
      assertStrictEquals(await end, abort.signal.reason);
      assertBlocked(form, queue);
    }
  });

  test(`${name} tries nothing if its signal is aborted before`, async () => {
    using queue = create();
    form.block(queue);
    form.unblock(queue);
    const reason = { no: "error" };
    for (const timeout of [undefined, 0, 10]) {
      const options = { signal: AbortSignal.abort(reason), timeout };
      assertStrictEquals(await endOf(form.wait(queue, options)), reason);
    }
    form.check(queue, await form.wait(queue));
  });

  test(`${name} rejects with a ReferenceError when its handle is disposed, with nothing changed`, async () => {
    using queue = create();
    form.block(queue);
    const handle = MessageQueue.fromId(queue.id);
    const end = endOf(form.wait(handle));
    await form.untilWaiting();
    handle[Symbol.dispose]();
    assertInstanceOf(await end, ReferenceError);
    assertBlocked(form, queue);
    await assertRejects(() => form.wait(handle), ReferenceError);
    form.unblock(queue);
    form.check(queue, await form.wait(queue));
  });

  test(`${name} rejects with a ReferenceError when its owner is disposed, and another's with EIDRM`, async () => {
    const queue = create();
    form.block(queue);
    const ends = [queue, MessageQueue.fromId(queue.id)].map((handle) => endOf(form.wait(handle)));
    await form.untilWaiting();
    queue[Symbol.dispose]();
    assertInstanceOf(await ends[0], ReferenceError);
    const error = await ends[1];
    assertFailed(error, "EIDRM");
  });

  test(`${name} fails with EIDRM when this or another handle removes the queue`, async () => {
    for (const removeBy of ["this", "another"]) {
      const queue = create();
      form.block(queue);
      const end = endOf(form.wait(queue));
      await form.untilWaiting();
      (removeBy === "this" ? queue : MessageQueue.fromId(queue.id)).remove();
      for (const error of [await end, await endOf(form.wait(queue))]) {
        assertFailed(error, "EIDRM");
      }
    }
  });
}

for (const runtime of runtimes) {
  test(`Every form goes on when a process of ${runtime} makes it possible, and ends with EIDRM when it removes the queue`, async () => {
    const create = (form: Form) => {
      const queue = MessageQueue.create({ maxBytes: ROOM });
      form.block(queue);
      return queue;
    };
    const queues = Object.values(forms).map(create);
    const removed = Object.values(forms).map(create);
    await using child = run(
      `
      const { ids, removed } = JSON.parse(args[0]);
      const queues = ids.map((id) => MessageQueue.fromId(id));
      say("ready");
      await hear();
      queues.forEach((queue, index) => {
        if (index === ids.length - 1) queue.receiveSync({ type: 99 });
        else queue.sendSync("hello", { type: 3 });
      });
      removed.forEach((id) => MessageQueue.fromId(id).remove());
      say("done");
    `,
      {
        runtime,
        args: [
          JSON.stringify({ ids: queues.map(({ id }) => id), removed: removed.map(({ id }) => id) }),
        ],
      },
    );
    try {
      const start = (queue: MessageQueue, index: number) =>
        Object.values(forms)[index]!.wait(queue);
      const waits = queues.map(start);
      const ends = removed.map(start).map(endOf);
      await child.hear();
      child.say("go");
      const results = await Promise.all(waits);
      Object.values(forms).forEach((form, index) => form.check(queues[index]!, results[index]));
      const calls = ["msgrcv", "msgrcv", "msgrcv", "msgsnd"];
      for (const [index, error] of (await Promise.all(ends)).entries()) {
        assertFailed(error, "EIDRM", calls[index]);
      }
      assertEquals(await child.hear(), "done");
    } finally {
      for (const queue of [...queues, ...removed]) queue[Symbol.dispose]();
    }
  });
}

test("Wrong types and data reject before anything is tried", async () => {
  using queue = MessageQueue.create();
  for (const type of [0, -1, 1.5, 2 ** 53, NaN]) {
    await assertRejects(() => queue.send("", { type }), RangeError);
    await assertRejects(() => queue.receive({ type }), RangeError);
    await assertRejects(() => queue.receive({ type: { atMost: type } }), RangeError);
    await assertRejects(
      () => queue.receiveInto(new Uint8Array(1), { type: { not: type } }),
      RangeError,
    );
  }
  await assertRejects(() => queue.send(1 as unknown as string), TypeError);
  await assertRejects(() => queue.receive({ type: "1" as unknown as number }), TypeError);
  await assertRejects(() => queue.receiveInto("" as unknown as Uint8Array<ArrayBuffer>), TypeError);
  assertEquals(queue.stat().messages, 0);
  assertEquals(threadsIn("do_msgrcv"), 0);
});
