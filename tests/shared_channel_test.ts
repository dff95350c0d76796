import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { IpcError, SharedMemory } from "@sysv/ipc";
import { bytes, Channel, text } from "@sysv/ipc/shared";
import { assertRejectsWith, assertTimeout, assertTimesOut } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { filled } from "../shared/ring_flows.ts";
import { passed, settles, until } from "./support/time.ts";

const shared = JSON.stringify(new URL("../shared/mod.ts", import.meta.url).href);

function start(program: string, ...args: (string | number)[]) {
  const names = "import { bytes, Channel, text } from " + shared + "; void [bytes, text];";
  return run(names + program, { args, runtime: otherRuntime });
}

function assertCode(run: () => unknown, code: string): void {
  assertEquals((assertThrows(run, IpcError) as IpcError).code, code);
}

test("Channel hands messages over in order, in every form, as its codec makes them", async () => {
  using channel = Channel.create<{ n: number }>();
  using same = Channel.fromId<{ n: number }>(channel.id);
  await channel.send({ n: 1 });
  channel.sendSync({ n: 2 });
  assert(channel.trySend({ n: 3 }));
  assertEquals(await same.receive(), { n: 1 });
  assertEquals(same.receiveSync(), { n: 2 });
  assertEquals(same.tryReceive(), { n: 3 });
  assertEquals(same.tryReceive(), undefined);
  using words = Channel.create({ codec: text });
  words.sendSync("héllo");
  assertEquals(words.receiveSync(), "héllo");
  using raw = Channel.create({ codec: bytes });
  const buffer = new Uint8Array(8);
  raw.sendSync(new Uint8Array([1, 2, 3]));
  raw.sendSync(new Uint8Array([4]));
  raw.sendSync(new Uint8Array(0));
  assertEquals(raw.receiveIntoSync(buffer), 3);
  assertEquals([...buffer], [1, 2, 3, 0, 0, 0, 0, 0]);
  assertEquals(await raw.receiveInto(buffer), 1);
  assertEquals(raw.tryReceiveInto(buffer), 0);
  assertEquals(raw.tryReceiveInto(buffer), undefined);
});

test("Channel takes messages of any length up to maxBytes, wherever in the ring they stand", () => {
  using channel = Channel.create({ codec: bytes, capacity: 256 });
  assertEquals(channel.maxBytes, 120);
  for (let round = 0; round < 400; round++) {
    const message = new Uint8Array(round % 121).map((_, i) => round + i);
    channel.sendSync(message);
    assertEquals(channel.receiveSync(), message);
  }
  assertThrows(() => channel.sendSync(new Uint8Array(121)), RangeError);
  assertEquals(channel.used, 0);
});

test("Channel keeps short and long messages whole, however full it is", () => {
  using channel = Channel.create({ codec: bytes, capacity: 16_384 });
  const buffer = new Uint8Array(channel.maxBytes);
  const lengthOf = (i: number) => i % 7 === 0 ? i * 37 % 3000 : i * 13 % 200;
  const messageOf = (i: number) => new Uint8Array(lengthOf(i)).fill(i);
  let sent = 0;
  for (let received = 0; received < 5000; received++) {
    while (channel.trySend(messageOf(sent))) sent++;
    const message = received % 3 === 0
      ? buffer.slice(0, channel.receiveIntoSync(buffer))
      : channel.receiveSync();
    assertEquals(message, messageOf(received));
  }
});

test("Channel gives messages of up to 16 KiB in a buffer of 64 to 256 KiB, longer ones in their own", () => {
  using channel = Channel.create({ codec: bytes, capacity: 2 ** 18 });
  const bounds = [[100, 65_536], [1024, 65_536], [4096, 262_144], [16_384, 262_144]] as const;
  for (const [length, most] of [...bounds, [16_385, 16_385], [100_000, 100_000]] as const) {
    for (let i = 0; i < 700; i++) {
      channel.sendSync(new Uint8Array(length));
      assert(channel.receiveSync().buffer.byteLength <= most);
    }
  }
});

test("Channel gives bytes that nothing overwrites, even if the buffer of others is transferred", () => {
  using channel = Channel.create({ codec: bytes });
  const all: Uint8Array[] = [];
  const lengths = [0, 1, 3, 64, 127, 128, 129, 4096, 20_000];
  for (let round = 0; round < 50; round++) {
    for (const length of lengths) channel.sendSync(new Uint8Array(length).fill(round));
    for (const _ of lengths) all.push(channel.receiveSync());
  }
  for (const [i, message] of all.entries()) {
    const expected = new Uint8Array(lengths[i % lengths.length]!).fill(i / lengths.length | 0);
    assertEquals(message, expected);
  }
  for (let round = 0; round < 3; round++) {
    for (const length of [0, 0, 8]) {
      channel.sendSync(new Uint8Array(length).fill(round));
      const message = channel.receiveSync();
      assertEquals(message, new Uint8Array(length).fill(round));
      (message.buffer as ArrayBuffer).transfer();
    }
  }
});

