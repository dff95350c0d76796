import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { Channel, text } from "@sysv/ipc/shared";
import { filled } from "../shared/ring_flows.ts";
import { passed, settles, until } from "./support/time.ts";

type Reader = ReadableStreamDefaultReader<string>;

/** What can happen to a read that is pending. */
const ends: Readonly<Record<string, (stream: ReadableStream<string>, reader: Reader) => unknown>> =
  {
    "its reader cancels": (_, reader) => reader.cancel("enough"),
    "its reader is released": (_, reader) => reader.releaseLock(),
    "its reader is released and the stream cancelled": (stream, reader) => {
      reader.releaseLock();
      return stream.cancel();
    },
  };

/** Lets some microtasks run. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}

for (const [what, end] of Object.entries(ends)) {
  test(`Channel.readable: as ${what}, no message is lost`, async () => {
    for (const sleeps of [false, true]) {
      for (let delay = 0; delay < 12; delay++) {
        using channel = Channel.create({ codec: text });
        const { readable } = channel;
        const reader = readable.getReader();
        const read = reader.read().then(({ value }) => value, () => undefined);
        if (sleeps) await passed(3);
        channel.sendSync("message");
        await turns(delay);
        await end(readable, reader);
        const got = await read ?? channel.receiveSync({ timeout: 20_000 });
        assertEquals(got, "message", `after ${delay} turns`);
      }
    }
  });
}

test("Channel.readable: a reader that is released hands the wait to the next one", async () => {
  using channel = Channel.create({ codec: text });
  const first = channel.readable.getReader();
  const read = first.read();
  await passed(3);
  first.releaseLock();
  await assertRejects(() => read, TypeError);
  const next = channel.readable.getReader().read();
  channel.sendSync("message");
  assertEquals(await next, { value: "message", done: false });
});

test("Channel.readable: one that is woken after its reader has left wakes another", async () => {
  // Places are taken at random: now and then the other one is woken at once.
  for (let round = 0; round < 10; round++) {
    using channel = Channel.create<number>({ members: 6 });
    using left = Channel.fromId<number>(channel.id);
    using other = Channel.fromId<number>(channel.id);
    using memory = SharedMemory.fromId(channel.id);
    const marks = new Int32Array(memory.buffer, 4 * filled.word, 1);
    // One that takes its place wakes, too.
    channel.sendSync(round);
    left.receiveSync();
    const reader = left.readable.getReader();
    const read = reader.read();
    await until(() => marks[0] !== 0);
    const mark = marks[0];
    const received = other.receive({ timeout: 20_000 });
    await until(() => marks[0] !== mark);
    reader.releaseLock();
    await assertRejects(() => read, TypeError);
    channel.sendSync(round);
    assertEquals(await received, round);
  }
});

test("Channel.readable: a pipe that is aborted between two messages loses none", async () => {
  using from = Channel.create({ codec: text });
  using to = Channel.create({ codec: text });
  const all: string[] = [];
  for (let round = 0; round < 30; round++) {
    const controller = new AbortController();
    const piping = from.readable.pipeTo(to.writable, {
      signal: controller.signal,
      preventAbort: true,
    }).catch(() => {});
    all.push(...["a", "b", "c"].map((name) => `${name}${round}`));
    for (const message of all.slice(-3)) from.sendSync(message);
    await turns(round);
    controller.abort();
    await piping;
  }
  const got: string[] = [];
  for (const channel of [to, from]) {
    for (let message; (message = channel.tryReceive()) !== undefined;) got.push(message);
  }
  assertEquals(got.sort(), all.sort());
});

test("Channel.readable and writable stay the same until they end, and are new then", async () => {
  using channel = Channel.create({ codec: text, capacity: 64 });
  const { readable, writable } = channel;
  assertStrictEquals(channel.readable, readable);
  assertStrictEquals(channel.writable, writable);
  await readable.cancel();
  await writable.abort();
  assert(channel.readable !== readable);
  assert(channel.writable !== writable);
  channel.sendSync("message");
  for await (const message of channel.readable) {
    assertEquals(message, "message");
    break;
  }
});

test("Channel.writable: aborting it ends the wait for room, and sends nothing", async () => {
  using channel = Channel.create({ codec: text, capacity: 64 });
  for (let i = 0; channel.trySend(String(i)); i++);
  const { used } = channel;
  for (const sleeps of [false, true]) {
    const { writable } = channel;
    const writer = writable.getWriter();
    const writes = [writer.write("more"), writer.write("and more")];
    if (sleeps) await passed(5);
    const aborted = writer.abort(new RangeError("enough"));
    for (const write of writes) {
      const outcome = write.then(() => "sent", () => "not sent");
      assert(await settles(outcome));
      assertEquals(await outcome, "not sent");
    }
    await aborted;
    assertEquals(channel.used, used);
  }
  assertEquals(channel.receiveSync(), "0");
  channel.sendSync("next");
});
