import { assert, assertStringIncludes } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { type Flow, giveBack, load } from "../shared/flow.ts";
import { deathsOf, type Gate, header, type Lock, lockAt, ownerOf, WAKE } from "../shared/layout.ts";
import { Protocol, REFUSED } from "../shared/protocol.ts";
import {
  consumers,
  DATA,
  drained,
  filled,
  HEAD,
  producers,
  RingFlows,
  TAIL,
} from "../shared/ring_flows.ts";
import type { Step } from "../sync/protocols.ts";
import {
  type Act,
  choose,
  exploreMemory,
  type Facts,
  type MemoryModel,
  note,
  store,
} from "./model/memory.ts";

const soak = process.env.IPC_TEST_SOAK === "1";
const lock = lockAt(1);

const IDLE = 0, OUT = 1, HELD = 2, LEAVING = 3;
const LOCK = 1, TRY = 2, LEAVE = 3, RELEASE = 4;

/** More deaths than so many are the same. */
const MOST = 2;

function fewDeaths(word: number): number {
  const deaths = deathsOf(word);
  return deaths > MOST ? word - ((deaths - MOST) << 12) : word;
}

/** The words of locks and gates. */
function wordsOf(locks: readonly Lock[], gates: readonly Gate[] = []): Map<number, number> {
  return new Map([
    ...locks.map(({ word }): [number, number] => [word, 0]),
    ...locks.map(({ gate }): [number, number] => [gate, 0]),
    ...gates.map(({ word }): [number, number] => [word, 0]),
  ]);
}

/** Processes that all have a place, and the semaphores then. */
function seated(protocol: Protocol, count: number, facts: (index: number) => Facts) {
  const arming = protocol.arm().some(({ undo }) => undo);
  const values = protocol.values.map((value, index) =>
    index === protocol.bound || (index > 1 && index < 2 + count) ? 1 : value
  );
  const processes = Array.from({ length: count }, (_, index) => ({
    facts: facts(index),
    undo: values.map((_, semaphore) =>
      semaphore === protocol.alive(index + 1) ? -1 : semaphore > protocol.bell(0) && arming ? 1 : 0
    ),
  }));
  return { semaphores: values, processes };
}

/** Takes a place, and frees what its last owner left. */
function* enter(protocol: Protocol, facts: Facts, then: number): Act {
  const place = yield* protocol.take(facts.first!);
  if (place === 0) return facts;
  yield* note({ ...facts, place });
  yield* protocol.settle(place);
  return { ...facts, place, phase: then };
}

interface Limits {
  processes: number;
  deaths: number;
  cancels?: boolean;
  leaves?: boolean;
  /** How often each process locks; for ever if left out. */
  rounds?: number;
}

