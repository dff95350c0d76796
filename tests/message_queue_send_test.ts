import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { MessageQueue, SharedMemory } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { onlyUnshared, privileges } from "./support/privilege.ts";
import { msgmax } from "./support/queues.ts";

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
