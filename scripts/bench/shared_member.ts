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

/** Both ways between two processes, by promises. */
function ways(): { send: (message: Uint8Array) => Promise<void>; receive: () => Promise<unknown> } {
  const ids = structure!.split(",").map(Number) as [number, number];
  const [there, back] = task === "ping" ? ids : ids.reverse() as [number, number];
  const find = form === "queue"
    ? (id: number) => MessageQueue.fromId(id)
    : (id: number) => Channel.fromId(id, { codec: bytes });
  const [out, into] = [find(there!), find(back!)];
  return { send: (message) => out.send(message), receive: () => into.receive() };
}

async function echo(): Promise<void> {
  const { send, receive } = ways();
  const message = new Uint8Array(64);
  for (;;) {
    await receive();
    await send(message);
  }
}

/** Prints the median time to an answer, of one that sleeps whenever it is asked. */
async function ping(): Promise<void> {
  const { send, receive } = ways();
  const message = new Uint8Array(64);
  const times: number[] = [];
  for (let i = 0; i < 450; i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    const start = performance.now();
    await send(message);
    await receive();
    if (i >= 50) times.push((performance.now() - start) * 1000);
  }
  console.log(times.sort((a, b) => a - b)[times.length >> 1]!.toFixed(0));
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

if (form === "promise" || task === "ping" || task === "echo") await prepare();
if (task === "send") await send();
else if (task === "receive") await receive();
else if (task === "echo") await echo();
else if (task === "ping") await ping();
else if (task === "turns") turns();
else free();
