/**
 * The model of Broadcast: publishers and subscribers of a log that keeps two messages. A message says its
 * number.
 *
 * @module
 */

import { header, LINE } from "../../shared/layout.ts";
import { appended, type Log, type Position, writers } from "../../shared/log.ts";
import { look } from "../../shared/flow.ts";
import { Protocol } from "../../shared/protocol.ts";
import { type Act, Cancelled, choose, type Facts } from "./acts.ts";
import type { Model, Moment } from "./model.ts";
import type { Make } from "./flaws.ts";
import { enter, fewDeaths, seated, sleeper, wordsOf } from "./members.ts";
import { isValueOf, membersAt, perform, Spoilt, VALUE_BYTES, valueOf } from "./perform.ts";

const PUBLISH = 0, SUBSCRIBE = 1;
const IDLE = 0, OUT = 1, WANT = 2, BUSY = 3, RELEASING = 4, AWAIT = 5, BROKEN = 6, MISCOUNT = 7;
const TAIL = 2 * LINE;
const NEXT = TAIL + 2;
const OLDEST = 3 * LINE;
const DATA = 5 * LINE;
const CAPACITY = 64;
/** What a message takes, in units of 8 bytes. */
const UNITS = 3;

/** How much the processes do. */
export interface BroadcastLimits {
  readonly publishers: number;
  readonly subscribers: number;
  readonly deaths: number;
  readonly cancels?: number;
  /** How many messages are published. */
  readonly most: number;
}

function positionOf({ at, next }: Facts): Position {
  return { at: at!, next: next! };
}

/** The words of an empty log. */
function logWords(): Map<number, number> {
  const words = [TAIL, NEXT, NEXT + 1, OLDEST, header.state];
  for (let i = 0; i < CAPACITY / 4; i++) words.push(DATA + i);
  return new Map(words.map((word) => [word, 0]));
}

/** Makes the model of a log, with members that may be wrong. */
export function broadcast(
  limits: BroadcastLimits,
  Text: typeof Log,
  Chosen: Make = Protocol,
): Model {
  const { deaths, cancels = 0, most } = limits;
  const count = limits.publishers + limits.subscribers;
  const protocol = new Chosen(count, [writers], writers.opens);
  const shape = { capacity: CAPACITY, limit: VALUE_BYTES };
  const logOf = ({ place }: Facts) => new Text(membersAt(place!, protocol, shape));
  const start = (place: number, role: number): Facts => ({
    place,
    role,
    phase: place === 0 ? OUT : IDLE,
    at: -1,
    next: 0,
  });

  function* act(facts: Facts): Act {
    try {
      if (facts.phase === OUT) return { ...(yield* enter(protocol, facts)), phase: IDLE };
      return yield* facts.role === PUBLISH ? publish(facts) : receive(facts);
    } catch (error) {
      if (!(error instanceof Cancelled)) throw error;
      return { ...facts, phase: facts.place === 0 ? OUT : IDLE };
    }
  }

  function* publish(facts: Facts): Act {
    switch (facts.phase) {
      case IDLE: {
        const unless = (word: Moment["word"]) => word(NEXT) >= most;
        return { ...facts, phase: yield* choose({ may: [WANT], unless }) };
      }
      case BUSY: {
        const number = yield* look(NEXT, (next) => next);
        yield* perform(() => logOf(facts).append(valueOf(number)));
        return { ...facts, phase: RELEASING };
      }
      case RELEASING:
        yield* protocol.unlock(writers, facts.place!);
        return { ...facts, phase: IDLE };
    }
    yield* protocol.lock(writers, facts.place!);
    return { ...facts, phase: BUSY };
  }

  function* receive(facts: Facts): Act {
    switch (facts.phase) {
      case IDLE:
        yield* choose({ may: [WANT] });
        return facts.at! < 0 ? yield* subscribe(facts) : { ...facts, phase: WANT };
      case AWAIT:
        yield* logOf(facts).awaitRecord(positionOf(facts), facts.place!);
        return { ...facts, phase: WANT };
      case BROKEN:
      case MISCOUNT:
        yield* choose({});
    }
    return yield* read(facts);
  }

  function* subscribe(facts: Facts): Act {
    const position = yield* perform(() => logOf(facts).end);
    return { ...facts, ...position, phase: isCounted(position) ? WANT : MISCOUNT };
  }

  function* read(facts: Facts): Act {
    const { record, position } = yield* perform(() => {
      const position = positionOf(facts);
      try {
        return { record: logOf(facts).read(position), position };
      } catch (error) {
        if (!(error instanceof Spoilt)) throw error;
        return { record: error, position };
      }
    });
    if (record === undefined) return { ...facts, ...position, phase: AWAIT };
    const isWhole = !(record instanceof Spoilt) && isValueOf(position.next - 1, record.bytes);
    return {
      ...facts,
      ...position,
      phase: !isWhole ? BROKEN : isCounted(position) ? IDLE : MISCOUNT,
    };
  }

  /** Whether it is known which number comes next, of which each death may use one up. */
  function isCounted({ at, next }: Position): boolean {
    const uncounted = next - at / UNITS;
    return next < 0 || (uncounted >= 0 && uncounted <= deaths);
  }

  return {
    words: new Map([...wordsOf([writers]), ...logWords()]),
    ...seated(
      protocol,
      Array.from(
        { length: count },
        (_, index) => start(index + 1, index < limits.publishers ? PUBLISH : SUBSCRIBE),
      ),
    ),
    again: ({ role }) => start(0, role!),
    deaths,
    cancels,
    same: fewDeaths([writers]),
    maxStates: 40_000_000,
    act,
    isStable: (word, { phase, role }) =>
      word === header.state ||
      (phase === BUSY && role === PUBLISH && word > writers.word + 1 && word !== appended.word),
    check({ processes }) {
      for (const { facts: { phase } } of processes) {
        if (phase === BROKEN) return "What was received is no message";
        if (phase === MISCOUNT) return "The missed messages are miscounted";
      }
      return undefined;
    },
    checkAtRest(moment) {
      const tail = moment.word(TAIL);
      return sleeper(moment, ({ phase, at }) => phase === AWAIT && at === tail);
    },
  };
}
