/**
 * The model of SharedMutex: processes that lock and unlock, and are told how many holders have died.
 *
 * @module
 */

import { giveBack } from "../../shared/flow.ts";
import { deathsOf, lockAt, ownerOf } from "../../shared/layout.ts";
import { Protocol } from "../../shared/protocol.ts";
import { type Act, choose, type Facts, note } from "./acts.ts";
import type { Make } from "./flaws.ts";
import { enter, fewDeaths, MOST_DEATHS, seated, sleeper, wordsOf } from "./members.ts";
import type { Model } from "./model.ts";

const lock = lockAt(1);

const IDLE = 0, OUT = 1, HELD = 2, LEAVING = 3;
const LOCK = 1, TRY = 2, LEAVE = 3, RELEASE = 4;

/** How much the processes do. */
export interface MutexLimits {
  /** How many begin with a place. */
  readonly members: number;
  /** How many begin without one. @default {0} */
  readonly newcomers?: number;
  readonly deaths: number;
  readonly cancels?: number;
  readonly leaves?: boolean;
  /** How often each process locks; without limit if left out. */
  readonly rounds?: number;
  /** How many places there are; one for each process if left out. */
  readonly places?: number;
}

/** Makes the model, with a protocol that may be wrong. */
export function mutex(limits: MutexLimits, Chosen: Make = Protocol): Model {
  const { members, newcomers = 0, deaths, cancels = 0, leaves = false, rounds = -1 } = limits;
  const { places = members + newcomers } = limits;
  const protocol = new Chosen(places, [lock], lock.opens);
  const start = (place: number, rounds: number): Facts => ({
    place,
    phase: place === 0 ? OUT : IDLE,
    told: 0,
    rounds,
  });

  function* release(facts: Facts): Act {
    yield* choose({ will: [RELEASE] });
    yield* note({ ...facts, phase: LEAVING });
    yield* protocol.unlock(lock, facts.place!);
    const left = facts.rounds! > 0 ? facts.rounds! - 1 : facts.rounds!;
    return { ...facts, phase: IDLE, told: 0, rounds: left };
  }

  function* leave(facts: Facts): Act {
    yield* protocol.settle(facts.place!);
    yield* giveBack(protocol.leave(facts.place!));
    return { ...facts, phase: OUT, place: 0 };
  }

  function* act(facts: Facts): Act {
    const { phase, place } = facts;
    if (phase === OUT) {
      const inside = yield* enter(protocol, facts);
      if (inside.place === 0) yield* choose({ may: [LOCK] });
      return { ...inside, phase: inside.place === 0 ? OUT : IDLE };
    }
    if (phase === HELD) return yield* release(facts);
    const may = leaves ? [LOCK, TRY, LEAVE] : [LOCK];
    const choice = yield* choose({ may: facts.rounds === 0 ? [] : may });
    if (choice === LEAVE) return yield* leave(facts);
    const dead = yield* choice === LOCK
      ? protocol.lock(lock, place!)
      : protocol.tryLock(lock, place!);
    if (dead === undefined) return facts;
    return { ...facts, phase: HELD, told: Math.min(dead, MOST_DEATHS) };
  }

  return {
    words: wordsOf([lock]),
    ...seated(protocol, [
      ...Array.from({ length: members }, (_, index) => start(index + 1, rounds)),
      ...Array.from({ length: newcomers }, () => start(0, rounds)),
    ]),
    leaves,
    again: () => start(0, Math.min(rounds, 1)),
    deaths,
    cancels,
    same: fewDeaths([lock]),
    maxStates: 40_000_000,
    act,
    check({ processes, ghost }) {
      let holder: Facts | undefined;
      for (const { facts } of processes) {
        if (facts.phase !== HELD) continue;
        if (holder !== undefined) return "Two hold the lock";
        holder = facts;
      }
      if (holder === undefined || holder.told === ghost) return undefined;
      return `Told of ${holder.told} deaths instead of ${ghost}`;
    },
    checkAtRest(moment) {
      const owner = ownerOf(moment.word(lock.word));
      const holds = owner > 0 && moment.processes.some(({ facts }) => facts.place === owner);
      return sleeper(moment) ?? (holds ? "An idle one holds the lock" : undefined);
    },
    // How many holders have died since the lock was released.
    remember(before, after, process, died) {
      const owner = ownerOf(before.word(lock.word));
      const { facts } = before.processes[process]!;
      if (owner === 0 || facts.place !== owner || facts.phase === OUT) return before.ghost;
      if (died) return Math.min(before.ghost + 1, MOST_DEATHS);
      const word = after.word(lock.word);
      return ownerOf(word) === 0 && deathsOf(word) === 0 ? 0 : before.ghost;
    },
  };
}
