import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import {
  Broadcast,
  bytes,
  Channel,
  type Codec,
  SharedCounters,
  SharedMutex,
  SharedVariable,
  text,
  WorkQueue,
} from "@sysv/ipc/shared";
import { wrong } from "./support/assert.ts";
import { passed } from "./support/time.ts";

/** A codec of which each direction can be replaced. */
class Odd implements Codec<string> {
  readonly name = "odd";
  encode: (item: string) => Uint8Array = (item) => text.encode(item);
  decode: (bytes: Uint8Array<ArrayBuffer>) => string = (bytes) => text.decode(bytes);

  repair(): void {
    Object.assign(this, new Odd());
  }
}

const fail = (): never => {
  throw new Error("failed");
};

test("What a codec cannot encode is not sent in any form, and holds nothing up", async () => {
  const codec = new Odd();
  using channel = Channel.create({ codec, capacity: 64 });
  using queue = WorkQueue.create({ codec });
  using variable = SharedVariable.create({ codec });
  using news = Broadcast.create({ codec });
  const mine = news.subscribe();
  variable.setSync("old");
  const bad = [fail, () => "text", () => undefined, () => [1], () => new Float64Array(1)];
  for (const encode of [...bad, () => new ArrayBuffer(1), () => ({ length: 1 })]) {
    codec.encode = encode as never;
    const forms = [
      () => channel.sendSync("x"),
      () => channel.trySend("x"),
      () => queue.sendSync("x"),
      () => queue.trySend("x"),
      () => variable.setSync("x"),
      () => variable.updateSync(() => "x"),
      () => news.publishSync("x"),
    ];
    const kind = encode === fail ? Error : TypeError;
    for (const form of forms) assertThrows(form, kind);
    await assertRejects(() => channel.send("x"), kind);
    await assertRejects(() => queue.send("x"), kind);
    await assertRejects(() => variable.set("x"), kind);
    await assertRejects(() => variable.update(() => "x"), kind);
    await assertRejects(() => news.publish("x"), kind);
  }
  codec.repair();
  assertEquals([channel.tryReceive(), queue.tryReceive(), mine.tryReceive()], [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals(variable.read(), { value: "old", version: 1 });
  channel.sendSync("next");
  queue.sendSync("next");
  news.publishSync("next");
  variable.setSync("next");
  assertEquals(channel.receiveSync(), "next");
  assertEquals(queue.receiveSync().value, "next");
  assertEquals(mine.receiveSync().value, "next");
});

test("What a codec cannot decode is received all the same, and a job stays held", async () => {
  const codec = new Odd();
  using channel = Channel.create({ codec });
  using queue = WorkQueue.create({ codec });
  using variable = SharedVariable.create({ codec });
  for (const item of ["a", "b", "c", "d"]) channel.sendSync(item);
  queue.sendSync("job");
  variable.setSync("value");
  codec.decode = fail;
  assertThrows(() => channel.receiveSync(), Error, "failed");
  assertThrows(() => channel.tryReceive(), Error, "failed");
  await assertRejects(() => channel.receive(), Error, "failed");
  assertThrows(() => variable.get(), Error, "failed");
  assertThrows(() => variable.updateSync((old) => `${old}`), Error, "failed");
  const job = queue.receiveSync();
  assertThrows(() => job.value, Error, "failed");
  codec.repair();
  assertEquals([channel.receiveSync(), channel.used], ["d", 0]);
  assertEquals([variable.get(), job.value, queue.claimed], ["value", "job", 1]);
  variable.setSync("next");
  job.done();
});

test("What waits to be sent does not change with its buffer, of whatever class", async () => {
  for (const view of [Buffer.from([1, 2, 3, 4]), Uint8Array.of(1, 2, 3, 4)]) {
    using channel = Channel.create({ codec: bytes, capacity: 64 });
    using queue = WorkQueue.create({ codec: bytes, capacity: 1 });
    while (channel.trySend(new Uint8Array(0)));
    queue.sendSync(view);
    const sent = [channel.send(view), queue.send(view)];
    await passed(2);
    view.fill(9);
    while ((channel.tryReceive()?.length ?? 4) === 0);
    queue.receiveSync().done();
    await Promise.all(sent);
    assertEquals([...queue.receiveSync().value], [1, 2, 3, 4]);
    let last = await channel.receive();
    while (last.length === 0) last = await channel.receive();
    assertEquals([...last], [1, 2, 3, 4]);
  }
});

test("Shared structures check the options of every form, also where they could act at once", async () => {
  using channel = Channel.create({ codec: text });
  using queue = WorkQueue.create({ codec: text });
  using variable = SharedVariable.create({ codec: text });
  using news = Broadcast.create({ codec: text });
  using mutex = SharedMutex.create();
  const mine = news.subscribe();
  const buffer = new Uint8Array(8);
  for (let round = 0; round < 2; round++) {
    for (const options of wrong(5, "x", true, [], null, { timeout: -1 }, { timeout: "5" })) {
      for (
        const form of [
          () => channel.sendSync("x", options),
          () => channel.receiveSync(options),
          () => channel.receiveIntoSync(buffer, options),
          () => queue.sendSync("x", options),
          () => queue.receiveSync(options),
          () => variable.setSync("x", options),
          () => variable.updateSync(() => "x", options),
          () => variable.waitSync(options),
          () => news.publishSync("x", options),
          () => mine.receiveSync(options),
          () => mutex.lockSync(options),
        ]
      ) assertThrows(form, undefined, undefined, String(form));
      for (
        const form of [
          () => channel.send("x", options),
          () => channel.receive(options),
          () => channel.receiveInto(buffer, options),
          () => queue.send("x", options),
          () => queue.receive(options),
          () => variable.set("x", options),
          () => variable.update(() => "x", options),
          () => variable.wait(options),
          () => news.publish("x", options),
          () => mine.receive(options),
          () => mutex.lock(options),
        ]
      ) await assertRejects(form, undefined, undefined, String(form));
    }
    // The same once there is something to receive and every place is taken.
    channel.sendSync("item");
    queue.sendSync("item");
    variable.setSync("item");
    news.publishSync("item");
    mutex.lockSync().release();
  }
  assertEquals([channel.used > 0, queue.waiting, variable.version], [true, 2, 2]);
});

test("SharedCounters refuses what is no number for a counter", () => {
  using counters = SharedCounters.create({ counters: { hits: "u32", sum: "i64" } });
  for (const by of wrong("1", 1n, 1.5, NaN, undefined, null, true)) {
    assertThrows(() => counters.add("hits", by));
    assertThrows(() => counters.store("hits", by));
    assertThrows(() => counters.compareExchange("hits", 0, by));
    assertThrows(() => counters.compareExchange("hits", by, 0));
  }
  for (const by of wrong("1", 1, undefined)) {
    assertThrows(() => counters.add("sum", by), TypeError);
  }
  counters.add("hits", -1);
  assertEquals(counters.values(), { hits: 2 ** 32 - 1, sum: 0n });
});
