import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import {
  Broadcast,
  bytes,
  Channel,
  SharedMutex,
  SharedVariable,
  text,
  WorkQueue,
} from "@sysv/ipc/shared";
import { killsOf, Ledger, storm } from "./support/storm.ts";
import { until } from "./support/time.ts";

// Real processes of all runtimes, killed at random moments. Each test is short here, and long with
// IPC_TEST_SOAK=1.

/** Takes the lock in every way, and adds to a counter in two steps that nobody must come between. */
const locking = `
  const mutex = SharedMutex.fromId(structure);
  const OWNER = 1, SUM = 2, ABANDONED = 3;
  const section = (guard) => {
    if (guard.abandoned > 0) Atomics.add(ledger, ABANDONED, guard.abandoned);
    // A holder that died leaves its mark here.
    else if (Atomics.load(ledger, OWNER) !== 0) wrong("two hold the lock");
    Atomics.store(ledger, OWNER, process.pid);
    ledger[SUM]++;
    if (Atomics.load(ledger, OWNER) !== process.pid) wrong("another came in between");
    Atomics.store(ledger, OWNER, 0);
    guard.release();
    count();
  };
  for (let i = 0;; i++) {
    const how = Math.random();
    try {
      if (how < 0.5) section(mutex.lockSync());
      else if (how < 0.6) section(mutex.lockSync({ timeout: 1000 * Math.random() }));
      else if (how < 0.7) { const guard = mutex.tryLock(); if (guard) section(guard); }
      else if (how < 0.9) section(await mutex.lock());
      else section(await mutex.lock({ signal: AbortSignal.timeout(Math.floor(Math.random() * 4)) }));
    } catch (error) { expected(error, "TimeoutError"); }
  }
`;

test("SharedMutex has one holder at a time and is never stuck, whoever is killed", async () => {
  using mutex = SharedMutex.create();
  using ledger = new Ledger(1024);
  const kills = killsOf(12, 700);
  const outcome = await storm({
    structure: mutex.id,
    ledger,
    programs: [locking, locking, locking],
    kills,
  });
  await outcome.end();
  assertEquals(ledger.at(0), 0, "Something was wrong");
  assert(ledger.at(3) <= kills + 3, "More deaths were told than there were");
  // Whoever died last as its holder is told of, too.
  mutex.lockSync().release();
  assertEquals(mutex.locked, false);
});

// Each message holds its producer's incarnation, its number, and a pattern of its own length.
const MOST = 20_000;
const RECEIPTS = 4096;
const PROGRESS = 1024;

const sending = `
  const channel = Channel.fromId(structure, { codec: bytes });
  const buffer = new Uint8Array(1200);
  const words = new Int32Array(buffer.buffer);
  const mine = ${PROGRESS} + 2 * incarnation + 1000 * lane;
  const id = incarnation + 500 * lane;
  for (let n = 1; n <= ${MOST}; n++) {
    Atomics.store(ledger, mine, n);
    const size = 4 + (n * 7 + id) % 97;
    words[0] = id; words[1] = n; words[2] = size;
    for (let i = 3; i < size; i++) words[i] = n * 31 + i;
    const data = buffer.subarray(0, 4 * size - n % 4);
    const how = Math.random();
    if (how < 0.7) channel.sendSync(data);
    else if (how < 0.8) { while (!channel.trySend(data)); }
    else for (;;) {
      try {
        await channel.send(data, how < 0.9 ? { signal: AbortSignal.timeout(Math.floor(Math.random() * 4)) } : {});
        break;
      } catch (error) { expected(error, "TimeoutError"); }
    }
    Atomics.store(ledger, mine + 1, n);
    count();
  }
  for (;;) { count(); await new Promise((resolve) => setTimeout(resolve, 1)); }
`;

const receiving = `
  const channel = Channel.fromId(structure, { codec: bytes });
  const target = new Uint8Array(1200);
  const last = new Map();
  for (;;) {
    const how = Math.random();
    let data;
    try {
      if (how < 0.4) data = channel.receiveSync({ timeout: 50 });
      else if (how < 0.6) data = target.slice(0, channel.receiveIntoSync(target, { timeout: 50 }));
      else if (how < 0.7) data = channel.tryReceive();
      else data = await channel.receive({ signal: AbortSignal.timeout(Math.floor(Math.random() * 10)) });
    } catch (error) { expected(error, "TimeoutError"); }
    // Who has nothing to do goes on, too.
    if (data === undefined) { count(); continue; }
    const words = new Int32Array(data.buffer, data.byteOffset, data.length >> 2);
    const [id, n, size] = words;
    let torn = 4 * size - n % 4 !== data.length;
    for (let i = 3; i < size - 1 && !torn; i++) torn = words[i] !== n * 31 + i;
    if (torn) { wrong("torn", id, n, size, data.length); continue; }
    if (last.get(id) >= n) wrong("out of order", id, last.get(id), n);
    last.set(id, n);
    const before = Atomics.add(ledger, ${RECEIPTS} + id * ${MOST / 32} + (n >> 5), 1 << (n & 31));
    if ((before >>> (n & 31) & 1) !== 0) wrong("twice", id, n);
    count();
  }
`;

