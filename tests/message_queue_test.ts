import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { keyOf, type Message, MessageQueue, SharedMemory } from "@sysv/ipc";
import { IPC_INFO, msgctl } from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { onlyRoot, onlyUnshared, privileges, untilIn } from "./support/privilege.ts";
import { until } from "./support/time.ts";

const { msgmax, msgmnb } = msgctl(0, IPC_INFO);

/** Sends messages of these types, each with its position as its text. */
function sendTypes(queue: MessageQueue, ...types: number[]): void {
  types.forEach((type, index) => assert(queue.trySend(`${index}`, { type })));
}

/** Receives all that is left, as "type:text". */
function drain(queue: MessageQueue): string[] {
  const messages: Message[] = [];
  for (let message; (message = queue.tryReceive());) messages.push(message);
  return messages.map((message) => `${message.type}:${message.text()}`);
}

test("MessageQueue carries text of any script", () => {
  using queue = MessageQueue.create();
  for (const text of ["hello, world", "Göteborg", "日本語", "👩‍👩‍👧 fin", "a\0b", "\ufeffmark"]) {
    queue.sendSync(text);
    assertEquals(queue.receiveSync().text(), text);
  }
});

test("MessageQueue carries empty messages", () => {
  using queue = MessageQueue.create();
  queue.sendSync("");
  assert(queue.trySend(new Uint8Array(0), { type: 3 }));
  assertEquals(queue.stat().messages, 2);
  const [first, second] = [queue.receiveSync(), queue.receiveSync()];
  assertEquals([first.type, first.bytes.length, first.text()], [1, 0, ""]);
  assertEquals([second.type, second.bytes.length], [3, 0]);
  assertEquals(queue.tryReceive(), undefined);
});

test("MessageQueue carries all 256 bytes unchanged", () => {
  using queue = MessageQueue.create();
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  queue.sendSync(bytes);
  assertEquals(queue.receiveSync().bytes, bytes);
});

test("MessageQueue sends a lone surrogate as the replacement character, as TextEncoder does", () => {
  using queue = MessageQueue.create();
  for (const text of ["\ud800", "a\udc00b", "x\ud83d", "\ud800\ud800"]) {
    queue.sendSync(text);
    assertEquals(queue.receiveSync().bytes, new TextEncoder().encode(text));
  }
});

test("MessageQueue sends what a view shows, and nothing around it", () => {
  using queue = MessageQueue.create();
  const memory = Uint8Array.from([9, 9, 9, 9, 1, 2, 3, 4, 9, 9, 9, 9]);
  const views = [
    memory.subarray(4, 8),
    new DataView(memory.buffer, 4, 4),
    new Uint16Array(memory.buffer, 4, 2),
    new Int32Array(memory.buffer, 4, 1),
    memory.buffer.slice(4, 8),
  ];
  for (const view of views) {
    queue.sendSync(view);
    assertEquals([...queue.receiveSync().bytes], [1, 2, 3, 4]);
  }
});

test("MessageQueue sends from shared memory and receives into it", () => {
  using queue = MessageQueue.create();
  using memory = SharedMemory.create({ size: 100 });
  memory.write("from here");
  queue.sendSync(memory.bytes.subarray(0, 9));
  queue.receiveIntoSync(memory.bytes.subarray(50, 60));
  assertEquals(new TextDecoder().decode(memory.read(50, 10)), "from here\0");
});

test("MessageQueue sends the bytes as they are at the call", () => {
  using queue = MessageQueue.create();
  const bytes = Uint8Array.of(1);
  queue.sendSync(bytes);
  bytes[0] = 2;
  assertEquals([...queue.receiveSync().bytes], [1]);
});

test("Message.bytes own their buffer, which no later message changes", () => {
  using queue = MessageQueue.create();
  queue.sendSync("first");
  queue.sendSync("other");
  const first = queue.receiveSync();
  queue.receiveSync();
  assertEquals(first.text(), "first");
  assertEquals([first.bytes.byteOffset, first.bytes.buffer.byteLength], [0, 5]);
});

test("Message.json() parses, and throws SyntaxError where there is none", () => {
  using queue = MessageQueue.create();
  queue.sendSync(JSON.stringify({ job: 7, tags: ["ä"] }));
  queue.sendSync("{");
  assertEquals(queue.receiveSync().json<{ job: number }>(), { job: 7, tags: ["ä"] });
  assertThrows(() => queue.receiveSync().json(), SyntaxError);
});

