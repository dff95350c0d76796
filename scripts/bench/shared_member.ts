/**
 * A member of what scripts/bench_shared.ts measures: it does one thing for ever, and counts.
 *
 * @module
 */

import process from "node:process";
import { SharedMemory } from "@sysv/ipc";
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

if (task === "send") await send();
else if (task === "receive") await receive();
else if (task === "turns") turns();
else free();
