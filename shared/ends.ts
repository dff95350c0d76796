/**
 * The two ends of a channel, as one handle uses them where a look at the ring is not enough: with the
 * lock to wait for, a place to take, room or a message to come.
 *
 * @module
 */

import { isRemoved } from "../ffi/error.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { awaitGate } from "./await_gate.ts";
import { type Failure, type Flow, remaining } from "./flow.ts";
import { header, type Lock, ownerOf, REMOVED } from "./layout.ts";
import type { Members } from "./members.ts";
import { BUSY, DONE, isFailure, NOT_NOW, OVER, type Ring } from "./ring.ts";
import { consumers, filled, producers, type RingFlows } from "./ring_flows.ts";
import { Line } from "./sleepers.ts";

const SEND = "send to";
const RECEIVE = "receive from";

/** What both ends have. */
class End {
  protected readonly members: Members;
  protected readonly ring: Ring;
  protected readonly flows: RingFlows;
  /** The promises of this end, one of which works at a time. */
  readonly line: Line = new Line();

  constructor(members: Members, ring: Ring) {
    this.members = members;
    this.ring = ring;
    this.flows = ring.flows;
  }

  /** No place of this thread has the lock before it takes it: it would wait for itself for ever. */
  protected refuseOwn({ word }: Lock, action: string): void {
    const { members } = this;
    if (members.isHere(ownerOf(Atomics.load(members.words, word)))) throw members.spoilt(action);
  }

  protected over(action: string): Error {
    const state = Atomics.load(this.members.words, header.state);
    if ((state & REMOVED) !== 0) return this.members.error("EIDRM", action);
    return this.members.error("EPIPE", action, "it is closed");
  }
}

/** The end at which messages go in. */
export class Producer extends End {
  /** Sends with the lock as soon as it has it: nothing else of this thread runs in between. */
  *#lockAndSend(bytes: Uint8Array): Flow<number> {
    const { protocol, seat } = this.members;
    this.refuseOwn(producers, SEND);
    return this.ring.sendLocked(bytes, yield* protocol.lock(producers, seat.place));
  }

  /** Sends bytes, sleeping until there is room. */
  *#put(bytes: Uint8Array): Flow<void> {
    for (;;) {
      let outcome = this.ring.trySend(bytes);
      if (outcome === BUSY) outcome = yield* this.#lockAndSend(bytes);
      if (outcome === DONE) return;
      this.#refuseEnd(outcome);
      yield* this.flows.awaitRoom(this.members.promises.place, bytes.length);
    }
  }

  /** Sends bytes, waiting until there is room. */
  send(bytes: Uint8Array, options: WaitOptions = {}): Promise<void> {
    const rest = remaining(options);
    const flow = () => this.#put(bytes);
    const perform = () => this.members.drive(flow, SEND, rest());
    return this.members.inLine(this.line, SEND, options, perform);
  }

  /** The same, blocking the thread. */
  sendSync(bytes: Uint8Array, options: TimeoutOptions = {}): void {
    const { members, ring } = this;
    const rest = remaining(options);
    members.enterSync(rest());
    const { place } = members.seat;
    for (;;) {
      let outcome = ring.fits(bytes.length) ? ring.trySend(bytes) : undefined;
      if (outcome === BUSY) {
        outcome = members.driveSync(this.#lockAndSend(bytes), SEND, rest());
      }
      if (outcome === DONE) return;
      this.#refuseEnd(outcome);
      if (ring.sending.wait()) continue;
      members.driveSync(this.flows.awaitRoom(place, bytes.length), SEND, rest());
    }
  }

  /** The same if there is room. */
  trySend(bytes: Uint8Array): boolean {
    const outcome = this.members.tried((options) => {
      this.members.enterSync(options);
      return this.members.driveSync(this.#lockAndSend(bytes), SEND, options);
    });
    if (outcome === OVER) throw this.over(SEND);
    return outcome === DONE;
  }

  #refuseEnd(outcome: number | undefined): void {
    this.members.refuseRemoved(SEND);
    if (outcome === OVER || this.members.closed) throw this.over(SEND);
  }

  /** Closes the channel. */
  close(): void {
    this.members.driveSync(this.flows.close(), "close");
  }
}

/** How a message is taken: what is got, or what became of it. */
export interface Taking<Got> {
  /** If nobody keeps the lock. */
  attempt(): Got | number;
  /** With the lock, after so many deaths. */
  withLock(deaths: number): Got | number;
}

/** The end at which messages come out. */
export class Consumer extends End {
  /** Takes messages as bytes of their own. */
  readonly fresh: Taking<Uint8Array<ArrayBuffer>>;

  constructor(members: Members, ring: Ring) {
    super(members, ring);
    this.fresh = {
      attempt: () => ring.tryReceive(),
      withLock: (deaths) => ring.receiveLocked(deaths),
    };
  }