test("MessageQueue keeps types up to 2^53 - 1, and selects by them", () => {
  using queue = MessageQueue.create();
  const types = [1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1];
  for (const type of types) queue.sendSync(`${type}`, { type });
  for (const type of types.toReversed()) {
    const message = queue.tryReceive({ type });
    assertEquals([message?.type, message?.text()], [type, `${type}`]);
  }
});

test("MessageQueue selects the lowest type up to 2^53 - 1", () => {
  using queue = MessageQueue.create();
  for (const type of [2 ** 53 - 1, 2 ** 40, 2 ** 33]) {
    queue.sendSync("", { type });
  }
  const atMost = (most: number) => queue.tryReceive({ type: { atMost: most } })?.type;
  assertEquals(atMost(2 ** 33 - 1), undefined);
  assertEquals(atMost(2 ** 40), 2 ** 33);
  assertEquals(atMost(2 ** 53 - 1), 2 ** 40);
  assertEquals(atMost(2 ** 53 - 1), 2 ** 53 - 1);
});

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

test("MessageQueue sends as many bytes as the system allows, whatever characters they make", () => {
  using queue = MessageQueue.create();
  const thirds = Math.floor(msgmax / 3);
  const texts = [
    "x".repeat(msgmax),
    "€".repeat(thirds) + "x".repeat(msgmax - 3 * thirds),
    "\ud800".repeat(thirds),
    "😀".repeat(Math.floor(msgmax / 4)),
  ];
  for (const text of texts) {
    queue.sendSync(text);
    assertEquals(queue.receiveSync().bytes, new TextEncoder().encode(text));
  }
});

test("MessageQueue refuses a longer message with words, and sends nothing of it", () => {
  using queue = MessageQueue.create();
  const long = ["x".repeat(msgmax + 1), "€".repeat(Math.ceil((msgmax + 1) / 3))];
  for (const data of [...long, new Uint8Array(msgmax + 1), new Uint8Array(10 * msgmax)]) {
    for (const send of [() => queue.sendSync(data), () => queue.trySend(data)]) {
      const error = assertIpcError(send, "EINVAL", "msgsnd");
      assertEquals(error.id, queue.id);
      assertStringIncludes(error.message, `at most ${msgmax} bytes`);
      assertStringIncludes(error.message, "MSGMAX");
    }
  }
  assertEquals(queue.stat().messages, 0);
});

test("MessageQueue.trySend() gives false when the queue is full, and true when it has room again", () => {
  using queue = MessageQueue.create({ maxBytes: 100 });
  assert(queue.trySend("x".repeat(60)));
  assert(!queue.trySend("x".repeat(41)));
  assert(queue.trySend("x".repeat(40)));
  assert(!queue.trySend("x"));
  assertEquals([queue.stat().messages, queue.stat().bytes], [2, 100]);
  queue.receiveSync();
  assert(queue.trySend("x"));
});

test("MessageQueue.trySend() takes no more empty messages than the queue has bytes", () => {
  using queue = MessageQueue.create({ maxBytes: 50 });
  let sent = 0;
  while (queue.trySend("")) sent++;
  assertEquals(sent, 50);
});

test("MessageQueue with room for nothing takes no message, not even an empty one", () => {
  using queue = MessageQueue.create({ maxBytes: 0 });
  assertEquals([queue.trySend("x"), queue.trySend("")], [false, false]);
});

