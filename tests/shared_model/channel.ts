/**
 * The model of Channel: producers and consumers of a ring with room for one message or two. A message says
 * which one it is, by its position.
 *
 * @module
 */

import { look } from "../../shared/flow.ts";
import { header } from "../../shared/layout.ts";
import type { Members } from "../../shared/members.ts";
import { Protocol, REFUSED } from "../../shared/protocol.ts";
import { BUSY as KEPT, DONE, isFailure, type Ring } from "../../shared/ring.ts";
import {
  consumers,
  DATA,
  filled,
  HEAD,
  HEADER_BYTES,
  LAST_CONSUMER,
  LAST_PRODUCER,
  producers,
  RingFlows,
  TAIL,
} from "../../shared/ring_flows.ts";
import { type Act, type Asked, Cancelled, choose, type Facts } from "./acts.ts";
import type { Make } from "./flaws.ts";
import { enter, fewDeaths, seated, sleeper, wordsOf } from "./members.ts";
import type { Model, Moment } from "./model.ts";
import { membersAt, perform, Spoilt } from "./perform.ts";

const SEND = 0, RECEIVE = 1;
const IDLE = 0, OUT = 1, LOOK = 2, WANT = 3, BUSY = 4, RELEASING = 5, AWAIT = 6, SPARING = 7;
const BROKEN = 8;
const TAKE = 1, SPARE = 2, REFUSE = 3;
const ROOM = 16;
/** The ring has moved 4 GiB but one message: what a new handle takes for known is ahead of it then. */
const FIRST = -ROOM;

/** How much the processes do. */
export interface ChannelLimits {
  readonly senders: number;
  readonly receivers: number;
  readonly deaths: number;
  readonly cancels?: number;
  /** Whether receivers may leave a message where it is, unwanted or too long for their buffer. */
  readonly spares?: boolean;
  /** How many times 16 bytes there is room for: one or two. @default {1} */
  readonly rooms?: number;
  /** Whether messages of the first sender need all the room. @default {false} */
  readonly large?: boolean;
  /** How many times 16 bytes are sent. */
  readonly most: number;
}

/** A ring that shows what it remembers, and under which names. */
export interface Text {
  readonly Ring: typeof Ring;
  readonly names: readonly string[];
}

/** What may be wrong around a ring. */
export interface ChannelFlaws {
  readonly Protocol?: Make;
  readonly Flows?: typeof RingFlows;
}

/** The number of the message at a position. */
function numberAt(position: number): number {
  return (position - FIRST) / ROOM + 1;
}

function isNumber(number: number, bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.every((byte, index) => index % 4 !== 0 || byte === number);
}

