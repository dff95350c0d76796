import { assert, assertEquals, assertRejects } from "@std/assert";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import { run, runtimes } from "./support/child.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, nameIn, server } from "./support/postgres.ts";
import { passed } from "./support/time.ts";
import type { ClusterQueue } from "@sysv/ipc/cluster";

const module = JSON.stringify(new URL("../cluster/mod.ts", import.meta.url).href);

async function freshQueue(maxBytes?: number): Promise<ClusterQueue> {
  return await (await connected()).queue(nameIn("limited"), { maxBytes });
}

/** The same queue, for another session. */
async function sameQueue({ name }: ClusterQueue): Promise<ClusterQueue> {
  return await (await connected()).queue(name);
}

/** How many senders wait. */
async function sendersOf({ name }: ClusterQueue): Promise<number> {
  const count =
    `SELECT count(*) FROM ipc.sender s, ipc.queue q WHERE q.id = s.queue AND q.name = '${name}'`;
  return Number((await server()).query(count)[0]);
}

async function untilSenders(queue: ClusterQueue, count: number): Promise<void> {
  for (let tries = 0; await sendersOf(queue) !== count; tries++) {
    assert(tries < 200, `${await sendersOf(queue)} senders wait, not ${count}`);
    await passed(20);
  }
}

testWhere(
  missingServer,
  "A full queue makes senders wait, who get room in their order",
  async () => {
    const queue = await freshQueue(10);
    const other = await sameQueue(queue);
    assertEquals([queue.created, other.created], [true, false]);
    assertEquals((await other.state()).maxBytes, 10);
    await queue.send("123456");
    assertEquals([await queue.trySend("12345"), await queue.trySend("1234")], [false, true]);
    await assertTimesOut(queue.send("x", { timeout: 0 }));
    await assertTimesOut(queue.send("x", { timeout: 20 }));
    const sends: Promise<void>[] = [];
    let done = 0;
    for (const [of, text] of [[queue, "first9999"], [other, "b"], [queue, "c"]] as const) {
      sends.push(of.send(text).then(() => void done++));
      await untilSenders(queue, sends.length);
    }
    assertEquals((await other.receive()).text(), "123456");
    // Nothing passes the first, but what does not wait.
    assertEquals([await queue.trySend("try"), done], [true, 0]);
    const texts = [];
    for (let i = 0; i < 5; i++) texts.push((await other.receive()).text());
    assertEquals(texts, ["1234", "try", "first9999", "b", "c"]);
    await Promise.all(sends);
    assertEquals(await queue.state(), { messages: 0, held: 0, bytes: 0, maxBytes: 10 });
  },
);

testWhere(
  missingServer,
  "A send that is aborted, or whose handle is disposed, has sent nothing",
  async () => {
    const queue = await freshQueue(4);
    await queue.send("full");
    const controller = new AbortController();
    const reason = new Error("enough");
    const aborted = assertRejects(() => queue.send("1234", { signal: controller.signal }));
    const handle = await sameQueue(queue);
    const disposed = assertRejects(() => handle.send("12"), ReferenceError);
    await untilSenders(queue, 2);
    const behind = queue.send("2");
    await untilSenders(queue, 3);
    controller.abort(reason);
    assertEquals(await aborted, reason);
    handle[Symbol.dispose]();
    await disposed;
    await assertRejects(() => handle.send("x"), ReferenceError);
    assertEquals((await queue.receive()).text(), "full");
    await behind;
    assertEquals((await queue.receive()).text(), "2");
    assertEquals(await queue.tryReceive(), undefined);
    // Many that end just as there is room.
    let sent = 0;
    const sends = Array.from({ length: 40 }, (_, i) => {
      const signal = AbortSignal.timeout(10 + i);
      return queue.send("1234", { signal }).then(() => sent++, () => {});
    });
    let received = 0;
    for (let i = 0; i < 25; i++) received += await queue.tryReceive() === undefined ? 0 : 1;
    await Promise.all(sends);
    while (await queue.tryReceive() !== undefined) received++;
    assertEquals(received, sent);
    assertEquals(await queue.state(), { messages: 0, held: 0, bytes: 0, maxBytes: 4 });
  },
);