  /** Takes messages into a buffer. */
  into(buffer: Uint8Array): Taking<number> {
    return {
      attempt: () => this.ring.tryReceiveInto(buffer),
      withLock: (deaths) => this.ring.receiveLockedInto(buffer, deaths),
    };
  }

  /** Takes messages as long as they are wanted, and hands each on before anything can come between. */
  handing(
    isWanted: () => boolean,
    hand: (bytes: Uint8Array<ArrayBuffer>) => void,
  ): Taking<boolean> {
    const pass = (got: Uint8Array<ArrayBuffer> | number) => {
      if (isFailure(got)) return got;
      hand(got as Uint8Array<ArrayBuffer>);
      return true;
    };
    return {
      attempt: () => isWanted() ? pass(this.ring.tryReceive()) : this.#refuse(),
      withLock: (deaths) =>
        isWanted() ? pass(this.ring.receiveLocked(deaths)) : this.ring.decline(deaths),
    };
  }

  /** Takes none. */
  #refuse(): false {
    this.members.driveSync(this.flows.passOn(this.members.seat.place), RECEIVE);
    return false;
  }

  /** Takes a message with the lock as soon as it has it. */
  *#lockAndTake<Got>(taking: Taking<Got>): Flow<Got | number> {
    const { protocol, seat } = this.members;
    this.refuseOwn(consumers, RECEIVE);
    const deaths = yield* protocol.lockFor(filled, consumers, seat.place);
    if (deaths < 0) throw this.over(RECEIVE);
    return taking.withLock(deaths);
  }

  /** Takes a message, sleeping until there is one, whatever the dead have left, and even if it is closed. */
  *#take<Got>(taking: Taking<Got>): Flow<Got> {
    const { members, flows } = this;
    for (;;) {
      let got = taking.attempt();
      if (got === BUSY) got = yield* this.#lockAndTake(taking);
      if (!isFailure(got)) return got as Got;
      members.refuseRemoved(RECEIVE);
      if (members.closed && (yield* flows.isOver(members.seat.place))) throw this.over(RECEIVE);
      yield* flows.awaitMessage(members.promises.place);
    }
  }

  /** Takes a message, waiting until there is one. */
  receive<Got>(taking: Taking<Got>, options: WaitOptions = {}): Promise<Got> {
    const rest = remaining(options);
    const take = () => this.#awaitAndTake(taking, rest);
    const perform = () => this.members.seated(rest(), take);
    return this.members.inLine(this.line, RECEIVE, options, perform);
  }

  /** The same in plain code, as long as nobody is in the way or has closed it. */
  #awaitAndTake<Got>(taking: Taking<Got>, rest: () => WaitOptions): Promise<Got> {
    const { members, ring } = this;
    const { promise, resolve, reject } = Promise.withResolvers<Got>();
    const isOver = (): boolean => {
      const got = taking.attempt();
      if (!isFailure(got)) resolve(got as Got);
      else {
        members.refuseRemoved(RECEIVE);
        if (got === NOT_NOW && !members.closed) return false;
        resolve(members.drive(() => this.#take(taking), RECEIVE, rest()));
      }
      return true;
    };
    const isReady = () => ring.isReadable;
    const look = (failure?: Failure) => {
      try {
        if (failure !== undefined) throw failure.reason;
        let goesOn = true;
        while (goesOn && !isOver()) {
          goesOn = awaitGate(members.promises, producers, filled, isReady, rest(), look);
        }
      } catch (error) {
        reject(members.retold(error, RECEIVE, rest()));
      }
    };
    look();
    return promise;
  }

  /** The same, blocking the thread. */
  receiveSync<Got>(taking: Taking<Got>, options: TimeoutOptions = {}): Got {
    const { members, ring } = this;
    const rest = remaining(options);
    members.enterSync(rest());
    const { place } = members.seat;
    for (;;) {
      let got = taking.attempt();
      if (got === BUSY) {
        got = members.driveSync(this.#lockAndTake(taking), RECEIVE, rest());
      }
      if (!isFailure(got)) return got as Got;
      if (ring.receiving.wait()) continue;
      members.refuseRemoved(RECEIVE);
      if (members.closed && members.driveSync(this.flows.isOver(place), RECEIVE, rest())) {
        throw this.over(RECEIVE);
      }
      members.driveSync(this.flows.awaitMessage(place), RECEIVE, rest());
    }
  }

  /** The same if there is one, where somebody keeps the lock or this handle has no place yet. */
  tryReceive<Got>(taking: Taking<Got>): Got | undefined {
    const got = this.members.tried((options) => {
      this.members.enterSync(options);
      return this.members.driveSync(this.#lockAndTake(taking), RECEIVE, options);
    });
    return isFailure(got) ? undefined : got as Got;
  }
}

/** Whether an error says that nothing will come any more. */
export function isEnd(error: unknown): boolean {
  return isRemoved(error) || (error instanceof Error && "code" in error && error.code === "EPIPE");
}