/** Makes the model of a ring, with what may be wrong around it. */
export function channel(limits: ChannelLimits, text: Text, flaws: ChannelFlaws = {}): Model {
  const { senders, receivers, deaths, cancels = 0, spares = false, most } = limits;
  const { rooms = 1, large = false } = limits;
  const { Protocol: Chosen = Protocol, Flows = RingFlows } = flaws;
  const locks = [producers, consumers];
  const all = locks.flatMap(({ opens }) => opens);
  const protocol = new Chosen(senders + receivers, locks, all);
  const capacity = rooms * ROOM;
  const flows = new Flows(protocol, capacity);
  const lockOf = (facts: Facts) => facts.role === SEND ? producers : consumers;
  const nothing = Object.fromEntries(text.names.map((name) => [name, 0]));
  const isMovedOn = (end: number) => (word: Moment["word"]) => word(end) - FIRST >= most * ROOM;

  /** Works with a ring as its handle remembers it, and returns what came of it and what it remembers then. */
  function* work<Result>(
    facts: Facts,
    operate: (ring: Ring, members: Members) => Result,
  ): Act<{ outcome: Result | Error; memory: Facts }> {
    const { word } = lockOf(facts);
    let isOver = false;
    // The lock is taken by the flow before, and given back by the flow that follows.
    const known = (request: Asked) => {
      if (isOver) throw new Error("The ring is touched after its lock was given back");
      if (!("word" in request) || request.word !== word) return undefined;
      if (request.ask === "load") return facts.place;
      return isOver = request.ask === "compareExchange" && request.from === facts.place;
    };
    return yield* perform(() => {
      isOver = false;
      const unlock = () => isOver = true;
      const members = {
        ...membersAt(facts.place!, protocol, { capacity, limit: capacity - HEADER_BYTES }),
        unlock,
        driveSync: unlock,
      } as unknown as Members;
      const ring = new text.Ring(members);
      const own = ring as unknown as Record<string, number>;
      for (const name of text.names) own[name] = facts[name]!;
      const outcome = attempt(() => operate(ring, members));
      return {
        outcome,
        memory: Object.fromEntries(text.names.map((name) => [name, own[name]!])),
      };
    }, known);
  }

  function attempt<Result>(operate: () => Result): Result | Error {
    try {
      return operate();
    } catch (error) {
      // A message that is too long for the buffer is left.
      if (error instanceof Spoilt || error instanceof RangeError) return error;
      throw error;
    }
  }

  function* act(facts: Facts): Act {
    try {
      return yield* live(facts);
    } catch (error) {
      if (!(error instanceof Cancelled)) throw error;
      return { ...facts, phase: facts.place === 0 ? OUT : IDLE };
    }
  }

  function* live(facts: Facts): Act {
    const { phase, place, role } = facts;
    switch (phase) {
      case OUT:
        return yield* join(facts);
      case IDLE:
        return { ...facts, phase: yield* begin(facts) };
      case LOOK: {
        if ((yield* wish(facts)) !== TAKE) {
          yield* flows.passOn(place!);
          return { ...facts, phase: IDLE };
        }
        const { outcome, memory } = yield* work(facts, (ring) => ring.tryReceive());
        return { ...facts, ...memory, phase: outcome === KEPT ? WANT : IDLE };
      }
      case WANT: {
        const dead = role === SEND
          ? yield* protocol.lock(producers, place!)
          : yield* protocol.lockFor(filled, consumers, place!);
        return { ...facts, phase: dead === REFUSED ? BROKEN : BUSY };
      }
      case BUSY:
        return yield* role === SEND ? send(facts) : receive(facts);
      case RELEASING:
        yield* protocol.unlock(lockOf(facts), place!);
        return { ...facts, phase: IDLE };
      case SPARING:
        yield* flows.leaveMessage(place!);
        return { ...facts, phase: IDLE };
      case AWAIT:
        if (role === SEND) yield* flows.awaitRoom(place!, facts.size! - HEADER_BYTES);
        else yield* flows.awaitMessage(place!);
        return { ...facts, phase: role === SEND ? WANT : LOOK };
    }
    yield* choose({});
    return facts;
  }

  /** Begins something, as long as there are messages to come; only a new handle does not look first. */
  function* begin({ role, ...facts }: Facts): Act<number> {
    if (role === SEND) return yield* choose({ may: [WANT, AWAIT], unless: isMovedOn(TAIL) });
    const isNew = text.names.every((name) => facts[name] === 0);
    const may = isNew ? [LOOK, WANT, AWAIT] : [LOOK, AWAIT];
    return yield* choose({ may, unless: isMovedOn(HEAD) });
  }

  /** Takes a place with a new handle, which knows nothing yet. */
  function* join(facts: Facts): Act {
    const inside = yield* enter(protocol, facts);
    yield* work(inside, (_, { seat }) => seat.onSit(seat.place));
    return { ...inside, phase: IDLE };
  }

  function* send(facts: Facts): Act {
    const number = yield* look(TAIL, numberAt);
    const bytes = new Uint8Array(facts.size! - HEADER_BYTES);
    for (let i = 0; i < bytes.length; i += 4) bytes[i] = number;
    const { outcome, memory } = yield* work(facts, (ring) => ring.sendLocked(bytes, 0));
    const isGood = outcome === DONE || isFailure(outcome);
    return { ...facts, ...memory, phase: isGood ? RELEASING : BROKEN };
  }

  function* receive(facts: Facts): Act {
    const choice = yield* wish(facts);
    const number = yield* look(HEAD, numberAt);
    const { outcome, memory } = yield* work<Uint8Array | number | false>(facts, (ring) => {
      if (choice === REFUSE) return ring.decline(0);
      return choice === TAKE ? ring.receiveLocked(0) : ring.receiveLockedInto(new Uint8Array(0), 0);
    });
    const isLeft = outcome === false || outcome instanceof RangeError;
    const isGood = isLeft || isFailure(outcome) ||
      (outcome instanceof Uint8Array && isNumber(number, outcome));
    return { ...facts, ...memory, phase: !isGood ? BROKEN : isLeft ? SPARING : RELEASING };
  }

  /** What a receiver does with a message: it may not want it any more, or have no room for it. */
  function* wish({ phase }: Facts): Act<number> {
    if (!spares) return TAKE;
    return yield* choose({ will: [TAKE], may: phase === LOOK ? [REFUSE] : [REFUSE, SPARE] });
  }

  /** Whether a word of the ring belongs to messages. */
  function isUsed(word: number, read: Moment["word"]): boolean {
    const behind = (4 * (word - DATA) - read(HEAD)) & (capacity - 1);
    return behind < read(TAIL) - read(HEAD);
  }

  function words(): Map<number, number> {
    const data = Array.from({ length: capacity / 4 }, (_, index) => DATA + index);
    const all = [header.state, LAST_PRODUCER, LAST_CONSUMER, ...data];
    const ends = [TAIL, HEAD].map((word): [number, number] => [word, FIRST]);
    return new Map([...wordsOf(locks), ...ends, ...all.map((word): [number, number] => [word, 0])]);
  }

  return {
    words: words(),
    ...seated(
      protocol,
      Array.from({ length: senders + receivers }, (_, index) => ({
        place: index + 1,
        phase: IDLE,
        role: index < senders ? SEND : RECEIVE,
        size: large && index === 0 ? capacity : ROOM,
        ...nothing,
      })),
    ),
    again: ({ role, size }) => ({ place: 0, phase: OUT, role: role!, size: size!, ...nothing }),
    deaths,
    cancels,
    same: fewDeaths(locks),
    maxStates: 80_000_000,
    isStable(word, { phase, role, place }, read) {
      if (word === header.state) return true;
      if (phase !== BUSY) return false;
      // A newcomer clears what its place has left there.
      const last = role === SEND ? LAST_PRODUCER : LAST_CONSUMER;
      if (word === last) return read(last) === 0 || read(last) === place;
      if (word === (role === SEND ? TAIL : HEAD)) return true;
      return role === RECEIVE && word >= DATA && isUsed(word, read);
    },
    isOwn: (word, { phase, role }, read) =>
      phase === BUSY && role === SEND && word >= DATA && !isUsed(word, read),
    act,
    check({ word, processes }) {
      for (const { facts: { phase, role } } of processes) {
        if (phase === BROKEN) return "What was received is no message";
        const isWith = (actor: { facts: Facts }) =>
          actor.facts.phase === BUSY && actor.facts.role === role;
        if (phase === BUSY && processes.filter(isWith).length > 1) return "Two hold a lock";
      }
      const used = word(TAIL) - word(HEAD);
      return used >= 0 && used <= capacity ? undefined : "More than there is was taken";
    },
    checkAtRest(moment) {
      const used = moment.word(TAIL) - moment.word(HEAD);
      return sleeper(
        moment,
        ({ phase, role, size }) =>
          phase === AWAIT && (role === SEND ? capacity - used < size! : used === 0),
      );
    },
  };
}
