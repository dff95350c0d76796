/**
 * What the parties of a barrier do, as flows.
 *
 * @module
 */

import {
  type Flow,
  isRemoved,
  type Like,
  read,
  repeat,
  tryFor,
  tryLate,
  tryStep,
  waitFor,
} from "../flow.ts";
import type { barrier } from "../protocols.ts";

type Protocol = Like<typeof barrier>;

/** What all parties of a barrier agree on. */
export interface Rule {
  /** Whether the barrier shrinks when a party dies, instead of breaking. */
  readonly shrinks: boolean;
  /** How many parties there are. */
  readonly parties: number;
}

/** Where a party is. A flow changes it in the very moment in which it changes the semaphores. */
export interface Party {
  /** The round that it waits for next. */
  round: number;
  /** The counter in which its token stands: the counter of the round, or of the next one once it has arrived. */
  token: number;
  /** Whether it has no token any more. */
  left: boolean;
}

/** Where a party begins. */
export function newParty(): Party {
  return { round: 0, token: 0, left: false };
}

/** Joins as one of the parties. */
export function join(p: Protocol, { shrinks, parties }: Rule): Flow<"joined" | "full" | "broken"> {
  const arm = shrinks ? [] : p.arm(parties);
  return repeat(function* () {
    const values = yield* read((values) => values);
    if (values[p.broken] !== 0) return "broken";
    const step = p.join(values, shrinks);
    if (step === undefined) return "full";
    return (yield* tryFor(values, [...step, ...arm])) ? "joined" : undefined;
  });
}

/** Arrives, and waits until all have. */
export function* wait(p: Protocol, { shrinks }: Rule, party: Party): Flow<"passed" | "broken"> {
  const { round } = party;
  // One that could not take its token back is there already.
  if (party.token === round) {
    if (!(yield* tryStep(p.arrive(round, shrinks)))) return "broken";
    party.token = p.next(round);
  }
  try {
    yield* waitFor(p.wait(round));
  } catch (error) {
    // If it has to stay, as the round is complete, it has not waited in vain.
    if (isRemoved(error) || (yield* retreat(p, shrinks, party))) throw error;
  }
  return yield* pass(p, party);
}

/** Arrives if this completes the round. */
export function* tryWait(
  p: Protocol,
  { shrinks }: Rule,
  party: Party,
): Flow<"passed" | "missing" | "broken"> {
  const { round } = party;
  const arrive = party.token === round ? p.arrive(round, shrinks) : [];
  if (yield* tryStep([...arrive, ...p.wait(round)])) {
    party.token = p.next(round);
    return yield* pass(p, party);
  }
  return (yield* isBroken(p)) ? "broken" : "missing";
}

/** Leaves for good, and returns whether there was a token to take out: a barrier that breaks loses all. */
export function* leave(p: Protocol, { shrinks, parties }: Rule, party: Party): Flow<boolean> {
  const disarm = shrinks ? [] : p.disarm(parties);
  const could = yield* tryLate([...p.leave(party.token, shrinks), ...disarm]);
  party.left = true;
  return could;
}

/** Leaves as by a death, which the others are to notice. */
export function* abandon(p: Protocol, rule: Rule, party: Party): Flow<void> {
  if (rule.shrinks) yield* leave(p, rule, party);
  else {
    yield* repeat(function* () {
      const values = yield* read((values) => values);
      return (yield* tryFor(values, p.trip(values, rule.parties))) ? true : undefined;
    });
  }
  party.left = true;
}

/** Goes on to the next round, which begins whether it can see how this one ended or not. */
function* pass(p: Protocol, party: Party): Flow<"passed" | "broken"> {
  party.round = party.token;
  return (yield* isBroken(p)) ? "broken" : "passed";
}

function isBroken(p: Protocol): Flow<boolean> {
  return read((values) => values[p.broken] !== 0);
}

/** Takes the token back unless the round is complete, and returns whether the wait is over so. */
function* retreat(p: Protocol, shrinks: boolean, party: Party): Flow<boolean> {
  for (const step of p.retreat(party.round, shrinks)) {
    // Once it has left it has no token: what moved would be another's.
    if (party.left) return true;
    if (yield* tryLate(step)) {
      party.token = party.round;
      return true;
    }
  }
  return false;
}
