/**
 * The types of primitives that live on a server: {@linkcode Remote}.
 *
 * @module
 */

import type { Permit } from "../ipc/permit.ts";
import type { BroadcastSubscription } from "../shared/mod.ts";
import type { BarrierParty, BulkheadPermit, Guard, Leadership, MutexGuard } from "../sync/mod.ts";

/**
 * What only the kernel's objects have: blocking a thread, numbers of the kernel, processes of this
 * machine.
 */
export type KernelOnly =
  | `${string}Sync`
  | `${string}Pid`
  | "capacity"
  | "ended"
  | "exchange"
  | "id"
  | "key"
  | "index"
  | "maxBytes"
  | "members"
  | "owned"
  | "places"
  | "stat"
  | "setPermissions"
  | "waiting";

/** What is held of a primitive. */
export type Held = Guard | MutexGuard | BulkheadPermit | BarrierParty | Leadership | Permit;

/** What answers the same on a server, as it was known when the handle was made. */
export type Settled =
  | typeof Symbol.dispose
  | "created"
  | "lost"
  | "name"
  | "onDeath"
  | "parties"
  | "prefer"
  | "quota"
  | "readable"
  | "signal"
  | "writable";

/**
 * A number that only grows from holder to holder, whatever happens to the server: by it, what a mutex
 * protects can refuse commands of former holders.
 */
export interface Fenced {
  /** The number. */
  readonly term: number;
}

/** What can be lost though its holder lives. */
export interface Losable {
  /**
   * Fires when it is lost: with the session, before others get it, or about a second after what it is
   * held of was removed. The reason says which.
   */
  readonly lost: AbortSignal;
}

/**
 * A primitive that lives on a server, or what is held of it: the same methods as its class has, but
 * those that answer at once there answer in a promise here. `await` is right with either, so code for
 * `Latch | Remote<Latch>` serves both.
 *
 * `await using` gives back what is held, and waits until it is.
 */
export type Remote<Primitive> =
  & {
    readonly [Name in keyof Primitive as Exclude<Name, KernelOnly>]: Answered<
      Primitive,
      Primitive[Name],
      Name
    >;
  }
  & AsyncDisposable;

/** What answers in promises anyway, to a function that it is given or to a loop. */
export type Promising =
  | `run${string}`
  | "every"
  | "changes"
  | "messages"
  | typeof Symbol.asyncIterator;

/** What a member of a primitive is on a server. */
export type Answered<Primitive, Member, Name> = Name extends Settled | Promising ? Member
  : [Member] extends [(...given: infer Given) => infer Result]
    ? (...given: Given) => Promise<RemoteResult<Awaited<Result>>>
  : [Primitive] extends [Held] ? Member
  : Promise<Member>;

/** What an answer is on a server: what is held there is given back there. */
export type RemoteResult<Result> = Result extends MutexGuard ? Remote<MutexGuard> & Losable & Fenced
  : Result extends Held ? Remote<Result> & Losable
  : Result extends BroadcastSubscription<infer Item> ? Remote<BroadcastSubscription<Item>>
  : Result;
