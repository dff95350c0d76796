import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { bytes, Channel, SharedMutex, SharedVariable } from "@sysv/ipc/shared";
import { lockAt } from "../shared/layout.ts";
import { consumers, DATA, HEAD, producers, TAIL } from "../shared/ring_flows.ts";
import { writers } from "../shared/cells.ts";

// The model check explores the flows, whose first events the classes perform without a flow. Here the
// classes are held to the very events of the model, in the same order.

const operations = ["load", "store", "compareExchange", "or", "and"] as const;

/** Which words are changed or looked for, in what order, while something runs. */
function eventsOf(run: () => unknown): string[] {
  const events: string[] = [];
  const originals = new Map<string, unknown>();
  const atomics = Atomics as unknown as Record<string, (...given: never[]) => number>;
  for (const name of operations) {
    const original = atomics[name]!;
    originals.set(name, original);
    atomics[name] = (...given: never[]) => {
      const [, word, ...values] = given as unknown as [unknown, number, ...number[]];
      events.push(name === "load" ? `load ${word}` : `${name} ${word} ${values.join(" ")}`);
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

/** The events that others can notice: no look, and nothing that only its own side reads. */
const isChange = (event: string) => !event.startsWith("load") && !/^store (47|79) /.test(event);

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

test("Channel commits a message after it is written, and takes it after it is read, as in the model", () => {
  using channel = Channel.create({ codec: bytes, members: 1 });
  const message = new Uint8Array(8);
  channel.sendSync(message);
  channel.receiveSync();
  const sent = eventsOf(() => channel.trySend(message));
  assertEquals(sent.filter(isChange), [
    `compareExchange ${producers.word} 0 1`,
    `store ${DATA + 4} 8`,
    `store ${TAIL} 32`,
    `compareExchange ${producers.word} 1 0`,
  ]);
  const received = eventsOf(() => channel.tryReceive());
  assertEquals(received.filter(isChange), [
    `compareExchange ${consumers.word} 0 1`,
    `store ${HEAD} 32`,
    `compareExchange ${consumers.word} 1 0`,
  ]);
  // What is read of the message is read before the head is stored.
  const stored = received.findIndex((event) => event.startsWith(`store ${HEAD} `));
  assertEquals(received.slice(stored).some((event) => event === `load ${DATA + 4}`), false);
});

test("SharedVariable stores its version last, with the lock", () => {
  using variable = SharedVariable.create({ codec: bytes, members: 1 });
  variable.setSync(new Uint8Array(4));
  const events = eventsOf(() => variable.setSync(new Uint8Array(4))).filter(isChange);
  assertEquals(events[0], `compareExchange ${writers.word} 0 1`);
  assertEquals(events.slice(-2), ["store 64 2", `compareExchange ${writers.word} 1 0`]);
});