test(
  "MessageQueue receives messages of any length, however the system's limit is raised",
  onlyUnshared,
  async () => {
    await using child = run(
      `${privileges}
    leaveNamespace();
    limit("msgmax", 1_000_000);
    limit("msgmnb", 4_000_000);
    using queue = MessageQueue.create();
    const check = ({ bytes }, length) => {
      say(bytes.length === length && bytes.every((byte) => byte === length % 251) ? "whole " + length : "spoilt");
    };
    for (const length of [8192, 8193, 100_000, 1_000_000]) {
      const data = new Uint8Array(length).fill(length % 251);
      queue.sendSync(data, { type: 5 });
      queue.sendSync(data);
      queue.sendSync(data);
      check(queue.peek(), length);
      check(queue.receiveSync({ type: 5 }), length);
      check(queue.tryReceive(), length);
      const buffer = new Uint8Array(length);
      const { length: got } = queue.receiveIntoSync(buffer);
      check({ bytes: buffer.subarray(0, got) }, length);
    }
    queue.sendSync("€".repeat(300_000));
    say(String(queue.receiveSync().text() === "€".repeat(300_000)));
    say(String(queue.id));
  `,
      { permissions: ["--allow-all"] },
    );
    for (const length of [8192, 8193, 100_000, 1_000_000]) {
      for (let form = 0; form < 4; form++) {
        assertEquals(await child.hear(), `whole ${length}`);
      }
    }
    assertEquals(await child.hear(), "true");
    assertEquals(await child.hear(), "0", "the first queue of a namespace has the identifier 0");
  },
);

test(
  "MessageQueue.peek() copies a message that is longer than the system's limit has become",
  onlyUnshared,
  async () => {
    await using child = run(
      `${privileges}
    leaveNamespace();
    limit("msgmax", 16_000);
    using queue = MessageQueue.create();
    queue.sendSync("x".repeat(16_000));
    limit("msgmax", 8192);
    say(String(failure(() => queue.peek().bytes.length)));
    say(String(queue.receiveSync().bytes.length));
  `,
      { permissions: ["--allow-all"] },
    );
    assertNotEquals(await child.hear(), "EIDRM msgrcv", "nobody removed the queue");
    assertEquals(await child.hear(), "16000");
  },
);

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

test("MessageQueue.setPermissions() changes the mode and the limit, and leaves out what is left out", () => {
  using queue = MessageQueue.create({ mode: 0o640, maxBytes: 1000 });
  queue.setPermissions({ mode: 0o600 });
  assertEquals([queue.stat().mode, queue.stat().maxBytes], [0o600, 1000]);
  queue.setPermissions({ maxBytes: 10 });
  assertEquals([queue.stat().mode, queue.stat().maxBytes], [0o600, 10]);
  assertIpcError(() => queue.trySend("eleven char"), "EINVAL", "msgsnd");
  queue.setPermissions({ maxBytes: msgmnb });
  assert(queue.trySend("eleven char"));
  queue.setPermissions({});
  assertEquals([queue.stat().mode, queue.stat().messages], [0o600, 1]);
});

test(
  "MessageQueue.setPermissions() gives the queue to another user, and the creator stays",
  onlyRoot,
  () => {
    using queue = MessageQueue.create();
    queue.setPermissions({ uid: 65534, gid: 65533 });
    const { uid, gid, creatorUid, mode } = queue.stat();
    assertEquals([uid, gid, creatorUid, mode], [65534, 65533, 0, 0o600]);
  },
);

test("MessageQueue takes no limit that the kernel would cut to 32 bits", () => {
  using queue = MessageQueue.create({ maxBytes: 500 });
  for (const maxBytes of [2 ** 32, 2 ** 32 + 100]) {
    assertThrows(() => queue.setPermissions({ maxBytes }), RangeError);
    assertThrows(() => MessageQueue.create({ maxBytes }), RangeError);
  }
  assertEquals(queue.stat().maxBytes, 500);
});

test(
  "MessageQueue.create() has the limit asked for, and leaves no queue behind when it may not",
  onlyRoot,
  async () => {
    using queue = MessageQueue.create({ maxBytes: 300 });
    assertEquals(queue.stat().maxBytes, 300);
    const key = freshName();
    await using child = run(
      `${privileges}
    becomeNobody();
    const [key, most] = [args[0], Number(args[1])];
    say(failure(() => MessageQueue.create({ key, maxBytes: most + 1 })));
    say(failure(() => MessageQueue.open(key)));
    try {
      MessageQueue.create({ key, maxBytes: most + 1 });
    } catch (error) {
      say(error.message);
    }
  `,
      { args: [key, msgmnb], permissions: ["--allow-all"] },
    );
    assertEquals(await child.hear(), "EPERM msgctl");
    assertEquals(await child.hear(), "ENOENT msgget");
    assertStringIncludes(await child.hear(), "MSGMNB");
  },
);

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

