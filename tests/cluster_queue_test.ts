import { assert, assertEquals, assertRejects } from "@std/assert";
import { text } from "@sysv/ipc/shared";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import { run, runtimes } from "./support/child.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, nameIn, server } from "./support/postgres.ts";
import { passed } from "./support/time.ts";

const module = JSON.stringify(new URL("../cluster/mod.ts", import.meta.url).href);

testWhere(missingServer, "A queue gives messages by the kernel's rules", async () => {
  const queue = await (await connected()).queue(nameIn("queue"));
  for (const [text, type] of [["a", 5], ["b", 3], ["c", 7], ["d", 3]] as const) {
    await queue.send(text, { type });
  }
  const texts = async (...types: (undefined | number | { atMost: number } | { not: number })[]) => {
    const found = [];
    for (const type of types) found.push((await queue.tryReceive({ type }))?.text());
    return found;
  };
  assertEquals(await queue.state(), { messages: 4, held: 0, bytes: 4, maxBytes: undefined });
  assertEquals(await texts({ atMost: 2 }, { atMost: 6 }, { not: 5 }, 3, 3), [
    undefined,
    "b",
    "c",
    "d",
    undefined,
  ]);
  assertEquals(await texts(undefined, undefined), ["a", undefined]);

  const bytes = Uint8Array.of(0, 255, 10, 0);
  await queue.send(bytes, { type: Number.MAX_SAFE_INTEGER });
  await queue.send("");
  const message = await queue.receive({ type: Number.MAX_SAFE_INTEGER });
  assertEquals([message.type, message.bytes], [Number.MAX_SAFE_INTEGER, bytes]);
  assertEquals((await queue.receive()).bytes.length, 0);
  await assertRejects(() => queue.send("x", { type: 0 }), RangeError);
  await assertRejects(() => queue.send(7 as never), TypeError);
  await assertRejects(() => queue.receive({ type: "x" as never }), TypeError);
  await assertRejects(() => queue.receive({ hold: 1 as never }), TypeError);
});

testWhere(missingServer, "Receivers that wait get what they wait for, in their order", async () => {
  const name = nameIn("queue");
  const queue = await (await connected()).queue(name);
  const other = await (await connected()).queue(name);
  const got: string[] = [];
  const receives = [];
  for (
    const [label, of, type] of [["1", queue, 2], ["2", other, undefined], ["3", queue, 2]] as const
  ) {
    receives.push(of.receive({ type }).then((message) => got.push(label + message.text())));
    await passed(50);
  }
  await other.send("x", { type: 9 });
  await other.send("y", { type: 2 });
  await other.send("z", { type: 2 });
  await Promise.all(receives);
  assertEquals(got, ["2x", "1y", "3z"]);
});

testWhere(missingServer, "A receive that is aborted or timed out takes no message", async () => {
  const queue = await (await connected()).queue(nameIn("queue"));
  await assertTimesOut(queue.receive({ timeout: 0 }));
  await assertTimesOut(queue.receive({ timeout: 20 }));
  // Many that end just as messages come.
  let received = 0;
  const receives = Array.from({ length: 40 }, (_, i) => {
    const signal = AbortSignal.timeout(20 + i);
    return queue.receive({ signal }).then(() => received++, () => {});
  });
  for (let i = 0; i < 20; i++) {
    await queue.send(`${i}`);
    await passed(2);
  }
  await Promise.all(receives);
  const { messages, held } = await queue.state();
  assertEquals([received + messages, held], [20, 0]);
});

