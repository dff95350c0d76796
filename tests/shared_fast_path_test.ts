import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { bytes, Channel, SharedMutex, SharedVariable } from "@sysv/ipc/shared";
import { awaitGate } from "../shared/await_gate.ts";
import type { Answer, Failure, Flow, Request } from "../shared/flow.ts";
import {
  CLOSED,
  ENDED,
  type Gate,
  GATE_WORDS,
  gateAt,
  gateUnless,
  header,
  LINE,
  lockAt,
  REMOVED,
  WAKE,
} from "../shared/layout.ts";
import type { Members } from "../shared/members.ts";
import { Protocol } from "../shared/protocol.ts";
import { Ring } from "../shared/ring.ts";
import { consumers, DATA, filled, HEAD, producers, RingFlows, TAIL } from "../shared/ring_flows.ts";
import { writers } from "../shared/cells.ts";
import { unlock } from "../shared/unlock.ts";
import type { Step } from "../sync/protocols.ts";

// The model check explores the flows, whose first events the classes perform without a flow. Here the
// classes are held to the very events of the model, in the same order.

const operations = ["load", "store", "compareExchange", "exchange", "or", "and"] as const;

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

/** A memory with sleepers at the gates of a lock, and those places that nobody has, from a seed. */
function scene(seed: number) {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  const places = 1 + random(70);
  const me = 1 + random(places);
  const lock = lockAt(1, gateAt(2, random(2) === 0), gateUnless(3, LINE - 2, LINE - 1));
  const words = new Int32Array(4 * LINE);
  words[LINE - 1] = random(2);
  const owner = random(4) === 0 ? 1 + random(places) : me;
  words[lock.word] = owner | (random(4) === 0 ? 0 : WAKE) | [0, ENDED, 3 << 12][random(3)]!;
  for (const { word } of lock.opens) {
    for (let index = 0; index < GATE_WORDS; index++) {
      const marks = [0, 1 << random(32), random(2 ** 24) << random(9)];
      words[word + index] = marks[random(3)]!;
    }
  }
  const dead = new Set(Array.from({ length: random(places) }, () => 1 + random(places)));
  return { protocol: new Protocol(places, [lock], lock.opens), lock, words, me, dead };
}

/** Answers what the flow of an unlock asks, as a seat does. */
function answer(words: Int32Array, ring: (step: Step) => boolean, request: Request): Answer {
  switch (request.ask) {
    case "load": {
      const word = Atomics.load(words, request.word);
      return request.see?.(word) ?? word;
    }
    case "compareExchange":
      return Atomics.compareExchange(words, request.word, request.from, request.to) ===
        request.from;
    case "take":
      return Atomics.exchange(words, request.word, 0);
    case "or":
      return Atomics.or(words, request.word, request.bits) >= 0;
    case "and":
      return Atomics.and(words, request.word, request.bits) >= 0;
    case "ring":
    case "give back":
      return ring(request.step);
    case "turn":
      return true;
    default:
      throw new Error(`an unlock asks to ${request.ask}`);
  }
}

test("Unlocking wakes by the very events of the flow that the model explores", () => {
  let rings = 0;
  for (let seed = 0; seed < 5000; seed++) {
    const { lock } = scene(seed);
    const [gate] = lock.opens;
    type Ring = (step: Step) => boolean;
    const perform = (run: (given: ReturnType<typeof scene>, ring: Ring) => void) => {
      const given = scene(seed);
      const rung: Step[] = [];
      const ring = (step: Step) => {
        rung.push(step);
        rings++;
        return !given.dead.has((step[0] as { index: number }).index - given.protocol.alive(0));
      };
      // Others come in between, once each: who says that he sleeps, who closes, and who marks himself.
      const intruders = [
        { before: `compareExchange ${lock.word} `, word: lock.word, bits: WAKE },
        { before: `compareExchange ${lock.word} `, word: lock.word, bits: ENDED },
        { before: `compareExchange ${gate!.word} `, word: gate!.word, bits: 2 },
        { before: `and ${lock.word} `, word: gate!.word, bits: 1 },
      ];
      const intrude = (event: string) => {
        const index = intruders.findIndex(({ before }) => event.startsWith(before));
        if (seed % 2 === 0 || index < 0) return;
        const [{ word, bits }] = intruders.splice(index, 1) as [typeof intruders[0]];
        given.words[word]! |= bits;
      };
      const events = eventsOf(() => run(given, ring), intrude);
      return { events, rung, words: [...given.words] };
    };
    const plain = perform(({ protocol, lock, words, me }, ring) => {
      const ringFor = (place: number) => ring(protocol.ring(place));
      const ringForAll = (places: readonly number[]) => void ring(protocol.ringAll(places));
      unlock({ place: me, words, ringFor, ringForAll }, protocol, lock);
    });
    const asked = perform(({ protocol, lock, words, me }, ring) => {
      const flow = protocol.unlock(lock, me);
      let turn = flow.next(0);
      while (!turn.done) turn = flow.next(answer(words, ring, turn.value));
    });
    assertEquals(plain, asked, `seed ${seed}`);
  }
  assert(rings > 5000, `${rings} rings`);
});