testWhere(missingServer, "What receivers hold keeps its room, and comes back to it", async () => {
  const queue = await freshQueue(4);
  await queue.send("1234");
  const held = await queue.receive({ hold: true });
  assertEquals(await queue.trySend("x"), false);
  await held.release();
  assertEquals(await queue.trySend("x"), false);
  const sending = queue.send("x");
  await (await queue.receive({ hold: true })).done();
  await sending;
  assertEquals((await queue.state()).bytes, 1);
});

for (const runtime of runtimes) {
  testWhere(
    missingServer,
    `A sender of ${runtime} that dies as it waits sends nothing, and holds nobody up`,
    async () => {
      const queue = await freshQueue(4);
      await queue.send("123");
      const { options } = await server();
      const program = `import { connect } from ${module};
      const cluster = await connect(${JSON.stringify(options)});
      await (await cluster.queue(args[0])).send("dead");`;
      await using child = run(program, {
        runtime,
        args: [queue.name],
        permissions: ["-A"],
        configured: true,
      });
      await untilSenders(queue, 1);
      const next = queue.send("4");
      await untilSenders(queue, 2);
      await child.kill();
      // There was room for it all along.
      await next;
      const texts = [(await queue.receive()).text(), (await queue.receive()).text()];
      assertEquals([texts, await queue.tryReceive()], [["123", "4"], undefined]);
    },
  );
}

testWhere(
  missingServer,
  "A session that closes takes what it would have sent with it",
  async () => {
    const queue = await freshQueue(4);
    const cluster = await connected();
    const other = await cluster.queue(queue.name);
    await queue.send("1234");
    const sending = assertRejects(() => other.send("abcd"), ReferenceError);
    await untilSenders(queue, 1);
    await cluster.close();
    await sending;
    assertEquals((await queue.receive()).text(), "1234");
    assertEquals(await queue.tryReceive(), undefined);
  },
);

testWhere(
  missingServer,
  "ClusterQueue.resize() makes room, and refuses what never has any",
  async () => {
    const queue = await freshQueue(4);
    await queue.send("1234");
    await assertRejectsWith("EINVAL", queue.send("12345"));
    await assertRejectsWith("EINVAL", queue.trySend("12345"));
    const sends = [queue.send("abcd"), queue.send("ab")];
    await untilSenders(queue, 2);
    const refused = assertRejectsWith("EINVAL", sends[0]!);
    await queue.resize(3);
    await refused;
    await queue.resize(8);
    await sends[1];
    assertEquals(await queue.state(), { messages: 2, held: 0, bytes: 6, maxBytes: 8 });
    // Closed for now.
    await queue.resize(0);
    assertEquals(await queue.trySend(""), false);
    const opened = queue.send("x".repeat(100));
    await untilSenders(queue, 1);
    await queue.resize(undefined);
    await opened;
    assertEquals(await queue.state(), { messages: 3, held: 0, bytes: 106, maxBytes: undefined });
    // By the kernel's rule, no more messages than bytes.
    const tiny = await freshQueue(2);
    assertEquals([await tiny.trySend(""), await tiny.trySend(""), await tiny.trySend("")], [
      true,
      true,
      false,
    ]);
    for (const maxBytes of [-1, 1.5, NaN, "1" as never, null as never]) {
      await assertRejects(() => queue.resize(maxBytes));
      await assertRejects(async () => await (await connected()).queue("any", { maxBytes }));
    }
    const waiting = assertRejectsWith("EIDRM", tiny.send("x"));
    await untilSenders(tiny, 1);
    await tiny.remove();
    await waiting;
    await assertRejectsWith("EIDRM", tiny.resize(1));
  },
);

testWhere(
  missingServer,
  "A message that is longer than all others is refused in words",
  async () => {
    const queue = await freshQueue();
    const longest = new Uint8Array(16 * 1024 * 1024);
    longest[longest.length - 1] = 7;
    await queue.send(longest);
    assertEquals((await queue.receive()).bytes.at(-1), 7);
    const error = await assertRejectsWith("EINVAL", queue.send(new Uint8Array(longest.length + 1)));
    assert(error.message.includes("the most are 16777216"), error.message);
    const cluster = await connected();
    const variable = await cluster.variable<string>(nameIn("long"));
    await assertRejectsWith("EINVAL", variable.set("x".repeat(longest.length)));
  },
);