for (const runtime of runtimes) {
  testWhere(
    missingServer,
    `A held message returns when its holder, of ${runtime}, dies`,
    async () => {
      const name = nameIn("queue");
      const queue = await (await connected()).queue(name);
      await queue.send("job");
      const { options } = await server();
      await using child = run(
        `import { connect } from ${module};
      const cluster = await connect(${JSON.stringify(options)});
      const job = await (await cluster.queue(args[0])).receive({ hold: true });
      say(job.text());
      await hear();`,
        { runtime, args: [name], permissions: ["-A"], configured: true },
      );
      assertEquals(await child.hear(), "job");
      assertEquals(await queue.state(), { messages: 0, held: 1, bytes: 3, maxBytes: undefined });
      assertEquals(await queue.tryReceive(), undefined);
      const next = queue.receive({ hold: true });
      await passed(50);
      await child.kill();
      const job = await next;
      assertEquals([job.text(), job.attempts], ["job", 2]);
      await job.done();
      await job.done();
      assertEquals(await queue.state(), { messages: 0, held: 0, bytes: 0, maxBytes: undefined });
    },
  );
}

testWhere(missingServer, "A held message goes back to its place when it is released", async () => {
  const cluster = await connected();
  const queue = await cluster.queue(nameIn("queue"));
  await queue.send("first");
  await queue.send("second");
  const held = await queue.receive({ hold: true });
  assertEquals(held.lost.aborted, false);
  assertEquals((await queue.tryReceive({ hold: true }))?.text(), "second");
  await held.release();
  const again = await queue.tryReceive({ hold: true });
  assertEquals([again?.text(), again?.attempts], ["first", 2]);
  // What it still holds goes back when the session is closed.
  const other = await (await connected()).queue(queue.name);
  await cluster.close();
  const texts = [(await other.receive()).text(), (await other.receive()).text()];
  assertEquals(texts, ["first", "second"]);
});

testWhere(missingServer, "Messages outlive a crash of the server, and are given once", async () => {
  const name = nameIn("queue");
  const cluster = await connected();
  const queue = await cluster.queue(name);
  for (let i = 0; i < 5; i++) await queue.send(`${i}`);
  assertEquals((await queue.receive()).text(), "0");
  await queue.receive({ hold: true });
  const own = await server();
  own.stop("immediate");
  own.start();
  const after = await (await connected()).queue(name);
  const texts = [];
  for (let i = 0; i < 4; i++) texts.push((await after.receive({ timeout: 5000 })).text());
  assertEquals([texts, await after.tryReceive()], [["1", "2", "3", "4"], undefined]);
});

testWhere(missingServer, "return() ends a wait of an iteration, and takes nothing", async () => {
  const cluster = await connected();
  const queue = await cluster.queue(nameIn("queue"));
  const variable = await cluster.variable<number>(nameIn("variable"));
  const news = await cluster.broadcast<number>(nameIn("broadcast"));
  const subscription = await news.subscribe();
  const iterations = [
    queue.messages(),
    queue.messages({ hold: true }),
    variable.changes(),
    variable[Symbol.asyncIterator](),
    subscription[Symbol.asyncIterator](),
  ];
  const done = { value: undefined, done: true };
  for (const iteration of iterations) {
    const waits = [iteration.next(), iteration.next()];
    await passed(30);
    assertEquals(await iteration.return!(), done);
    assertEquals(await Promise.all(waits), [done, done]);
  }
  await Promise.all([queue.send("kept"), variable.set(1), news.publish(1)]);
  assertEquals((await queue.receive()).text(), "kept");
  assertEquals(await Promise.all(iterations.map((one) => one.next())), iterations.map(() => done));
  const receives = [subscription.receive(), subscription.receive()];
  await news.publish(2);
  const values = (await Promise.all(receives)).map(({ value }) => value);
  assertEquals(values.sort(), [1, 2]);
});

testWhere(missingServer, "A queue is iterated, and its removal ends all", async () => {
  const queue = await (await connected()).queue(nameIn("queue"));
  await Promise.all(["a", "b", "c"].map((text) => queue.trySend(text)));
  const texts = [];
  for await (const message of queue) {
    texts.push(message.text());
    if (texts.length === 3) break;
  }
  assertEquals(texts, ["a", "b", "c"]);
  const waiting = assertRejectsWith("EIDRM", queue.receive());
  await passed(30);
  await queue.remove();
  await waiting;
  await assertRejectsWith("EIDRM", queue.send("x"));
  await assertRejectsWith("EIDRM", queue.state());
});