test("A message is awaited by the very events of the flow that the model explores", () => {
  using channel = Channel.create({ codec: bytes, members: 40 });
  using memory = SharedMemory.fromId(channel.id);
  const words = new Int32Array(memory.buffer);
  const protocol = new Protocol(40, [producers, consumers], [filled]);
  const flows = new RingFlows(protocol, channel.capacity);
  for (const place of [1, 33]) {
    const [index, bit] = [(place - 1) >> 5, 1 << ((place - 1) & 31)];
    const by = {
      words,
      place,
      mark: (gate: number) => void Atomics.or(words, gate + index, bit),
      unmark: (gate: number) => (Atomics.and(words, gate + index, ~bit) & bit) !== 0,
    };
    // What ends the sleep, and what is found before it: a message, a close, or nothing.
    for (const end of ["a ring", "a cancel", "a cancel after a ring"] as const) {
      for (const [tail, state] of [[0, 0], [16, 0], [0, CLOSED], [0, REMOVED]] as const) {
        const perform = (run: (sleep: () => Failure | undefined) => void): string[] => {
          words[TAIL] = tail;
          words[header.state] = state;
          words[producers.word] = 0;
          words[filled.word] = words[filled.word + 1] = 0;
          const sleep = () => {
            if (end !== "a cancel") Atomics.store(words, filled.word + index, 0);
            return end === "a ring" ? undefined : { reason: end };
          };
          const events = eventsOf(() => run(sleep));
          words[TAIL] = words[header.state] = 0;
          return events;
        };
        const drive = (flow: Flow<void>, sleep: () => Failure | undefined) => {
          let turn = flow.next(0);
          while (!turn.done) {
            const request = turn.value as Request;
            if (request.ask === "sleep") {
              const failure = sleep();
              turn = failure === undefined ? flow.next(true) : flow.throw(failure.reason);
            } else if (request.ask === "mark") {
              by.mark(request.gate);
              turn = flow.next(true);
            } else if (request.ask === "unmark") turn = flow.next(by.unmark(request.gate));
            else turn = flow.next(answer(words, () => true, request));
          }
        };
        const asked = perform((sleep) => {
          try {
            drive(flows.awaitMessage(place), sleep);
          } catch (error) {
            assertEquals(error, end);
          }
        });
        const plain = perform((sleep) => {
          const sleeping = {
            ...by,
            withdraw: (gate: Gate) => drive(protocol.withdraw(gate, place), sleep),
            sleep: (_: number, __: object, then: (failure?: Failure) => void) => then(sleep()),
          };
          const ring = new Ring({ ...membersOf(words, channel), protocol } as unknown as Members);
          const isReady = () => ring.isReadable;
          awaitGate(sleeping, producers, filled, isReady, {}, () => {});
        });
        assertEquals(plain, asked, `place ${place}, ${end}, tail ${tail}, state ${state}`);
        assert(plain.length > 4);
      }
    }
  }
});

/** What a ring needs of its members to be looked at. */
function membersOf(words: Int32Array, { capacity, maxBytes }: Channel<Uint8Array>): object {
  const bytes = new Uint8Array(words.buffer as ArrayBuffer);
  return { words, bytes, seat: {}, shape: { capacity, limit: maxBytes } };
}
