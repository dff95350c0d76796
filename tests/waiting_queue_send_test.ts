import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  assertFailed,
  create,
  endOf,
  fill,
  ROOM,
  text,
  untilSending,
} from "./support/queue_waits.ts";

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