/** Processes that lock and unlock, and are told how many holders have died. */
function mutex(
  { processes, deaths, cancels = false, leaves = false, rounds = -1 }: Limits,
  make: (places: number) => Protocol = (places) => new Protocol(places, [lock], lock.opens),
): MemoryModel {
  const protocol = make(processes);
  const told = (facts: Facts, dead: number): Facts => ({
    ...facts,
    phase: HELD,
    told: Math.min(dead, MOST),
  });
  return {
    words: wordsOf([lock]),
    ...seated(
      protocol,
      processes,
      (index) => ({ place: index + 1, phase: IDLE, first: 0, told: 0, rounds }),
    ),
    again: new Array(processes).fill({
      place: 0,
      phase: OUT,
      first: 0,
      told: 0,
      rounds: Math.min(rounds, 1),
    }),
    deaths,
    cancels,
    same: fewDeaths,
    maxStates: 20_000_000,
    *act(facts): Act {
      const { phase, place } = facts;
      if (phase === OUT) return yield* enter(protocol, facts, IDLE);
      if (phase === HELD) {
        yield* choose({ will: [RELEASE] });
        yield* note({ ...facts, phase: LEAVING, told: 0 });
        yield* protocol.unlock(lock, place!);
        return {
          ...facts,
          phase: IDLE,
          told: 0,
          rounds: Math.max(facts.rounds! - 1, rounds < 0 ? -1 : 0),
        };
      }
      const choice = yield* choose({
        may: facts.rounds === 0 ? [] : leaves ? [LOCK, TRY, LEAVE] : [LOCK],
      });
      if (choice === LEAVE) {
        yield* protocol.settle(place!);
        yield* giveBack(protocol.leave(place!));
        return { ...facts, phase: OUT, place: 0 };
      }
      const dead = yield* choice === LOCK
        ? protocol.lock(lock, place!)
        : protocol.tryLock(lock, place!);
      return dead === undefined ? facts : told(facts, dead);
    },
    check({ processes, ghost }) {
      const holders = processes.filter(({ alive, facts }) => alive && facts.phase === HELD);
      if (holders.length > 1) return "Two hold the lock";
      const dead = holders[0]?.facts.told ?? ghost;
      return dead === ghost ? undefined : `Told of ${dead} deaths instead of ${ghost}`;
    },
    checkAtRest({ word, processes }) {
      const asleep = processes.findIndex(({ alive, asleep }) => alive && asleep);
      if (asleep >= 0) return `${asleep} sleeps for ever`;
      const owner = ownerOf(word(lock.word));
      const holds = processes.some(({ alive, facts }) =>
        alive && facts.place === owner && owner > 0
      );
      return holds ? "An idle one holds the lock" : undefined;
    },
    // How many holders have died since the lock was released.
    remember(before, after, process, event) {
      const owner = ownerOf(before.word(lock.word));
      const { facts } = before.processes[process]!;
      if (owner === 0 || facts.place !== owner || facts.phase === OUT) return before.ghost;
      if (event === "dies") return Math.min(before.ghost + 1, MOST);
      const isFree = ownerOf(after.word(lock.word)) === 0;
      if (isFree && deathsOf(after.word(lock.word)) === 0) return 0;
      return before.ghost;
    },
  };
}

function holds(model: MemoryModel, least = 500): void {
  const { states, failure } = exploreMemory(model);
  assert(failure === undefined, failure);
  assert(states > least, `Only ${states} states`);
  if (process.env.IPC_TEST_VERBOSE) console.log(states);
}

function fails(model: MemoryModel, why: string): void {
  const { states, failure } = exploreMemory(model);
  if (process.env.IPC_TEST_VERBOSE) console.log(states);
  assertStringIncludes(failure ?? `Nothing is wrong in ${states} states`, why);
}

test("SharedMutex survives a death, every cancel and leave of two processes", () => {
  holds(mutex({ processes: 2, deaths: 1, cancels: true, leaves: true }));
});

test("SharedMutex survives three processes", () => {
  holds(mutex({ processes: 3, deaths: 0, rounds: 1 }));
});

test("SharedMutex survives unlimited deaths of two processes", { skip: !soak }, () => {
  holds(mutex({ processes: 2, deaths: Infinity, cancels: true, leaves: true }));
});

test("SharedMutex survives every cancel of three processes", { skip: !soak }, () => {
  holds(mutex({ processes: 3, deaths: 0, cancels: true, rounds: 1 }));
});

// What has to be found: each leaves one thing out.

type Make = new (places: number, locks: readonly Lock[], gates: readonly Gate[]) => Protocol;

class NoArming extends Protocol {
  override arm = (): Step => [];
  override disarm = (): Step => [];
}

class NoInheritance extends Protocol {
  // deno-lint-ignore require-yield
  override *isDead(): Flow<boolean> {
    return false;
  }
}

class NoHeir extends Protocol {
  override get becomeHeir(): Step {
    return [];
  }
  override get endHeir(): Step {
    return [];
  }
}

class NoHeirAtRegistration extends Protocol {
  override register(place: number): Step {
    return super.register(place).slice(2);
  }
}

class RingsTheDead extends Protocol {
  override ring(place: number): Step {
    return super.ring(place).slice(2);
  }
}

class KeepsRingsOfTheDead extends Protocol {
  override *settleGates(): Flow<void> {
    for (const gate of this.gates) yield* this.unmark(gate.word);
  }
}

class KeepsRingsOfTheCancelled extends Protocol {
  override *withdraw(gate: Gate): Flow<void> {
    yield* this.unmark(gate.word);
  }
}