for (const capacity of [4096, 65536]) {
  test(`Channel of ${capacity} bytes loses and doubles nothing but what is in dying hands`, async () => {
    using channel = Channel.create({ codec: bytes, capacity });
    const incarnations = 500;
    using ledger = new Ledger(RECEIPTS + 2 * incarnations * (MOST / 32) + 64);
    const senders = [0, 1];
    const outcome = await storm({
      structure: channel.id,
      ledger,
      programs: [sending, sending, receiving, receiving],
      kills: killsOf(12, 1000),
    });
    await outcome.end(senders);
    await until(() => channel.used === 0);
    // What was taken last is still to be counted.
    const counts = ledger.at(16 + 16 * 2) + ledger.at(16 + 16 * 3);
    await until(() => ledger.at(16 + 16 * 2) + ledger.at(16 + 16 * 3) > counts + 4);
    await outcome.end();
    assertEquals(ledger.at(0), 0, "Something was wrong");
    let missing = 0;
    for (const lane of senders) {
      for (let incarnation = 0; incarnation < outcome.starts[lane]!; incarnation++) {
        const sent = ledger.at(PROGRESS + 1000 * lane + 2 * incarnation + 1);
        const sending = ledger.at(PROGRESS + 1000 * lane + 2 * incarnation);
        const id = incarnation + 500 * lane;
        for (let n = 1; n <= MOST - 1; n++) {
          const word = ledger.at(RECEIPTS + id * (MOST / 32) + (n >> 5));
          const isReceived = (word >>> (n & 31) & 1) !== 0;
          if (n <= sent && !isReceived) missing++;
          if (isReceived) assert(n <= sending, "A message was received that nobody had sent");
        }
      }
    }
    const deaths = outcome.kills[2]! + outcome.kills[3]! + 2;
    assert(missing <= deaths, `${missing} messages are missing, but ${deaths} consumers died`);
  });
}

const working = `
  const queue = WorkQueue.fromId(structure, { codec: text });
  for (;;) {
    const how = Math.random();
    let job;
    try {
      if (how < 0.5) job = queue.receiveSync({ timeout: 50 });
      else if (how < 0.6) job = queue.tryReceive();
      else job = await queue.receive({ signal: AbortSignal.timeout(Math.floor(Math.random() * 10)) });
    } catch (error) { expected(error, "TimeoutError"); }
    count();
    if (job === undefined) continue;
    if (Math.random() < 0.1) { job.release(); continue; }
    Atomics.add(ledger, 4096 + Number(job.value), 1);
    job.done();
    Atomics.add(ledger, 2, 1);
  }
`;

const ordering = `
  const queue = WorkQueue.fromId(structure, { codec: text });
  for (;;) {
    const n = Atomics.load(ledger, 1);
    if (n < ledger.length - 5000) {
      if (n % 3 === 0) await queue.send(String(n)); else queue.sendSync(String(n));
      Atomics.store(ledger, 1, n + 1);
    } else await new Promise((resolve) => setTimeout(resolve, 5));
    count();
  }
`;

test("WorkQueue loses no job, whoever is killed", async () => {
  using jobs = WorkQueue.create({ capacity: 64, maxBytes: 64, codec: text });
  using ledger = new Ledger(200_000);
  const outcome = await storm({
    structure: jobs.id,
    ledger,
    programs: [ordering, working, working, working],
    kills: killsOf(12, 1000),
  });
  await outcome.end([0]);
  // Those who are left do what the dead have left.
  await until(() => jobs.waiting === 0 && jobs.claimed === 0);
  await outcome.end();
  assertEquals(ledger.at(0), 0, "Something was wrong");
  const sent = ledger.at(1);
  for (let n = 0; n < sent; n++) assert(ledger.at(4096 + n) >= 1, `Job ${n} of ${sent} is lost`);
});

/** The last word of a value is the sum of all others, so that half of one and half of another show. */
const sum = `
  const sumOf = (words, count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum = (Math.imul(sum, 31) + words[i]) | 0;
    return sum;
  };
`;

