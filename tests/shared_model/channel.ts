/**
 * The model of Channel: producers and consumers of a ring with room for one message.
 *
 * @module
 */

import { load, look } from "../../shared/flow.ts";
import { header } from "../../shared/layout.ts";
import { Protocol, REFUSED } from "../../shared/protocol.ts";
import {
  consumers,
  DATA,
  HEAD,
  HEADER_BYTES,
  producers,
  RingFlows,
  TAIL,
} from "../../shared/ring_flows.ts";
import { type Act, Cancelled, choose, type Facts, store } from "./acts.ts";
import type { Make } from "./flaws.ts";
import { enter, fewDeaths, seated, sleeper, wordsOf } from "./members.ts";
import type { Model } from "./model.ts";

const SEND = 0, RECEIVE = 1;
const IDLE = 0, OUT = 1, WANT = 2, BUSY = 3, RELEASING = 4, AWAIT = 5, BROKEN = 6, SPARING = 7;
const TAKE = 1, SPARE = 2;
const HALF = 3;
const ROOM = 16;

/** How much the processes do. */
export interface ChannelLimits {
  readonly senders: number;
  readonly receivers: number;
  readonly deaths: number;
  readonly cancels?: number;
  /** Whether receivers may leave a message where it is, as it does not fit into their buffer. */
  readonly spares?: boolean;
  /** Whether messages of the first sender need all the room, which two of the others share. */
  readonly large?: boolean;
  /** How many times 16 bytes are sent. */
  readonly most: number;
}

/** What a ring may do wrong. */
export interface ChannelFlaws {
  readonly Protocol?: Make;
  readonly Flows?: typeof RingFlows;
  readonly commitsFirst?: boolean;
  readonly takesFirst?: boolean;
}

/** Makes the model, with what may be wrong. */
export function channel(limits: ChannelLimits, flaws: ChannelFlaws = {}): Model {
  const { senders, receivers, deaths, cancels = 0, spares = false, large = false, most } = limits;
  const { Protocol: Chosen = Protocol, Flows = RingFlows } = flaws;
  const locks = [producers, consumers];
  const all = locks.flatMap(({ opens }) => opens);
  const protocol = new Chosen(senders + receivers, locks, all);
  const capacity = large ? 2 * ROOM : ROOM;
  const flows = new Flows(protocol, capacity);
  const isDone = (tail: number) => tail >= most * ROOM;
  const lockOf = (facts: Facts) => facts.role === SEND ? producers : consumers;

  /** Does its work with the lock, as the ring does without a flow. */
  function* busy(facts: Facts): Act {
    const tail = yield* load(TAIL);
    const head = yield* load(HEAD);
    const isReady = facts.role === SEND ? capacity - (tail - head) >= facts.size! : tail !== head;
    const choice = isReady && spares && facts.role === RECEIVE
      ? yield* choose({ will: [TAKE], may: [SPARE] })
      : TAKE;
    if (choice === SPARE) return { ...facts, phase: SPARING };
    const isWhole = !isReady ||
      (yield* facts.role === SEND ? send(tail, facts.size!) : receive(head));
    return { ...facts, phase: isWhole ? RELEASING : BROKEN };
  }

  function* send(tail: number, size: number): Act<boolean> {
    if (flaws.commitsFirst) yield* store(TAIL, tail + size);
    yield* store(cellAt(tail), HALF);
    yield* store(cellAt(tail), size);
    if (!flaws.commitsFirst) yield* store(TAIL, tail + size);
    return true;
  }

  function* receive(head: number): Act<boolean> {
    if (flaws.takesFirst) yield* store(HEAD, head + ROOM);
    const size = yield* load(cellAt(head));
    if (size % ROOM !== 0 || size === 0) return false;
    if (!flaws.takesFirst) yield* store(HEAD, head + size);
    return true;
  }

  /** The word where a message says its size, which is all that there is of it. */
  function cellAt(position: number): number {
    return DATA + ((position & (capacity - 1)) >> 2);
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
    const { phase, place } = facts;
    switch (phase) {
      case OUT:
        return { ...(yield* enter(protocol, facts)), phase: IDLE };
      case IDLE:
        if (facts.role === SEND && (yield* look(TAIL, isDone))) yield* choose({});
        return { ...facts, phase: yield* choose({ may: [WANT, AWAIT] }) };
      case BUSY:
        return yield* busy(facts);
      case RELEASING:
        yield* protocol.unlock(lockOf(facts), place!);
        return { ...facts, phase: IDLE };
      case SPARING:
        yield* flows.leaveMessage(place!);
        return { ...facts, phase: IDLE };
      case AWAIT:
        if (facts.role === SEND) yield* flows.awaitRoom(place!, facts.size! - HEADER_BYTES);
        else yield* flows.awaitMessage(place!);
        return { ...facts, phase: WANT };
      case BROKEN:
        yield* choose({});
    }
    const dead = yield* protocol.lock(lockOf(facts), place!);
    return { ...facts, phase: dead === REFUSED ? BROKEN : BUSY };
  }

  const words = [TAIL, HEAD, cellAt(0), cellAt(ROOM), header.state].map((
    word,
  ): [number, number] => [word, 0]);
  return {
    words: new Map([...wordsOf(locks), ...words]),
    ...seated(
      protocol,
      Array.from({ length: senders + receivers }, (_, index) => ({
        place: index + 1,
        phase: IDLE,
        role: index < senders ? SEND : RECEIVE,
        size: large && index === 0 ? capacity : ROOM,
      })),
    ),
    again: ({ role, size }) => ({ place: 0, phase: OUT, role: role!, size: size! }),
    deaths,
    cancels,
    same: fewDeaths(locks),
    maxStates: 60_000_000,
    isStable(word, { phase, role }) {
      if (word === header.state) return true;
      return phase === BUSY && word === (role === SEND ? TAIL : HEAD);
    },
    act,
    check({ word, processes }) {
      if (processes.some(({ facts }) => facts.phase === BROKEN)) return "Half a message was read";
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