class LeavesLocksOfTheDead extends Protocol {
  override *settle(place: number): Flow<void> {
    yield* this.settleGates(place);
  }
}

class FreesNothing extends LeavesLocksOfTheDead {
  // deno-lint-ignore require-yield
  override *isDead(): Flow<boolean> {
    return false;
  }
}

class LooksOnce extends Protocol {
  override *lookAgain(): Flow<void> {}
}

class RingsNobodyAgain extends Protocol {
  override *lookAgain(lock: Lock): Flow<void> {
    if (yield* this.anyAwaited(lock.opens)) yield { ask: "or", word: lock.word, bits: WAKE };
  }
}

class WakesNobody extends Protocol {
  override *wakeFor(): Flow<void> {}
}

class MarksLate extends Protocol {
  override *mark(): Flow<void> {}
  override *sleepAt(gate: Gate, me: number): Flow<void> {
    yield* super.mark(gate.word);
    yield* super.sleepAt(gate, me);
  }
}

const flawed = (Flawed: Make) => (places: number) => new Flawed(places, [lock], lock.opens);
const two = { processes: 2, deaths: 2, cancels: true, leaves: true };
const three = { processes: 3, deaths: 1, cancels: true, rounds: 1 };
const asleep = "sleeps for ever";

for (
  const [Flawed, why, limits] of [
    [NoArming, asleep, two],
    [NoInheritance, asleep, two],
    [NoHeir, "Two hold the lock", two],
    [NoHeirAtRegistration, "Two hold the lock", two],
    [RingsTheDead, asleep, three],
    [KeepsRingsOfTheDead, asleep, three],
    [KeepsRingsOfTheCancelled, asleep, three],
    [LeavesLocksOfTheDead, "An idle one holds the lock", two],
    [LooksOnce, asleep, { ...three, deaths: 0 }],
    [RingsNobodyAgain, asleep, { ...three, deaths: 0 }],
    [WakesNobody, asleep, two],
    [MarksLate, asleep, two],
  ] as const
) {
  test(`The model of SharedMutex finds what is wrong with: ${Flawed.name}`, () => {
    fails(mutex(limits, flawed(Flawed)), why);
  });
}

// The ring, with room for one message.

const SEND = 0, RECEIVE = 1;
const WANT = 2, BUSY = 3, RELEASING = 4, AWAIT = 5, BROKEN = 6;
const CELL = DATA;
const WHOLE = 1, HALF = 3;
const ROOM = 16;

interface RingLimits {
  senders: number;
  receivers: number;
  deaths: number;
  cancels?: boolean;
  /** How many messages are sent. */
  most: number;
}

/** What a ring may do wrong. */
interface RingFlaws {
  Protocol?: Make;
  Flows?: typeof RingFlows;
  commitsFirst?: boolean;
  takesFirst?: boolean;
}

