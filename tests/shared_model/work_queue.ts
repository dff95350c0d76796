/**
 * The model of WorkQueue: senders, and workers that take jobs and end them or give them back. A job is its
 * number.
 *
 * @module
 */

import { look } from "../../shared/flow.ts";
import { type Jobs, ready, table, vacant } from "../../shared/jobs.ts";
import { header, LINE } from "../../shared/layout.ts";
import { Protocol } from "../../shared/protocol.ts";
import { Reclaimer } from "../../shared/reclaimer.ts";
import { type Act, Cancelled, choose, type Facts, note } from "./acts.ts";
import type { Model, Moment } from "./model.ts";
import type { Make } from "./flaws.ts";
import { enter, fewDeaths, seated, sleeper, wordsOf } from "./members.ts";
import { either, membersAt, perform, Spoilt } from "./perform.ts";

const SEND = 0, WORK = 1;
const IDLE = 0,
  OUT = 1,
  WANT = 2,
  BUSY = 3,
  RELEASING = 4,
  AWAIT = 5,
  ENDING = 6,
  BROKEN = 7,
  WOKEN = 8;
const DONE = 1, BACK = 2;
const NONE = -1;

const HEAD = 2 * LINE, TAIL = HEAD + 1, NEXT = HEAD + 2, FILLED = HEAD + 3, CLAIMED = HEAD + 4;
const DISOWNED = HEAD + 5;
const SLOTS = 5 * LINE;
const FREE = 0, READY = 1, HANDS = 0x100;
const LIMIT = 1;
const STRIDE_WORDS = 16;

/** How much the processes do. */
export interface WorkQueueLimits {
  readonly senders: number;
  readonly workers: number;
  readonly deaths: number;
  readonly cancels?: number;
  /** How many jobs are sent. */
  readonly most: number;
  /** Whether the first is sent already. @default {false} */
  readonly isSent?: boolean;
  /** Whether workers give jobs back. @default {true} */
  readonly givesBack?: boolean;
  /** How many jobs there is room for. */
  readonly capacity: number;
}

/** What may be wrong. */
export interface WorkQueueFlaws {
  readonly Protocol?: Make;
  readonly Reclaimer?: typeof Reclaimer;
}

// What is remembered of each job: whether it is sent, whether it was said to be done, and how often it
// was given out.
const JOB_BITS = 4, SENT = 1, ENDED = 2, GIVEN = 4, MOST_GIVEN = 2;

function ofJob(ghost: number, job: number): number {
  return (ghost >> (JOB_BITS * job)) & 15;
}

