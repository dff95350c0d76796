/**
 * What the classes of `@sysv/ipc/sync` do, line by line, as flows of atomic steps.
 *
 * @module
 */

import type { barrier, bulkhead, leader, mutex, rwlock, Step } from "../../sync/protocols.ts";
import {
  type Flow,
  giveBack,
  note,
  operate,
  OutOfRange,
  read,
  Rejection,
  tryOperate,
  until,
} from "./explore.ts";

/** A protocol, or one that was changed in order to be wrong. */
export type Like<Protocol> = {
  readonly [Name in keyof Protocol]: Protocol[Name] extends (...given: infer Given) => infer Result
    ? (...given: Given) => Result
    : Protocol[Name] extends readonly number[] ? readonly number[]
    : Protocol[Name] extends number ? number
    : Step;
};

/** `Mutex.lock` and `lockSync`: gives `dirty`. */
export function* lock(protocol: Like<typeof mutex>, refuses: boolean): Flow<number> {
  if (yield* tryOperate(protocol.takeClean)) return 1;
  return yield* lockInLine(protocol, refuses);
}

/** `Mutex.lock` as another one of its thread waits. */
export function* lockInLine(protocol: Like<typeof mutex>, refuses: boolean): Flow<number> {
  yield* operate(protocol.take);
  return yield* accept(protocol, refuses, yield* readDirty(protocol));
}

/** `Mutex.tryLock`. */
export function* tryLock(protocol: Like<typeof mutex>, refuses: boolean): Flow<number | undefined> {
  if (yield* tryOperate(protocol.takeClean)) return 1;
  if (!(yield* tryOperate(protocol.take))) return undefined;
  return yield* accept(protocol, refuses, yield* readDirty(protocol));
}

/** `Mutex.recover` and `recoverSync`. */
export function* recover(protocol: Like<typeof mutex>): Flow<number> {
  yield* operate(protocol.take);
  return yield* readDirty(protocol);
}

function* accept(protocol: Like<typeof mutex>, refuses: boolean, dirty: number): Flow<number> {
  if (dirty === 1 || !refuses) return dirty;
  yield* giveBack(protocol.putBack);
  throw new Rejection("EOWNERDEAD");
}

function readDirty({ dirty }: Like<typeof mutex>): Flow<number> {
  return read((values) => values[dirty]!);
}

/** `RwLock.write` and `writeSync`. */
export function* write(protocol: Like<typeof rwlock>): Flow<void> {
  if (!(yield* tryOperate(protocol.writeAtOnce))) {
    yield* operate(protocol.announce, false);
    try {
      yield* operate(protocol.write);
    } catch (error) {
      yield* giveBack(protocol.withdraw);
      throw error;
    }
  }
}

/** A party to a barrier. */
export interface Party {
  readonly is: "new" | "in" | "told it is broken" | "shut out" | "gone";
  readonly round: number;
  /** In how many rounds it has arrived, and how many it has passed. */
  readonly arrivals: number;
  readonly passes: number;
}

/** What ends a wait at a barrier of which a party has died. */
export class Broken extends Rejection {}

/** What is told to one too many. */
export class Full extends Rejection {}

/** `Barrier.join`. */
export function* join(protocol: Like<typeof barrier>, token: boolean, parties: number): Flow<void> {
  yield* until(function* () {
    const values = yield* read((values) => values);
    if (values[protocol.broken] !== 0) throw new Broken();
    const step = protocol.join(values, token);
    if (step === undefined) throw new Full();
    return yield* tryOperate([...step, ...(token ? [] : protocol.arm(parties))]);
  });
}

/** `BarrierParty.wait` and `waitSync`. */
export function* wait(
  protocol: Like<typeof barrier>,
  token: boolean,
  party: Party,
): Flow<void, Party> {
  const { round } = party;
  if (!(yield* tryOperate(protocol.arrive(round, token)))) throw new Broken();
  yield* note({ ...party, arrivals: party.arrivals + 1 });
  try {
    yield* operate(protocol.wait(round));
  } catch (error) {
    let retreated = false;
    for (const step of protocol.retreat(round, token)) {
      retreated ||= yield* tryOperate(step);
    }
    if (retreated) {
      yield* note(party);
      throw error;
    }
  }
  yield* end(protocol, party);
}

