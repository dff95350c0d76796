/**
 * Members that leave out one thing each: what the models must find.
 *
 * @module
 */

import type { Flow } from "../../shared/flow.ts";
import { type Gate, type Lock, WAKE } from "../../shared/layout.ts";
import { Protocol } from "../../shared/protocol.ts";
import type { Step } from "../../sync/protocols.ts";

/** Makes the protocol of members. */
export type Make = new (places: number, locks: readonly Lock[], gates: readonly Gate[]) => Protocol;

export class NoArming extends Protocol {
  override arm = (): Step => [];
  override disarm = (): Step => [];
}

export class NoInheritance extends Protocol {
  // deno-lint-ignore require-yield
  override *isDead(): Flow<boolean> {
    return false;
  }
}

export class NoHeir extends Protocol {
  override get becomeHeir(): Step {
    return [];
  }
  override get endHeir(): Step {
    return [];
  }
}

export class NoHeirAtRegistration extends Protocol {
  override register(place: number): Step {
    return super.register(place).slice(2);
  }
}

export class RingsTheDead extends Protocol {
  override ring(place: number): Step {
    return super.ring(place).slice(2);
  }
}

export class KeepsRingsOfTheDead extends Protocol {
  override *settleGates(): Flow<void> {
    for (const gate of this.gates) yield* this.unmark(gate.word);
  }
}

export class KeepsRingsOfTheCancelled extends Protocol {
  override *withdraw(gate: Gate): Flow<void> {
    yield* this.unmark(gate.word);
  }
}

export class LeavesLocksOfTheDead extends Protocol {
  override *settle(place: number): Flow<void> {
    yield* this.settleGates(place);
  }
}

export class FreesNothing extends LeavesLocksOfTheDead {
  // deno-lint-ignore require-yield
  override *isDead(): Flow<boolean> {
    return false;
  }
}

export class LooksOnce extends Protocol {
  override *lookAgain(): Flow<void> {}
}

export class RingsNobodyAgain extends Protocol {
  override *lookAgain(lock: Lock): Flow<void> {
    if (yield* this.anyAwaited(lock.opens)) yield { ask: "or", word: lock.word, bits: WAKE };
  }
}

export class WakesNobody extends Protocol {
  override *wakeFor(): Flow<void> {}
}

export class MarksLate extends Protocol {
  override *mark(): Flow<void> {}
  override *sleepAt(gate: Gate, me: number): Flow<void> {
    yield* super.mark(gate.word);
    yield* super.sleepAt(gate, me);
  }
  override *awaitGate(
    lock: Lock,
    gate: Gate,
    me: number,
    isReady: () => Flow<boolean>,
  ): Flow<void> {
    yield { ask: "or", word: lock.word, bits: WAKE };
    if (!(yield* isReady())) yield* this.sleepAt(gate, me);
    yield* this.unmark(gate.word);
  }
}

export class LooksNoMore extends Protocol {
  override *awaitGate(lock: Lock, gate: Gate, me: number): Flow<void> {
    yield* super.awaitGate(lock, gate, me, no);
  }
}

export class AnnouncesNothing extends Protocol {
  override *awaitGate(_: Lock, gate: Gate, me: number, isReady: () => Flow<boolean>): Flow<void> {
    yield* this.mark(gate.word);
    if (!(yield* isReady())) yield* this.sleepAt(gate, me);
    yield* this.unmark(gate.word);
  }
}

export class WakesOneOfAll extends Protocol {
  override *wakeAll(gate: Gate): Flow<void> {
    yield* this.wakeOne(gate, this.places);
  }
}

// deno-lint-ignore require-yield
function* no(): Flow<boolean> {
  return false;
}