for (const runtime of ["deno", "bun"] as const) {
  test(`MessageQueue.receiveSync() waits for a message of its type, in a process of ${runtime}`, async () => {
    using queue = MessageQueue.create();
    await using child = run(
      `
      const { type, bytes } = MessageQueue.fromId(Number(args[0])).receiveSync({ type: 2 });
      say(type + " " + bytes.join());
    `,
      { runtime, args: [queue.id] },
    );
    await untilIn(child.pid, "msgrcv");
    queue.sendSync("not this", { type: 1 });
    queue.sendSync(Uint8Array.of(7, 0, 255), { type: 2 });
    assertEquals(await child.hear(), "2 7,0,255");
    assertEquals(queue.stat().lastReceivePid, child.pid);
    assertEquals(drain(queue), ["1:not this"]);
  });
}

test("MessageQueue.sendSync() waits for room", async () => {
  using queue = MessageQueue.create({ maxBytes: 10 });
  queue.sendSync("full is it");
  await using child = run(
    `
    MessageQueue.fromId(Number(args[0])).sendSync("more");
    say("sent");
  `,
    { runtime: otherRuntime, args: [queue.id] },
  );
  await untilIn(child.pid, "msgsnd");
  assertEquals(queue.stat().messages, 1);
  assertEquals(queue.receiveSync().text(), "full is it");
  assertEquals(await child.hear(), "sent");
  assertEquals(queue.receiveSync().text(), "more");
});

test("MessageQueue.sendSync() goes on when the limit is raised", async () => {
  using queue = MessageQueue.create({ maxBytes: 10 });
  queue.trySend("full is it");
  await using child = run(
    `
    MessageQueue.fromId(Number(args[0])).sendSync("more");
    say("sent");
  `,
    { args: [queue.id] },
  );
  await untilIn(child.pid, "msgsnd");
  queue.setPermissions({ maxBytes: 100 });
  assertEquals(await child.hear(), "sent");
  assertEquals(queue.receiveSync().text(), "full is it");
  assertEquals(queue.receiveSync().text(), "more");
});

const waits = {
  "receiveSync()": ["queue.receiveSync()", "msgrcv"],
  "receiveIntoSync()": ["queue.receiveIntoSync(new Uint8Array(9))", "msgrcv"],
  "sendSync()": ['queue.sendSync("x")', "msgsnd"],
} as const;

for (const [name, [operation, syscall]] of Object.entries(waits)) {
  const program = `
    const queue = MessageQueue.fromId(Number(args[0]));
    process.on("SIGHUP", () => {});
    try {
      ${operation};
      say("done");
    } catch (error) {
      say([error instanceof IpcError, error.code, error.syscall, error.id].join(" "));
    }
    process.exit();
  `;

  test(`MessageQueue.${name} ends with EIDRM when the queue is removed`, async () => {
    const queue = MessageQueue.create({ maxBytes: 0 });
    using _ = removing(queue);
    await using child = run(program, { args: [queue.id] });
    await untilIn(child.pid, syscall);
    queue.remove();
    assertEquals(await child.hear(), `true EIDRM ${syscall} ${queue.id}`);
  });

  test(`MessageQueue.${name} ends with EINTR when the program handles a signal`, async () => {
    using queue = MessageQueue.create({ maxBytes: 0 });
    await using child = run(program, { args: [queue.id] });
    await untilIn(child.pid, syscall);
    process.kill(child.pid, "SIGHUP");
    assertEquals(await child.hear(), `true EINTR ${syscall} ${queue.id}`);
  });
}

test("MessageQueue.receiveIntoSync() that waits fails when too long a message comes, which stays", async () => {
  using queue = MessageQueue.create();
  await using child = run(
    `
    const queue = MessageQueue.fromId(Number(args[0]));
    try {
      queue.receiveIntoSync(new Uint8Array(3));
    } catch (error) {
      say(error.code);
    }
  `,
    { args: [queue.id] },
  );
  await untilIn(child.pid, "msgrcv");
  queue.sendSync("12345");
  assertEquals(await child.hear(), "E2BIG");
  assertEquals(queue.receiveSync().text(), "12345");
});