testWhere(
  missingServer,
  "ClusterQueue.receiveInto() copies what has room, and leaves what has none",
  async () => {
    const queue = await freshQueue();
    const buffer = new Uint8Array(4);
    assertEquals(await queue.tryReceiveInto(buffer), undefined);
    await queue.send("long one", { type: 2 });
    await queue.send("abc", { type: 5 });
    await assertRejectsWith("E2BIG", queue.receiveInto(buffer));
    await assertRejectsWith("E2BIG", queue.tryReceiveInto(buffer, { type: 2 }));
    assertEquals(await queue.receiveInto(buffer, { type: 5 }), { length: 3, type: 5 });
    assertEquals([...buffer], [97, 98, 99, 0]);
    assertEquals((await queue.receive()).text(), "long one");
    // One that waits is passed by for another that has room.
    const refused = assertRejectsWith("E2BIG", queue.receiveInto(buffer));
    await passed(50);
    const other = queue.receiveInto(new DataView(new ArrayBuffer(9)));
    await passed(50);
    await queue.send("too long");
    await refused;
    assertEquals(await other, { length: 8, type: 1 });
    assertEquals(await queue.state(), { messages: 0, held: 0, bytes: 0, maxBytes: undefined });
    await assertTimesOut(queue.receiveInto(buffer, { timeout: 10 }));
    await assertRejects(() => queue.receiveInto([] as never), TypeError);
    await queue.send("kept");
    const shrinking = new Uint8Array(new ArrayBuffer(4, { maxByteLength: 4 }));
    const shrunk = assertRejects(() => queue.receiveInto(shrinking), TypeError, "smaller");
    shrinking.buffer.resize(1);
    await shrunk;
    assertEquals((await queue.receive()).text(), "kept");
  },
);

testWhere(missingServer, "ClusterQueue.peek() copies a message and leaves it", async () => {
  const queue = await freshQueue();
  assertEquals(await queue.peek(), undefined);
  await queue.send("first", { type: 2n ** 62n });
  await queue.send("second");
  const first = await queue.peek();
  assertEquals([first!.text(), first!.exactType], ["first", 2n ** 62n]);
  assertEquals([(await queue.peek(1))!.text(), await queue.peek(2)], ["second", undefined]);
  assertEquals((await queue.state()).messages, 2);
  const held = await queue.receive({ hold: true });
  assertEquals([held.exactType, (await queue.peek())!.text()], [2n ** 62n, "second"]);
  await assertRejects(() => queue.peek(-1), RangeError);
  await queue.remove();
  await assertRejectsWith("EIDRM", queue.peek());
});

testWhere(missingServer, "The streams of a queue send and receive, and lose nothing", async () => {
  const queue = await freshQueue(8);
  const writer = queue.writable.getWriter();
  const reader = queue.readable.getReader();
  const written = (async () => {
    for (const chunk of ["one", Uint8Array.of(50), { data: "three", type: 3 }]) {
      await writer.write(chunk);
    }
    const message = await (await sameQueue(queue)).peek();
    if (message !== undefined) await writer.write(message);
    await writer.close();
  })();
  const texts = [];
  for (let i = 0; i < 3; i++) texts.push((await reader.read()).value!.text());
  assertEquals(texts, ["one", "2", "three"]);
  await written;
  while (await queue.tryReceive() !== undefined);
  // One that is cancelled as it waits has taken nothing, not even what comes just then.
  reader.releaseLock();
  for (let i = 0; i < 10; i++) {
    const reader = queue.readable.getReader();
    const read = reader.read();
    await Promise.all([queue.send(`${i}`), reader.cancel()]);
    const { value } = await read;
    const message = value ?? await queue.receive({ timeout: 5000 });
    assertEquals(message.text(), `${i}`);
  }
  const aborting = queue.writable.getWriter();
  await queue.send("12345678");
  const waiting = assertRejects(() => aborting.write("x"));
  await untilSenders(queue, 1);
  await aborting.abort(new Error("enough"));
  await waiting;
  await untilSenders(queue, 0);
  assertEquals((await queue.receive()).text(), "12345678");
  const last = queue.readable.getReader();
  const ends = last.read();
  await passed(30);
  await queue.remove();
  assertEquals((await ends).done, true);
});