/** Makes the model of a table, with what may be wrong around it. */
export function workQueue(
  limits: WorkQueueLimits,
  Table: typeof Jobs,
  { Protocol: Chosen = Protocol, Reclaimer: Finder = Reclaimer }: WorkQueueFlaws = {},
): Model {
  const { deaths, cancels = 0, most, capacity, isSent = false, givesBack = true } = limits;
  const count = limits.senders + limits.workers;
  const protocol = new Chosen(count, [table], table.opens);
  protocol.disown = (place) => new Table(membersAt(place, protocol, { capacity })).disown(place);
  const slots = Array.from({ length: capacity }, (_, slot) => slot);
  const isGate = (word: number) => table.opens.some((gate) => gate.word === word);
  const isState = (word: number) => slots.some((slot) => word === SLOTS + 4 * slot);
  const few = fewDeaths([table]);
  const isAttempts = (word: number) => slots.some((slot) => word === SLOTS + 4 * slot + 1);
  const start = (place: number, role: number): Facts => ({
    place,
    role,
    phase: place === 0 ? OUT : IDLE,
    next: IDLE,
    how: 0,
    job: NONE,
    slot: NONE,
    deaths: 0,
  });

  /** Works on the table with the lock, as the class does. */
  function* work<Result>(
    { place, deaths }: Facts,
    operate: (jobs: Jobs, reclaimer: Reclaimer) => Result,
  ): Act<Result | Spoilt> {
    return yield* perform(() => {
      const members = membersAt(place!, protocol, { capacity, limit: LIMIT });
      const jobs = new Table(members);
      // It may be long ago that it has looked for the dead, or not.
      const reclaimer = new Finder(members, jobs, () => either() === 0 ? 0 : -Infinity);
      try {
        reclaimer.settle(deaths!);
        return operate(jobs, reclaimer);
      } catch (error) {
        if (!(error instanceof Spoilt)) throw error;
        return error;
      }
    });
  }

  function* act(facts: Facts): Act {
    try {
      return yield* live(facts);
    } catch (error) {
      if (!(error instanceof Cancelled)) throw error;
      // To end a job cannot be cancelled.
      return facts.place === 0 || facts.phase === ENDING ? facts : { ...facts, phase: IDLE };
    }
  }

  function* live(facts: Facts): Act {
    const place = facts.place!;
    switch (facts.phase) {
      case OUT:
        return { ...(yield* enter(protocol, facts)), phase: IDLE };
      case IDLE:
        return yield* begin(facts);
      case WANT:
      case WOKEN:
      case ENDING: {
        const gate = facts.role === SEND ? vacant : ready;
        const deaths = facts.phase === WOKEN
          ? yield* protocol.lockFor(gate, table, place)
          : yield* protocol.lock(table, place);
        return { ...facts, phase: BUSY, deaths: Math.min(deaths, 1) };
      }
      case BUSY: {
        const after = yield* operate(facts);
        return after === undefined
          ? { ...facts, phase: BROKEN }
          : { ...facts, phase: RELEASING, deaths: 0, ...after };
      }
      case RELEASING: {
        yield* protocol.unlock(table, place);
        return { ...facts, phase: facts.next!, next: IDLE };
      }
      case AWAIT: {
        const jobs = new Table(membersAt(place, protocol, { capacity }));
        yield* facts.role === SEND ? jobs.awaitRoom(place) : jobs.awaitJob(place);
        return { ...facts, phase: cancels > 0 ? WOKEN : WANT };
      }
    }
    yield* choose({});
    return facts;
  }

  /** Who sends ends with the last job, and who works begins nothing once it is done. */
  const isSentOrDone = (role: number) => (word: Moment["word"]) =>
    word(NEXT) >= most && (role === SEND || word(FILLED) === 0);

  function* begin(facts: Facts): Act {
    if (facts.job !== NONE) return { ...facts, phase: yield* choose({ may: [ENDING] }) };
    return { ...facts, phase: yield* choose({ may: [WANT], unless: isSentOrDone(facts.role!) }) };
  }

  /** Does something with the lock, and returns what is new then, or undefined if something is wrong. */
  function* operate(facts: Facts): Act<Partial<Facts> | undefined> {
    if (facts.role === SEND) return yield* send(facts);
    return yield* facts.job === NONE ? claim(facts) : end(facts);
  }

  function* send(facts: Facts): Act<Partial<Facts> | undefined> {
    const job = yield* look(NEXT, (next) => next);
    // Others may have sent the last one meanwhile.
    const isSent = yield* work(
      facts,
      (jobs) => job >= most || jobs.add(new Uint8Array([job + 1])),
    );
    if (isSent instanceof Spoilt) return undefined;
    return isSent ? {} : { next: AWAIT };
  }

  function* claim(facts: Facts): Act<Partial<Facts> | undefined> {
    const claim = yield* work(facts, (jobs, reclaimer) => {
      reclaimer.look();
      return jobs.claim(facts.place!);
    });
    if (claim === undefined) return { next: AWAIT };
    if (claim instanceof Spoilt || claim.bytes[0] === 0) return undefined;
    const { slot, attempts, bytes } = claim;
    const counted = yield* look(SLOTS + 4 * slot + 1, (attempts) => attempts);
    if (Math.min(attempts, MOST_GIVEN) !== counted) return undefined;
    return { job: bytes[0]! - 1, slot };
  }

  function* end(facts: Facts): Act<Partial<Facts> | undefined> {
    const { slot, place } = facts;
    const how = yield* choose({ will: givesBack ? [DONE, BACK] : [DONE] });
    yield* note({ ...facts, how });
    const isHeld = yield* work(
      facts,
      (jobs) => how === DONE ? jobs.finish(slot!, place!) : jobs.giveBack(slot!, place!),
    );
    return isHeld === true ? { job: NONE, slot: NONE, how: 0 } : undefined;
  }

  /** Whether a job stands in the table. */
  function isThere(word: Moment["word"], job: number): boolean {
    return slots.some((slot) => {
      const at = SLOTS + 4 * slot;
      return word(at) !== FREE && word(dataOf(slot)) === job + 1 && word(at + 3) === job;
    });
  }

  function dataOf(slot: number): number {
    return SLOTS + 5 * capacity + STRIDE_WORDS * slot;
  }

  function words(): Map<number, number> {
    const all = [HEAD, TAIL, NEXT, FILLED, CLAIMED, DISOWNED, header.state, ...slots.map(dataOf)];
    for (let i = 0; i < 5 * capacity; i++) all.push(SLOTS + i);
    const zeros = all.map((word): [number, number] => [word, 0]);
    return new Map([...wordsOf([table]), ...zeros, [header.capacity, capacity]]);
  }

  /** The words of a table with the first job. */
  function oneJob(): [number, number][] {
    const slot = [READY, 0, 1, 0].map((word, i): [number, number] => [SLOTS + i, word]);
    return [[TAIL, 1], [NEXT, 1], [FILLED, 1], ...slot, [dataOf(0), 1]];
  }

  return {
    words: new Map([...words(), ...(isSent ? oneJob() : [])]),
    ghost: isSent ? SENT : 0,
    ...seated(
      protocol,
      Array.from(
        { length: count },
        (_, index) => start(index + 1, index < limits.senders ? SEND : WORK),
      ),
    ),
    again: ({ role }) => start(0, role!),
    deaths,
    cancels,
    same: (word, value) => isAttempts(word) ? Math.min(value, MOST_GIVEN) : few(word, value),
    maxStates: 200_000_000,
    act,
    isStable: (word, { phase }, read) =>
      word === header.state || word === header.capacity ||
      // Where there is room for all, nobody waits for it.
      (word === vacant.word && most <= capacity) ||
      // What is in nobody's hands only the lock lets anybody take.
      (phase === BUSY && word >= HEAD && word !== DISOWNED && !isGate(word) &&
        (!isState(word) || read(word) < HANDS)),
    isOwn: (word, { phase }) =>
      phase === BUSY && (word === NEXT || word === CLAIMED || (word >= SLOTS && !isState(word))),
    check({ word, processes, ghost }) {
      let held = 0;
      for (const { facts: { phase, job, slot } } of processes) {
        if (phase === BROKEN) return "A job was lost by its holder, or the table is spoilt";
        if (job === undefined || job === NONE) continue;
        if ((held & (1 << job)) !== 0) return "Two hold a job";
        held |= 1 << job;
        const given = ofJob(ghost, job) >> 2;
        const attempts = word(SLOTS + 4 * slot! + 1);
        if (attempts < given || (given < MOST_GIVEN && attempts > given + deaths)) {
          return `Told of ${attempts} attempts instead of ${given}`;
        }
      }
      for (let job = 0; job < most; job++) {
        const known = ofJob(ghost, job);
        if ((known & SENT) !== 0 && (known & ENDED) === 0 && !isThere(word, job)) {
          return "A job is lost";
        }
      }
      return undefined;
    },
    checkAtRest(moment) {
      const { word, processes } = moment;
      const isFree = (slot: number) => word(SLOTS + 4 * slot) === FREE;
      const isHeld = (slot: number) =>
        processes.some(({ facts }) => facts.job! > NONE && facts.slot === slot);
      const isAnyReady = !slots.every((slot) => isFree(slot) || isHeld(slot));
      const isFull = !slots.some(isFree);
      return sleeper(
        moment,
        ({ phase, role }) => phase === AWAIT && (role === SEND ? isFull : !isAnyReady),
      );
    },
    remember(before, after, process) {
      const was = before.processes[process]!.facts;
      const { facts, alive } = after.processes[process]!;
      const set = (job: number, bits: number) => before.ghost | (bits << (JOB_BITS * job));
      const sent = slots.map((slot) => SLOTS + 4 * slot).find((at) =>
        was.role === SEND && was.phase === BUSY && before.word(at) === FREE &&
        after.word(at) !== FREE
      );
      if (sent !== undefined && after.word(sent + 3) < most) return set(after.word(sent + 3), SENT);
      if (!alive || was === facts) return before.ghost;
      if (facts.how === DONE && was.how !== DONE) return set(facts.job!, ENDED);
      if (facts.job! > NONE && was.job === NONE) {
        const isMost = ofJob(before.ghost, facts.job!) >> 2 === MOST_GIVEN;
        return isMost ? before.ghost : before.ghost + (GIVEN << (JOB_BITS * facts.job!));
      }
      return before.ghost;
    },
  };
}