test("Channel receives into any buffer: one that begins anywhere, shrinks and grows, or is shared", () => {
  using channel = Channel.create({ codec: bytes });
  const message = Uint8Array.from({ length: 37 }, (_, i) => i + 1);
  const check = (target: ArrayBuffer | ArrayBufferView, got: () => Uint8Array) => {
    channel.sendSync(message);
    assertEquals(channel.receiveIntoSync(target), 37);
    assertEquals(got(), message);
  };
  for (let start = 0; start < 9; start++) {
    const target = new Uint8Array(64).subarray(start);
    for (let i = 0; i < 2; i++) check(target, () => target.slice(0, 37));
    const view = new DataView(new ArrayBuffer(64), start);
    check(view, () => new Uint8Array(view.buffer, start, 37));
  }
  const shared = new Uint8Array(new SharedArrayBuffer(64));
  check(shared, () => shared.slice(0, 37));
  const resizable = new ArrayBuffer(64, { maxByteLength: 64 });
  const target = new Uint8Array(resizable);
  check(target, () => target.slice(0, 37));
  resizable.resize(8);
  channel.sendSync(message);
  assertThrows(() => channel.receiveIntoSync(target), RangeError);
  channel.receiveSync();
  resizable.resize(40);
  check(target, () => target.slice(0, 37));
});

test("Channel that is full makes producers wait, and tells those who only try", async () => {
  using channel = Channel.create({ codec: bytes, capacity: 64 });
  using same = Channel.fromId(channel.id, { codec: bytes });
  const message = new Uint8Array(8).fill(7);
  for (let i = 0; i < 4; i++) assert(channel.trySend(message));
  assertEquals(channel.trySend(message), false);
  assertTimeout(() => channel.sendSync(message, { timeout: 5 }));
  await assertTimesOut(channel.send(message, { timeout: 5 }));
  const sent = [channel.send(new Uint8Array([1])), channel.send(new Uint8Array([2]))];
  for (let i = 0; i < 4; i++) assertEquals(same.receiveSync(), message);
  await Promise.all(sent);
  assertEquals([same.receiveSync(), same.receiveSync()].map((one) => one[0]), [1, 2]);
});

test("Channel wakes who sleeps in another process, however it sleeps", async () => {
  using channel = Channel.create({ codec: text, capacity: 128 });
  await using child = start(
    `
    const channel = Channel.fromId(Number(args[0]), { codec: text });
    say(channel.receiveSync());
    say(await channel.receive());
    for (let i = 0; i < 20; i++) i % 2 ? channel.sendSync("back " + i) : await channel.send("back " + i);
    await hear();
  `,
    channel.id,
  );
  await passed(100);
  channel.sendSync("one");
  assertEquals(await child.hear(), "one");
  await passed(30);
  channel.sendSync("two");
  assertEquals(await child.hear(), "two");
  await passed(30);
  for (let i = 0; i < 20; i++) assertEquals(await channel.receive(), `back ${i}`);
});

test("Channel: promises of a handle get their messages in order, also when some are aborted", async () => {
  using channel = Channel.create<number>();
  const controller = new AbortController();
  const waits = [1, 2, 3, 4].map((n) =>
    channel.receive(n % 2 === 0 ? { signal: controller.signal } : undefined)
  );
  await passed(10);
  controller.abort(new Error("enough"));
  await assertRejects(() => waits[1]!, Error, "enough");
  await assertRejects(() => waits[3]!, Error, "enough");
  for (const n of [1, 2, 3]) channel.sendSync(n);
  assertEquals([await waits[0], await waits[2], await channel.receive()], [1, 2, 3]);
});

test("Channel that is closed gives out what is left, and then says so", async () => {
  using channel = Channel.create<number>();
  using same = Channel.fromId<number>(channel.id);
  const all: number[] = [];
  const iteration = (async () => {
    for await (const n of same) all.push(n);
  })();
  for (let n = 0; n < 5; n++) channel.sendSync(n);
  channel.close();
  channel.close();
  await iteration;
  assertEquals([all, channel.closed], [[0, 1, 2, 3, 4], true]);
  assertCode(() => channel.sendSync(1), "EPIPE");
  assertCode(() => channel.trySend(1), "EPIPE");
  assertCode(() => channel.receiveSync(), "EPIPE");
  await assertRejectsWith("EPIPE", channel.send(1));
  await assertRejectsWith("EPIPE", channel.receive());
  assertEquals(channel.tryReceive(), undefined);
});

test("Channel.close() and remove() wake producers and consumers who sleep", async () => {
  for (const [end, code] of [["close", "EPIPE"], ["remove", "EIDRM"]] as const) {
    const channel = Channel.create({ codec: bytes, capacity: 64 });
    const same = Channel.fromId(channel.id, { codec: bytes });
    const empty = Channel.create({ codec: bytes });
    while (channel.trySend(new Uint8Array(8)));
    const waits = [channel.send(new Uint8Array(8)), empty.receive()];
    await passed(10);
    same[end]();
    empty[end]();
    await Promise.all(waits.map((wait) => assertRejectsWith(code, wait)));
    for (const handle of [channel, same, empty]) handle[Symbol.dispose]();
  }
});