const writing = `${sum}
  const variable = SharedVariable.fromId(structure, { codec: bytes });
  const buffer = new Uint8Array(1000);
  const words = new Int32Array(buffer.buffer);
  for (;;) {
    const last = 1 + Math.floor(Math.random() * 240);
    for (let i = 1; i < last; i++) words[i] = Math.random() * 2 ** 32;
    words[0] = last;
    words[last] = sumOf(words, last);
    variable.setSync(buffer.subarray(0, 4 * last + 4));
    count();
  }
`;

const reading = `${sum}
  const variable = SharedVariable.fromId(structure, { codec: bytes });
  let last = 0;
  for (let i = 0;; i++) {
    const read = i % 2048 === 0 ? await variable.wait({ newerThan: last }) : variable.read();
    if (read === undefined) continue;
    if (read.version < last) wrong("an older version");
    last = read.version;
    const words = new Int32Array(read.value.buffer);
    if (words.length !== words[0] + 1) wrong("torn length");
    if (words[words[0]] !== sumOf(words, words[0])) wrong("torn");
    count();
  }
`;

test("SharedVariable is never torn nor stuck, though its writer is killed", async () => {
  using variable = SharedVariable.create({ codec: bytes, maxBytes: 1000 });
  using ledger = new Ledger(1024);
  const outcome = await storm({
    structure: variable.id,
    ledger,
    programs: [writing, reading, reading, reading],
    spared: [1, 2, 3],
    kills: killsOf(10, 200),
  });
  await outcome.end();
  assertEquals(ledger.at(0), 0, "Something was wrong");
  // Each writer that was killed may have set one more than it has counted.
  const sets = ledger.at(16);
  assert(variable.version >= sets && variable.version <= sets + outcome.starts[0]!);
});

const publishing = `${sum}
  const news = Broadcast.fromId(structure, { codec: bytes });
  for (let i = 0;; i++) {
    const words = new Int32Array(5 + Math.floor(40 * Math.random()));
    words.set([words.length - 1, lane, incarnation, i]);
    for (let j = 4; j < words.length - 1; j++) words[j] = i * j;
    words[words.length - 1] = sumOf(words, words.length - 1);
    const message = new Uint8Array(words.buffer);
    if (i % 64 === 0) await news.publish(message);
    else news.publishSync(message);
    count();
  }
`;

/** Counts what it has received in one word of its lane, and what it has missed in the next. */
const subscribing = `${sum}
  const subscription = Broadcast.fromId(structure, { codec: bytes }).subscribe();
  const last = new Map();
  count();
  for (let i = 0;; i++) {
    const { value, missed } = i % 256 === 0 ? await subscription.receive() : subscription.receiveSync();
    const words = new Int32Array(value.slice().buffer);
    if (words.length !== words[0] + 1 || words[words[0]] !== sumOf(words, words[0])) wrong("torn");
    const publisher = words[1] + "." + words[2];
    if (words[3] <= (last.get(publisher) ?? -1)) wrong("out of order");
    last.set(publisher, words[3]);
    Atomics.add(ledger, 17 + 16 * lane, missed);
    count();
  }
`;

test("Broadcast gives everybody every message or counts it as missed, whoever is killed", async () => {
  using news = Broadcast.create({ codec: bytes, capacity: 4096 });
  using ledger = new Ledger(1024);
  const subscribers = [0, 1, 2];
  // Nobody publishes before all have subscribed.
  const waiting = `while (${
    subscribers.map((lane) => `Atomics.load(ledger, ${16 + 16 * lane}) === 0`).join(" || ")
  }) await new Promise((resolve) => setTimeout(resolve, 1));`;
  const outcome = await storm({
    structure: news.id,
    ledger,
    programs: [...subscribers.map(() => subscribing), waiting + publishing, waiting + publishing],
    spared: subscribers,
    kills: killsOf(10, 200),
  });
  await outcome.end([3, 4]);
  using memory = SharedMemory.fromId(news.id);
  // The number of the next message, in a storm that is not so long that it needs a second word.
  const published = new Uint32Array(memory.buffer)[66]!;
  const seen = (lane: number) => ledger.at(16 + 16 * lane) - 1 + ledger.at(17 + 16 * lane);
  await until(() => subscribers.every((lane) => seen(lane) >= published - outcome.kills.length));
  await outcome.end(subscribers);
  assertEquals(ledger.at(0), 0, "Something was wrong");
  for (const lane of subscribers) {
    // Those who died before the message was there have used up the last numbers.
    assert(seen(lane) <= published, `${seen(lane)} of ${published}`);
  }
});