function ring(
  { senders, receivers, deaths, cancels = false, most }: RingLimits,
  { Protocol: Chosen = Protocol, Flows = RingFlows, ...flaws }: RingFlaws = {},
): MemoryModel {
  const locks = [producers, consumers];
  const all = [...producers.opens, ...consumers.opens];
  const protocol = new Chosen(senders + receivers, locks, all);
  const flows = new Flows(protocol, ROOM);
  const role = (index: number) => index < senders ? SEND : RECEIVE;
  const lockOf = (facts: Facts) => facts.role === SEND ? producers : consumers;

  function* busy(facts: Facts): Act {
    const { place } = facts;
    const lock = lockOf(facts);
    const tail = yield* load(TAIL);
    const head = yield* load(HEAD);
    if (facts.role === SEND ? tail - head >= ROOM : tail === head) {
      yield* protocol.unlock(lock, place!);
      return { ...facts, phase: AWAIT };
    }
    if (facts.role === SEND) {
      if (flaws.commitsFirst) yield* store(TAIL, tail + ROOM);
      yield* store(CELL, HALF);
      yield* store(CELL, WHOLE);
      if (!flaws.commitsFirst) yield* store(TAIL, tail + ROOM);
    } else {
      if (flaws.takesFirst) yield* store(HEAD, head + ROOM);
      if ((yield* load(CELL)) !== WHOLE) return { ...facts, phase: BROKEN };
      if (!flaws.takesFirst) yield* store(HEAD, head + ROOM);
    }
    return { ...facts, phase: RELEASING };
  }

  return {
    words: new Map([...wordsOf(locks, [filled, drained]), [TAIL, 0], [HEAD, 0], [CELL, 0], [
      header.state,
      0,
    ]]),
    ...seated(protocol, senders + receivers, (index) => ({
      place: index + 1,
      phase: IDLE,
      first: 0,
      role: role(index),
    })),
    again: Array.from({ length: senders + receivers }, (_, index) => ({
      place: 0,
      phase: OUT,
      first: 0,
      role: role(index),
    })),
    deaths,
    cancels,
    maxStates: 20_000_000,
    *act(facts): Act {
      const { phase, place } = facts;
      if (phase === OUT) return yield* enter(protocol, facts, IDLE);
      if (phase === IDLE) {
        if (facts.role === SEND && (yield* load(TAIL)) >= most * ROOM) yield* choose({});
        yield* choose({ may: [WANT] });
        return { ...facts, phase: WANT };
      }
      if (phase === BUSY) return yield* busy(facts);
      if (phase === RELEASING) {
        yield* protocol.unlock(lockOf(facts), place!);
        return { ...facts, phase: IDLE };
      }
      if (phase === AWAIT) {
        yield* note({ ...facts, phase: AWAIT });
        if (facts.role === SEND) yield* flows.awaitRoom(place!, 8);
        else yield* flows.awaitMessage(place!);
        return { ...facts, phase: WANT };
      }
      if (phase === BROKEN) yield* choose({});
      const dead = yield* protocol.lock(lockOf(facts), place!);
      return { ...facts, phase: dead === REFUSED ? BROKEN : BUSY };
    },
    check({ word, processes }) {
      if (processes.some(({ facts }) => facts.phase === BROKEN)) return "Half a message was read";
      const used = word(TAIL) - word(HEAD);
      return used === 0 || used === ROOM ? undefined : "More than there is was taken";
    },
    checkAtRest({ word, processes }) {
      const used = word(TAIL) - word(HEAD);
      const stuck = processes.findIndex(({ alive, facts, asleep }) =>
        alive && asleep && !(facts.phase === AWAIT && used === (facts.role === SEND ? ROOM : 0))
      );
      return stuck < 0 ? undefined : `${stuck} ${asleep}`;
    },
  };
}

test("Channel survives a death of a producer and a consumer", () => {
  holds(ring({ senders: 1, receivers: 1, deaths: 1, most: 2 }));
});

test("Channel survives deaths and cancels of a producer and a consumer", { skip: !soak }, () => {
  holds(ring({ senders: 1, receivers: 1, deaths: 2, cancels: true, most: 2 }));
});

class NeverLooks extends RingFlows {
  // deno-lint-ignore require-yield
  override isReadable = function* (): Flow<boolean> {
    return false;
  };
}

class AnnouncesNothing extends Protocol {
  override *awaitGate(_: Lock, gate: Gate, me: number, isReady: () => Flow<boolean>): Flow<void> {
    yield* this.mark(gate.word);
    if (!(yield* isReady())) yield* this.sleepAt(gate, me);
    yield* this.unmark(gate.word);
  }
}

const pair = { senders: 1, receivers: 1, deaths: 1, most: 2 };
const half = "Half a message was read";

for (
  const [title, flaws, why] of [
    ["a message is committed before it is written", { commitsFirst: true }, half],
    ["a message is taken before it is read", { takesFirst: true }, half],
    ["nobody looks again before sleeping", { Flows: NeverLooks }, asleep],
    ["who sleeps does not announce it", { Protocol: AnnouncesNothing }, asleep],
    ["bells are not armed", { Protocol: NoArming }, asleep],
    ["nobody frees what the dead held", { Protocol: FreesNothing }, asleep],
    ["nobody is woken", { Protocol: WakesNobody }, asleep],
    ["WAKE is taken away without a second look", { Protocol: LooksOnce }, asleep],
  ] as const
) {
  test(`The model of Channel finds what is wrong if ${title}`, () => fails(ring(pair, flaws), why));
}
