import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { bytes, Channel, SharedMutex, SharedVariable } from "@sysv/ipc/shared";
import { lockAt } from "../shared/layout.ts";
import { consumers, DATA, HEAD, producers, TAIL } from "../shared/ring_flows.ts";
import { writers } from "../shared/cells.ts";

// The model check explores the flows, whose first events the classes perform without a flow. Here the
// classes are held to the very events of the model, in the same order.

const operations = ["load", "store", "compareExchange", "or", "and"] as const;

/** Which words are changed or looked for, in what order, while something runs; `see` is called before each. */
function eventsOf(run: () => unknown, see: (event: string) => void = () => {}): string[] {
  const events: string[] = [];
  const originals = new Map<string, unknown>();
  const atomics = Atomics as unknown as Record<string, (...given: never[]) => number>;
  for (const name of operations) {
    const original = atomics[name]!;
    originals.set(name, original);
    atomics[name] = (...given: never[]) => {
      const [, word, ...values] = given as unknown as [unknown, number, ...number[]];
      const event = name === "load" ? `load ${word}` : `${name} ${word} ${values.join(" ")}`;
      see(event);
      events.push(event);
      return original.apply(Atomics, given);
    };
  }
  try {
    run();
  } finally {
    for (const [name, original] of originals) atomics[name] = original as () => number;
  }
  return events;
}

/** The events that others can notice: no look. */
const isChange = (event: string) => !event.startsWith("load");

test("SharedMutex takes and releases by one event each, as in the model", () => {
  using mutex = SharedMutex.create({ members: 1 });
  mutex.lockSync().release();
  const { word } = lockAt(1);
  assertEquals(eventsOf(() => mutex.lockSync().release()), [
    `compareExchange ${word} 0 1`,
    `compareExchange ${word} 1 0`,
  ]);
  assertEquals(eventsOf(() => mutex.tryLock()!.release()).at(-1), `compareExchange ${word} 1 0`);
});

// What a lock protects is read and written plainly, between the events: all of it after the lock is taken,
// all of it before the commit.
test("Channel commits a message after it is written, and takes it after it is read, as in the model", () => {
  using channel = Channel.create({ codec: bytes, members: 1 });
  using memory = SharedMemory.fromId(channel.id);
  const words = new Int32Array(memory.buffer);
  const [length, first, second] = [DATA + 4, DATA + 6, DATA + 7];
  const standing = () => [words[length], words[first], words[second]];
  const message = new Uint8Array(new Int32Array([5, 6]).buffer);
  channel.sendSync(new Uint8Array(8));
  channel.receiveSync();

  const lockToSend = `compareExchange ${producers.word} 0 1`;
  const commitSent = `store ${TAIL} 32`;
  const seen: unknown[] = [];
  const sent = eventsOf(() => channel.trySend(message), (event) => {
    if (event === lockToSend || event === commitSent) seen.push(standing());
  });
  assertEquals(sent.filter(isChange), [
    lockToSend,
    commitSent,
    `compareExchange ${producers.word} 1 0`,
  ]);
  assertEquals(seen, [[0, 0, 0], [8, 5, 6]]);

  // What stands there before it is locked or after it is committed is not what is received.
  const lockToTake = `compareExchange ${consumers.word} 0 1`;
  const commitTaken = `store ${HEAD} 32`;
  words[length] = 4;
  words.set([7, 8], first);
  let got: Uint8Array | undefined;
  const received = eventsOf(() => got = channel.tryReceive(), (event) => {
    if (event === lockToTake) words.set([8, 0, 5, 6], length);
    if (event === commitTaken) words.set([4, 0, 7, 8], length);
  });
  assertEquals(received.filter(isChange), [
    lockToTake,
    commitTaken,
    `compareExchange ${consumers.word} 1 0`,
  ]);
  assertEquals(got, message);
});

test("SharedVariable stores its version last, with the lock", () => {
  using variable = SharedVariable.create({ codec: bytes, members: 1 });
  variable.setSync(new Uint8Array(4));
  const events = eventsOf(() => variable.setSync(new Uint8Array(4))).filter(isChange);
  assertEquals(events[0], `compareExchange ${writers.word} 0 1`);
  assertEquals(events.slice(-2), ["store 64 2", `compareExchange ${writers.word} 1 0`]);
});