test("Channel as streams", async () => {
  using channel = Channel.create<number>({ capacity: 64 });
  const numbers = ReadableStream.from([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const writing = numbers.pipeTo(channel.writable).then(() => channel.close());
  const got: number[] = [];
  for await (const n of channel.readable) got.push(n);
  await writing;
  assertEquals(got, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("Channel tells of those who died as they sent or received, and goes on", async () => {
  using channel = Channel.create({ codec: bytes });
  const words = new Int32Array(SharedMemory.fromId(channel.id).buffer);
  const LAST_PRODUCER = 32 + 15; // the place from which this handle has sent
  // As a process leaves it that dies with the lock: each place that nobody has is one.
  for (const [lock, end] of [[32, "sending"], [64, "receiving"]] as const) {
    channel.sendSync(new Uint8Array([1]));
    const own = words[LAST_PRODUCER]!;
    words[lock] = own === 1 ? 2 : 1;
    if (end === "sending") channel.sendSync(new Uint8Array([2]));
    else assertEquals(channel.receiveSync(), new Uint8Array([1]));
    assertEquals(channel.abandoned[end], 1);
  }
  await channel.send(new Uint8Array([3]));
});

test("Channel: a promise form gives way to the event loop though there is always work", async () => {
  using channel = Channel.create<number>();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const until = performance.now() + 20_000;
  while (ticks < 3 && performance.now() < until) {
    await channel.send(1);
    await channel.receive();
  }
  clearInterval(timer);
  assert(ticks >= 3, `${ticks} ticks`);
});

test("Channel of another codec, kind or capacity is refused in words", () => {
  using channel = Channel.create({ codec: bytes });
  assertCode(() => Channel.fromId(channel.id, { codec: text }), "EINVAL");
  assertCode(() => Channel.fromId(channel.id), "EINVAL");
});

test("Channel survives hostile values in every word of its header and every index", () => {
  const hostile = [
    0,
    1,
    2,
    3,
    7,
    8,
    31,
    255,
    4095,
    1 << 12,
    1 << 29,
    1 << 30,
    0x7fffffff,
    -1,
    -8,
    1 << 31,
  ];
  let seed = 1;
  const random = (most: number) => (seed = (seed * 48271) % 0x7fffffff) % most;
  for (let round = 0; round < 300; round++) {
    using channel = Channel.create({ codec: bytes, capacity: 256, members: 8 });
    using memory = SharedMemory.fromId(channel.id);
    const words = new Int32Array(memory.buffer);
    const guard = words.slice(0, 32);
    channel.sendSync(new Uint8Array(20));
    channel.sendSync(new Uint8Array(9));
    for (let i = 0; i <= round % 3; i++) {
      // A lock whose owner lives is waited for, and rightly: here it has none, or one that never was.
      const word = 32 + random(words.length - 32);
      words[word] = hostile[random(hostile.length)]!;
      if (word === 32 || word === 64) words[word] = words[word]! & ~0xfff | 9 * random(2);
    }
    const uses = [
      () => channel.trySend(new Uint8Array(random(100))),
      () => channel.tryReceive(),
      () => channel.tryReceiveInto(new Uint8Array(128)),
      () => channel.sendSync(new Uint8Array(8), { timeout: 1 }),
      () => channel.receiveSync({ timeout: 1 }),
      () => [channel.used, channel.abandoned],
    ];
    for (let i = 0; i < 12; i++) {
      try {
        uses[random(uses.length)]!();
      } catch (error) {
        const isExpected = error instanceof IpcError || (error as Error).name === "TimeoutError";
        if (!isExpected) assertInstanceOf(error, RangeError);
      }
    }
    assertEquals(words.slice(0, 9), guard.slice(0, 9), "The header was overwritten");
  }
});

test("Channel wakes another consumer if a message does not fit into the buffer of the first", async () => {
  using channel = Channel.create({ codec: bytes, members: 8 });
  using memory = SharedMemory.fromId(channel.id);
  const sleeping = new Int32Array(memory.buffer, 4 * filled.word, 1);
  // Which of the two is woken first is a matter of the places that they happen to have.
  for (let round = 0; round < 8; round++) {
    using roomy = Channel.fromId(channel.id, { codec: bytes });
    using tight = Channel.fromId(channel.id, { codec: bytes });
    const over = new AbortController();
    const received = roomy.receive();
    const refused = tight.receiveInto(new Uint8Array(1), over).catch((error) => error);
    await until(() => countBits(Atomics.load(sleeping, 0)) === 2);
    channel.sendSync(new Uint8Array(8));
    assert(await settles(received), "The message is there, and nobody was woken");
    over.abort();
    const { name } = await refused;
    assert(name === "RangeError" || name === "AbortError", name);
  }
});

function countBits(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
