/**
 * The model of SharedVariable: writers that count in it, and readers that wait for what is newer. A value
 * has two bytes, each of which is its version.
 *
 * @module
 */

import { Cells, changed, writers } from "../../shared/cells.ts";
import { header, LINE } from "../../shared/layout.ts";
import { Protocol } from "../../shared/protocol.ts";
import { type Act, Cancelled, choose, type Facts, note } from "./acts.ts";
import type { Model, Moment } from "./model.ts";
import type { Make } from "./flaws.ts";
import { enter, fewDeaths, seated, sleeper, wordsOf } from "./members.ts";
import { isValueOf, membersAt, perform, VALUE_BYTES, valueOf } from "./perform.ts";

const WRITE = 0, READ = 1;
const IDLE = 0, OUT = 1, WANT = 2, BUSY = 3, RELEASING = 4, AWAIT = 5, BROKEN = 6;
const VERSION = 2 * LINE;
const BUFFERS = 4 * LINE;
const COUNT = 4;
const STRIDE = 64;
const HEADER_WORDS = 4;
const FIRST = 1;

/** How much the processes do. */
export interface VariableLimits {
  readonly writers: number;
  readonly readers: number;
  readonly deaths: number;
  readonly cancels?: number;
  /** The version after which nobody begins to write. */
  readonly most: number;
}

/** What may be wrong. */
export interface VariableFlaws {
  readonly Protocol?: Make;
  readonly Cells?: typeof Cells;
}

const wordOf = (version: number) => BUFFERS + ((version & (COUNT - 1)) * STRIDE >> 2);

/** The words of a variable whose first value is set. */
function cellWords(): Map<number, number> {
  const words = new Map([[VERSION, FIRST], [header.state, 0]]);
  for (let version = FIRST; version < FIRST + COUNT; version++) {
    const isSet = version === FIRST ? 1 : 0;
    const buffer = [VALUE_BYTES, version, 0, 0, version, version];
    for (const [i, word] of buffer.entries()) words.set(wordOf(version) + i, word * isSet);
  }
  return words;
}

/** Makes the model, with what may be wrong. */
export function variable(limits: VariableLimits, flaws: VariableFlaws = {}): Model {
  const { deaths, cancels = 0, most } = limits;
  const { Protocol: Chosen = Protocol, Cells: Chosen2 = Cells } = flaws;
  const count = limits.writers + limits.readers;
  const protocol = new Chosen(count, [writers], writers.opens);
  const cellsOf = ({ place }: Facts) =>
    new Chosen2(membersAt(place!, protocol, { limit: VALUE_BYTES }));
  const start = (place: number, role: number): Facts => ({
    place,
    role,
    phase: place === 0 ? OUT : IDLE,
    seen: 0,
  });

  function* act(facts: Facts): Act {
    try {
      return yield* facts.phase === OUT
        ? join(facts)
        : facts.role === WRITE
        ? write(facts)
        : read(facts);
    } catch (error) {
      if (!(error instanceof Cancelled)) throw error;
      return { ...facts, phase: facts.place === 0 ? OUT : IDLE };
    }
  }

  function* join(facts: Facts): Act {
    return { ...(yield* enter(protocol, facts)), phase: IDLE };
  }

  function* write(facts: Facts): Act {
    switch (facts.phase) {
      case IDLE: {
        const unless = (word: Moment["word"]) => word(VERSION) >= most;
        return { ...facts, phase: yield* choose({ may: [WANT], unless }) };
      }
      case BUSY:
        yield* perform(() => {
          const cells = cellsOf(facts);
          const value = cells.read()!.bytes[0]! + 1;
          cells.write(valueOf(value));
        });
        return { ...facts, phase: RELEASING };
      case RELEASING:
        yield* protocol.unlock(writers, facts.place!);
        return { ...facts, phase: IDLE };
    }
    yield* protocol.lock(writers, facts.place!);
    return { ...facts, phase: BUSY };
  }

  function* read(facts: Facts): Act {
    const seen = facts.seen!;
    switch (facts.phase) {
      case IDLE:
        return { ...facts, phase: yield* choose({ may: [BUSY, WANT] }) };
      case WANT: {
        const version = yield* perform(() => cellsOf(facts).version);
        if (version > seen) return { ...facts, phase: BUSY };
        yield* note({ ...facts, phase: AWAIT });
        yield* cellsOf(facts).awaitChange(version, facts.place!);
        return facts;
      }
      case BROKEN:
        yield* choose({});
    }
    const { bytes, version } = (yield* perform(() => cellsOf(facts).read()))!;
    const isWhole = isValueOf(version, bytes) && version >= seen;
    return { ...facts, phase: isWhole ? IDLE : BROKEN, seen: version };
  }

  return {
    words: new Map([...wordsOf([writers]), ...cellWords()]),
    ...seated(
      protocol,
      Array.from(
        { length: count },
        (_, index) => start(index + 1, index < limits.writers ? WRITE : READ),
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
      (phase === BUSY && role === WRITE && word > writers.word + 1 && word !== changed.word),
    check({ word, processes }) {
      if (processes.some(({ facts }) => facts.phase === BROKEN)) return "A torn value was read";
      const version = word(VERSION);
      const at = wordOf(version) + HEADER_WORDS;
      return word(at) === version && word(at + 1) === version ? undefined : "The value is wrong";
    },
    checkAtRest(moment) {
      const version = moment.word(VERSION);
      return sleeper(moment, ({ phase, seen }) => phase === AWAIT && seen === version);
    },
  };
}
