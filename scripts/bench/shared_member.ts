/**
 * A member of what scripts/bench_shared.ts measures: it does one thing for ever, and counts.
 *
 * @module
 */

import process from "node:process";
import { MessageQueue, prepare, SharedMemory } from "@sysv/ipc";
import { bytes, Channel, SharedMutex } from "@sysv/ipc/shared";

const [task, form, structure, ledger, lane, size] = process.argv.slice(2) as [
  string,
  string,
  ...string[],
];
const counts = new Int32Array(SharedMemory.fromId(Number(ledger)).buffer);
let count = 0;

/** Counts, and tells now and then. */
function tick(): void {
  if ((++count & 255) === 0) Atomics.store(counts, 32 * (1 + Number(lane)), count);
}

async function send(): Promise<void> {
  const channel = Channel.fromId(Number(structure), { codec: bytes });
  const message = new Uint8Array(Number(size)).fill(1);
  if (form === "promise") { for (;;) await channel.send(message); }
  if (form === "try") { for (;;) channel.trySend(message); }
  for (;;) channel.sendSync(message);
}

async function receive(): Promise<void> {
  const channel = Channel.fromId(Number(structure), { codec: bytes });
  const buffer = new Uint8Array(Number(size));
  if (form === "promise") {
    for (;;) {
      await channel.receive();
      tick();
    }
  }
  if (form === "try") { for (;;) if (channel.tryReceiveInto(buffer) !== undefined) tick(); }
  if (form === "into") {
    for (;;) {
      channel.receiveIntoSync(buffer);
      tick();
    }
  }
  for (;;) {
    channel.receiveSync();
    tick();
  }
}

function turns(): void {
  const mutex = SharedMutex.fromId(Number(structure));
  for (;;) {
    const guard = mutex.lockSync();
    counts[1]!++;
    guard.release();
    tick();
  }
}

interface Ways {
  send(message: Uint8Array): Promise<void>;
  receive(): Promise<unknown>;
}

/** Both ways between two processes, over channels and over queues. */
function ways(): [Ways, Ways] {
  const ids = structure!.split(",").map(Number) as [number, number, number, number];
  const [there, back, thereToo, backToo] = ids;
  const channel = (id: number) => Channel.fromId(id, { codec: bytes });
  const queue = (id: number) => MessageQueue.fromId(id);
  return [both(channel(there), channel(back)), both(queue(thereToo), queue(backToo))];
}

function both(there: Ways, back: Ways): Ways {
  const [out, into] = task === "ping" ? [there, back] : [back, there];
  return { send: (message) => out.send(message), receive: () => into.receive() };
}

async function echo({ send, receive }: Ways): Promise<void> {
  const message = new Uint8Array(64);
  for (;;) {
    await receive();
    await send(message);
  }
}

/** The time to each answer, in microseconds, of one that sleeps whenever it is asked. */
async function ask({ send, receive }: Ways): Promise<number[]> {
  const message = new Uint8Array(64);
  const times: number[] = [];
  for (let i = 0; i < 60; i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    const start = performance.now();
    await send(message);
    await receive();
    if (i >= 10) times.push((performance.now() - start) * 1000);
  }
  return times;
}

/**
 * Prints the median times over channels and over queues, which take turns. The first 1000 rounds do not
 * count: until then runtimes compile, on the same processor.
 */
async function ping(): Promise<void> {
  const all = ways();
  const times = all.map((): number[] => []);
  for (let round = 0; round < 30; round++) {
    for (const [index, way] of all.entries()) {
      const taken = await ask(way);
      if (round >= 20) times[index]!.push(...taken);
    }
  }
  const medians = times.map((some) => some.sort((a, b) => a - b)[some.length >> 1]!.toFixed(0));
  console.log(medians.join(" "));
  process.exit();
}

/** Prints the best of many short rounds, which nothing else has interrupted. */
function free(): void {
  const mutex = SharedMutex.create();
  let best = Infinity;
  for (let round = 0; round < 100; round++) {
    const start = performance.now();
    for (let i = 0; i < 50_000; i++) mutex.lockSync().release();
    best = Math.min(best, (performance.now() - start) * 20);
  }
  mutex[Symbol.dispose]();
  console.log(best.toFixed(1));
}

if (form === "promise" || task === "ping" || task === "echo") await prepare(2);
if (task === "send") await send();
else if (task === "receive") await receive();
else if (task === "echo") { for (const way of ways()) void echo(way); }
else if (task === "ping") await ping();
else if (task === "turns") turns();
else free();
