import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import {
  IpcError,
  Message,
  type MessageInfo,
  MessageQueue,
  type SendWaitOptions,
  type WaitOptions,
} from "@sysv/ipc";
import { assertTimesOut } from "./support/assert.ts";
import { run, type Runtime } from "./support/child.ts";
import { until } from "./support/time.ts";

const ROOM = 64;

/** Has room for `ROOM` bytes, and is filled by one message of as many. */
const create = () => MessageQueue.create({ maxBytes: ROOM });
const fill = (queue: MessageQueue) => assert(queue.trySend("f".repeat(ROOM), { type: 99 }));

/** How many threads of this process wait in a call, by the function of the kernel. */
function threadsIn(where: "do_msgrcv" | "do_msgsnd"): number {
  return readdirSync("/proc/self/task").filter((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/wchan`, "utf8").startsWith(where);
    } catch {
      return false;
    }
  }).length;
}

const untilReceiving = (count = 1) => until(() => threadsIn("do_msgrcv") === count);
const untilSending = (count = 1) => until(() => threadsIn("do_msgsnd") === count);

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

const text = (message: Message | undefined) => message?.text();

function assertMessage(message: unknown, text: string, type: number): void {
  assertInstanceOf(message, Message);
  const received = message as Message;
  assertEquals([received.text(), received.type], [text, type]);
}

/** Asserts with which system error a wait has ended. */
function assertFailed(end: unknown, code: string, syscall?: string): void {
  assertInstanceOf(end, IpcError);
  const error = end as IpcError;
  assertEquals([error.code, syscall ?? error.syscall], [code, error.syscall]);
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

/** What a wait ends with, be it a result or a reason. */
const endOf = (wait: Promise<unknown>): Promise<unknown> =>
  wait.then(() => "over", (error) => error);

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

for (const runtime of ["deno", "bun"] satisfies Runtime[]) {
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

test("Messages are sent in the order of the calls, though only the first of them waits in the kernel", async () => {
  using queue = create();
  fill(queue);
  const sends = Array.from({ length: 500 }, (_, i) => queue.send(`${i}`, { type: i % 3 + 1 }));
  await untilSending();
  queue.tryReceive();
  const received: string[] = [];
  while (received.length < 500) received.push((await queue.receive({ timeout: 5000 })).text());
  await Promise.all(sends);
  assertEquals(received, Array.from({ length: 500 }, (_, i) => `${i}`));
});

test("Messages are sent in order even when a later one would have room before", async () => {
  using queue = create();
  assert(queue.trySend("x".repeat(ROOM - 10)));
  const large = queue.send("l".repeat(20));
  const small = queue.send("s");
  await untilSending();
  assertEquals(queue.stat().messages, 1);
  queue.tryReceive();
  await Promise.all([large, small]);
  assertEquals([text(queue.tryReceive()), text(queue.tryReceive())], ["l".repeat(20), "s"]);
});

test("Sends that end early are left out, and the others keep their order", async () => {
  using queue = create();
  fill(queue);
  const abort = new AbortController();
  const sends = Array.from({ length: 12 }, (_, i) => {
    if (i % 3 === 0) return endOf(queue.send(`${i}`, { signal: abort.signal }));
    if (i % 3 === 1) return endOf(queue.send(`${i}`, { timeout: 10 }));
    return endOf(queue.send(`${i}`));
  });
  await untilSending();
  abort.abort("left");
  await Promise.all(sends.filter((_, i) => i % 3 !== 2));
  queue.tryReceive();
  await Promise.all(sends);
  const received = [];
  while (queue.stat().messages > 0) received.push(text(queue.tryReceive()));
  assertEquals(received, ["2", "5", "8", "11"]);
});

test("MessageQueue.send() copies its bytes at once", async () => {
  using queue = create();
  fill(queue);
  const bytes = new TextEncoder().encode("before");
  const send = queue.send(bytes);
  bytes.fill(0);
  await untilSending();
  queue.tryReceive();
  await send;
  assertEquals(text(queue.tryReceive()), "before");
});

test("MessageQueue.send() that waits refuses too long a message in its turn, and the others go on", async () => {
  using queue = create();
  fill(queue);
  const ends = [queue.send("a"), queue.send("b".repeat(1_000_000)), queue.send("c")].map(endOf);
  await untilSending();
  queue.tryReceive();
  const error = await ends[1];
  assertFailed(error, "EINVAL", "msgsnd");
  assertEquals([await ends[0], await ends[2]], ["over", "over"]);
  assertEquals([text(queue.tryReceive()), text(queue.tryReceive())], ["a", "c"]);
});

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

test("A message for which there was room just before the abort is sent, and the promise resolves", async () => {
  using queue = create();
  fill(queue);
  const abort = new AbortController();
  const end = queue.send("hello", { signal: abort.signal }).then(() => "sent", (reason) => reason);
  await untilSending();
  queue.tryReceive();
  abort.abort("left");
  const outcome = await end;
  // A sender is woken and then sends, so that the abort can still come first.
  assertEquals(text(queue.tryReceive()), outcome === "sent" ? "hello" : undefined);
  assert(outcome === "sent" || outcome === "left");
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