/** `BarrierParty.tryWait`. */
export function* tryWait(
  protocol: Like<typeof barrier>,
  token: boolean,
  party: Party,
): Flow<void, Party> {
  const { round } = party;
  const arrived = yield* tryOperate([...protocol.arrive(round, token), ...protocol.wait(round)]);
  if (arrived) {
    yield* note({ ...party, arrivals: party.arrivals + 1 });
    yield* end(protocol, party);
  } else if (yield* readBroken(protocol)) throw new Broken();
}

/** `BarrierParty.leave`: whether it could. */
export function* leave(
  protocol: Like<typeof barrier>,
  token: boolean,
  parties: number,
  { round }: Party,
): Flow<boolean> {
  return yield* tryOperate([
    ...protocol.leave(round, token),
    ...(token ? [] : protocol.disarm(parties)),
  ]);
}

function* end(
  protocol: Like<typeof barrier>,
  { is, round, arrivals, passes }: Party,
): Flow<void, Party> {
  if (yield* readBroken(protocol)) throw new Broken();
  yield* note({ is, round: protocol.next(round), arrivals: arrivals + 1, passes: passes + 1 });
}

function readBroken({ broken }: Like<typeof barrier>): Flow<boolean> {
  return read((values) => values[broken] !== 0);
}

/** `Bulkhead.acquire` and `acquireSync`. */
export function* acquire(protocol: Like<typeof bulkhead>, quota: number | undefined): Flow<void> {
  yield* adjust(protocol, quota);
  yield* operate(protocol.acquire);
}

/** `Bulkhead.tryAcquire`. */
export function* tryAcquire(
  protocol: Like<typeof bulkhead>,
  quota: number | undefined,
): Flow<boolean> {
  yield* adjust(protocol, quota);
  return yield* tryOperate(protocol.acquire);
}

/** `Bulkhead.resize`. */
export function* resize(protocol: Like<typeof bulkhead>, tickets: number): Flow<void> {
  yield* until(function* () {
    const limit = yield* read((values) => values[protocol.limit]!);
    return yield* tryOperate(protocol.resize(limit, tickets));
  });
}

/** What `Bulkhead` does before and after much else: makes the limit what a quota says. */
export function* adjust(protocol: Like<typeof bulkhead>, quota: number | undefined): Flow<void> {
  if (quota === undefined) return;
  yield* until(function* () {
    const wrong = yield* read((values) => {
      const limit = values[protocol.limit]!;
      const workers = values[protocol.workers]!;
      return share(workers, quota) === limit ? null : [limit, workers];
    });
    if (wrong === null) return true;
    const [limit, workers] = wrong;
    yield* tryOperate(protocol.resize(limit!, share(workers!, quota), workers));
    return false;
  });
}

/** How many tickets so many workers have. */
export function share(workers: number, quota: number): number {
  return Math.max(1, Math.ceil(workers * quota - 1e-9));
}

/** `Leader.campaign` and `campaignSync`: gives the term. */
export function* campaign(protocol: Like<typeof leader>): Flow<number> {
  yield* until(function* () {
    try {
      yield* operate(protocol.win);
      return true;
    } catch (error) {
      if (!(error instanceof OutOfRange)) throw error;
      return yield* tryOperate(protocol.winAndCarry);
    }
  });
  return yield* read(protocol.term);
}

/** `Leader.tryCampaign`. */
export function* tryCampaign(protocol: Like<typeof leader>): Flow<number | undefined> {
  let won: boolean;
  try {
    won = yield* tryOperate(protocol.win);
  } catch (error) {
    if (!(error instanceof OutOfRange)) throw error;
    won = yield* tryOperate(protocol.winAndCarry);
  }
  return won ? yield* read(protocol.term) : undefined;
}