test("MessageQueue gives each message to one receiver, whole, between processes of both runtimes", async () => {
  using queue = MessageQueue.create();
  const program = `
    const queue = MessageQueue.fromId(Number(args[0]));
    const seen = [];
    for (;;) {
      const { type, bytes } = queue.receiveSync({ type: { atMost: 2 } });
      if (type === 2) break;
      const number = bytes[0] * 256 + bytes[1];
      seen.push(bytes.length === 2 + number && bytes.subarray(2).every((byte) => byte === bytes[1]) ? number : -1);
    }
    say(seen.join());
  `;
  await using deno = run(program, { runtime: "deno", args: [queue.id] });
  await using bun = run(program, { runtime: "bun", args: [queue.id] });
  const numbers = Array.from({ length: 600 }, (_, index) => index);
  for (const number of numbers) {
    const message = new Uint8Array(2 + number).fill(number % 256, 2);
    message.set([number >> 8, number % 256]);
    queue.sendSync(message);
  }
  await until(() => queue.stat().messages === 0);
  queue.sendSync("", { type: 2 });
  queue.sendSync("", { type: 2 });
  const seen = [await deno.hear(), await bun.hear()].flatMap((line) =>
    line === "" ? [] : line.split(",").map(Number)
  );
  assertEquals(seen.sort((a, b) => a - b), numbers);
});

test(
  "MessageQueue obeys its mode: another user may do what it permits, and nothing more",
  onlyRoot,
  async () => {
    using secret = MessageQueue.create({ key: freshName(), mode: 0o600 });
    using readable = MessageQueue.create({ key: freshName(), mode: 0o604 });
    using writable = MessageQueue.create({ key: freshName(), mode: 0o602 });
    for (const queue of [secret, readable, writable]) queue.sendSync("first");
    await using child = run(
      `${privileges}
    becomeNobody();
    const [secret, readable, writable] = args.map(Number);
    say(failure(() => MessageQueue.open(secret)));
    const reader = MessageQueue.open(readable);
    say(failure(() => reader.tryReceive().text()));
    say(failure(() => reader.trySend("x")));
    const writer = MessageQueue.open(writable);
    say(String(failure(() => writer.trySend("second"))));
    say(failure(() => writer.tryReceive()));
    say(failure(() => writer.peek()));
    say(failure(() => writer.stat()));
    say(failure(() => reader.setPermissions({ mode: 0o666 })));
    say(failure(() => reader.remove()));
    say(failure(() => MessageQueue.openOrCreate(readable)));
    say(String(MessageQueue.openOrCreate(readable, { allowForeign: true }).id));
  `,
      { args: [secret.key!, readable.key!, writable.key!], permissions: ["--allow-all"] },
    );
    const answers = [
      "EACCES msgget",
      "first",
      "EACCES msgsnd",
      "true",
      "EACCES msgrcv",
      "EACCES msgrcv",
      "EACCES msgctl",
      "EPERM msgctl",
      "EPERM msgctl",
      "EPERM msgget",
      `${readable.id}`,
    ];
    for (const answer of answers) assertEquals(await child.hear(), answer);
    assertEquals(drain(writable), ["1:first", "1:second"]);
    assertEquals(drain(secret), ["1:first"]);
  },
);

test(
  "MessageQueue.setPermissions() lets its owner back in after the mode has shut everyone out",
  onlyRoot,
  async () => {
    await using child = run(
      `${privileges}
    becomeNobody();
    using queue = MessageQueue.create({ mode: 0 });
    say(failure(() => queue.trySend("x")));
    say(String(failure(() => queue.setPermissions({ mode: 0o600 }))));
    say(String(failure(() => queue.trySend("x"))));
  `,
      { permissions: ["--allow-all"] },
    );
    assertEquals(await child.hear(), "EACCES msgsnd");
    assertEquals(await child.hear(), "undefined");
    assertEquals(await child.hear(), "true");
    assertEquals((await child.exit).code, 0);
  },
);

test("MessageQueue tells which limit of the system is reached", onlyUnshared, async () => {
  await using child = run(
    `${privileges}
    leaveNamespace();
    limit("msgmni", 1);
    using queue = MessageQueue.create();
    try {
      MessageQueue.create();
    } catch (error) {
      say(error.code + " " + error.syscall);
      say(error.message);
    }
  `,
    { permissions: ["--allow-all"] },
  );
  assertEquals(await child.hear(), "ENOSPC msgget");
  const message = await child.hear();
  for (const word of ["MSGMNI", "1 queues", "ipcs -q", "ipcrm -q"]) {
    assertStringIncludes(message, word);
  }
});