testWhere(
  missingServer,
  "A variable is read, set, updated and waited for, across sessions",
  async () => {
    const name = nameIn("variable");
    const one = await (await connected()).variable<{ n: number }>(name);
    assertEquals([await one.get(), await one.read(), await one.version, one.created], [
      undefined,
      undefined,
      0,
      true,
    ]);
    const other = await (await connected()).variable(name, { initial: { n: 99 } });
    assertEquals([await other.get(), other.created], [undefined, false]);
    const change = other.wait({ newerThan: 0 });
    assertEquals(await one.set({ n: 1 }), 1);
    assertEquals(await change, { value: { n: 1 }, version: 1 });
    // What has changed already is there at once.
    assertEquals((await other.wait({ newerThan: 0, timeout: 0 })).value, { n: 1 });
    await assertTimesOut(other.wait({ timeout: 20 }));
    await assertTimesOut(other.wait({ timeout: 0 }));
    await assertRejects(() => one.set(undefined as never), TypeError);
    await assertRejectsWith("EINVAL", (await connected()).variable(name, { codec: text as never }));

    await Promise.all(
      Array.from(
        { length: 40 },
        (_, i) => [one, other][i % 2]!.update((old) => ({ n: old!.n + 1 })),
      ),
    );
    assertEquals(await one.read(), { value: { n: 41 }, version: 41 });
    const seen: number[] = [];
    const watching = (async () => {
      for await (const { value: { n } } of other.changes()) seen.push(n);
    })();
    await passed(30);
    for (let n = 90; n <= 100; n++) await one.set({ n });
    while (seen.at(-1) !== 100) await passed(5);
    assertEquals(seen[0], 41);
    assert(seen.every((n, i) => i === 0 || n > seen[i - 1]!), `${seen}`);
    for await (const { n } of one) {
      assertEquals(n, 100);
      break;
    }
    const gone = assertRejectsWith("EIDRM", other.wait());
    await passed(30);
    await one.remove();
    await gone;
    await watching;
    const made = await (await connected()).variable(name, { initial: 7 });
    assertEquals(await made.read(), { value: 7, version: 1 });
    made[Symbol.dispose]();
    await assertRejects(() => made.get(), ReferenceError);
  },
);

testWhere(
  missingServer,
  "A broadcast reaches all, and the slow learn what they missed",
  async () => {
    const name = nameIn("broadcast");
    const sender = await (await connected()).broadcast<number>(name, { keep: 10 });
    const other = await (await connected()).broadcast<number>(name);
    await sender.publish(0);
    const subscriptions = [await sender.subscribe(), await other.subscribe()];
    const slow = await other.subscribe();
    assertEquals(await slow.tryReceive(), undefined);
    const received = subscriptions.map(async (subscription) => {
      const items = [];
      for await (const { value, missed } of subscription) {
        assertEquals(missed, 0);
        items.push(value);
        if (value === 5) return items;
      }
      return items;
    });
    for (let i = 1; i <= 5; i++) await other.publish(i);
    assertEquals(await Promise.all(received), [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]);
    for (let i = 6; i <= 25; i++) await sender.publish(i);
    assertEquals(await slow.receive(), { value: 16, missed: 15 });
    for (let i = 17; i <= 25; i++) assertEquals(await slow.receive(), { value: i, missed: 0 });
    await assertTimesOut(slow.receive({ timeout: 20 }));
    const controller = new AbortController();
    const aborted = assertRejects(
      () => slow.receive({ signal: controller.signal }),
      Error,
      "enough",
    );
    controller.abort(new Error("enough"));
    await aborted;
    await sender.publish(26);
    assertEquals(await slow.receive(), { value: 26, missed: 0 });
    await sender.remove();
    await assertRejectsWith("EIDRM", slow.receive());
  },
);
