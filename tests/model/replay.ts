/**
 * Walks at random through what {@linkcode explore} explores, with real processes: whatever happens to
 * them has to be what the model says can happen, and its invariants have to hold.
 *
 * Waits that become possible are completed by whoever makes room, so they lead and the model follows.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Client, Outcome, Semaphores } from "../support/clients.ts";
import type { Random } from "../support/random.ts";
import { passed } from "../support/time.ts";
import { atRest, initial, type Model, Places, type State, transitions } from "./explore.ts";

/** What one process can be made to do next. */
type Deed = "ask" | "begin" | "cancel" | "die";

/** A process of the model, and the real one. */
interface Actor {
  readonly client: Client;
  /** Whether it has begun the wait that its flow asks for. */
  waits: boolean;
}

/** One walk. */
export class Replay<Facts> {
  readonly #model: Model<Facts>;
  readonly #places: Places<Facts>;
  readonly #random: Random;
  readonly #semaphores: Semaphores;
  readonly #actors: Actor[];
  #state: State<Facts>;
  readonly #log: string[] = [];

  private constructor(
    model: Model<Facts>,
    semaphores: Semaphores,
    actors: Actor[],
    random: Random,
  ) {
    this.#model = model;
    this.#semaphores = semaphores;
    this.#actors = actors;
    this.#random = random;
    this.#places = new Places(model);
    this.#state = initial(model, this.#places);
  }

  /** Walks so many steps, or until all are dead; returns how many were done. */
  static async walk<Facts>(
    model: Model<Facts>,
    make: (values: readonly number[]) => Promise<Semaphores>,
    random: Random,
    steps: number,
  ): Promise<number> {
    await using semaphores = await make(model.values);
    const { processes = [1, 1, 1] } = model;
    const clients = await Promise.all(processes.map(() => semaphores.client()));
    const actors = clients.map((client) => ({ client, waits: false }));
    const replay = new Replay(model, semaphores, actors, random);
    try {
      for (let step = 0; step < steps; step++) if (!await replay.#step()) return step;
    } catch (error) {
      throw new Error(`${replay.#log.slice(-40).join("\n")}\n${error}`, { cause: error });
    }
    return steps;
  }

  /** Has one of them do something; returns whether anybody could. */
  async #step(): Promise<boolean> {
    const deeds = this.#deeds();
    if (deeds.length === 0) return false;
    const [process, deed] = this.#random.of(deeds);
    await this.#perform(process, deed);
    await this.#settle();
    this.#check();
    return true;
  }

  #deeds(): [process: number, deed: Deed][] {
    const deeds: [number, Deed][] = [];
    const living = this.#state.processes.filter(({ alive }) => alive).length;
    for (const [process, { alive, flows }] of this.#state.processes.entries()) {
      if (!alive) continue;
      const { request } = flows[0]!;
      const { waits } = this.#actors[process]!;
      if (waits) deeds.push([process, "cancel"]);
      else if (request.ask === "wait") deeds.push([process, "begin"], [process, "begin"]);
      else if (request.ask !== "choose" || request.will.length + request.may.length > 0) {
        for (let weight = 0; weight < 4; weight++) deeds.push([process, "ask"]);
      }
      // The last one has somebody to see what it left.
      if (living > 1 && this.#random.below(12) === 0) deeds.push([process, "die"]);
    }
    return deeds;
  }

  async #perform(process: number, deed: Deed): Promise<void> {
    const actor = this.#actors[process]!;
    const { client } = actor;
    const { request } = this.#state.processes[process]!.flows[0]!;
    if (deed === "die") {
      await client.kill();
      actor.waits = false;
      this.#follow(process, "dies");
    } else if (deed === "cancel") client.abort();
    else if (request.ask === "choose") {
      const choice = this.#random.of([...request.will, ...request.may]);
      this.#follow(process, JSON.stringify(choice));
    } else if (request.ask === "read") {
      this.#follow(process, JSON.stringify(request.see(await client.read())));
    } else if (request.ask === "wait") {
      actor.waits = true;
      client.begin(request.step);
      this.#log.push(`   ${process} waits`);
    } else {
      const outcome = await client.attempt(request.step);
      this.#follow(process, outcome === "ERANGE" ? '"ERANGE"' : String(outcome === "done"));
    }
  }

  /** Waits until whatever can happen has, and follows. */
  async #settle(): Promise<void> {
    const pending = () =>
      this.#actors.filter(({ waits, client }) => waits && client.outcome === undefined).length;
    const living = this.#actors.filter((_, i) => this.#state.processes[i]!.alive)
      .map(({ client }) => client);
    for (let tries = 0;; tries++) {
      // Whoever looks finds the dead.
      await this.#semaphores.read();
      const before = pending();
      if (await this.#semaphores.waiting(living) === before && pending() === before) break;
      assert(tries < 5000, "Somebody is not told how its wait has ended");
      await passed(1);
    }
    const values = await this.#semaphores.read();
    const ended = this.#actors.keys().filter((process) => {
      const { waits, client } = this.#actors[process]!;
      return waits && client.outcome !== undefined;
    }).toArray();
    this.#followEnds(ended, values);
    for (const process of ended) this.#actors[process]!.waits = false;
    assertEquals(this.#state.values, values, "The values differ");
  }

  /** Follows waits that have ended, in an order that leads to these values. */
  #followEnds(ended: readonly number[], values: readonly number[]): void {
    const begun = { state: this.#state, logged: this.#log.length };
    let failure: unknown;
    for (const order of ordersOf(ended)) {
      try {
        for (const process of order) {
          this.#followEnd(process, this.#actors[process]!.client.outcome!);
        }
        if (String(this.#state.values) === String(values)) return;
      } catch (error) {
        failure = error;
      }
      this.#state = begun.state;
      this.#log.length = begun.logged;
    }
    throw failure ?? new Error(`No order of ${ended} leads to ${values}`);
  }

  #followEnd(process: number, outcome: Outcome): void {
    if (outcome === "aborted") return this.#follow(process, '"cancelled"');
    if (outcome === "ERANGE") return this.#follow(process, '"ERANGE"');
    assertEquals(outcome, "done");
    // What can be reversed happens first, and is told then.
    this.#follow(process, "done", '"done"');
    if (this.#state.processes[process]!.done[0]) this.#follow(process, '"done"');
  }

  /** Takes the transition of a process that the model calls so. */
  #follow(process: number, ...events: readonly string[]): void {
    const before = this.#state;
    const by = transitions(before, this.#places, false).find((one) =>
      one.process === process && events.includes(one.event)
    );
    if (by === undefined) {
      const known = transitions(before, this.#places, false).filter((one) =>
        one.process === process
      ).map(({ event }) => event).toArray();
      throw new Error(`${process}: ${events[0]} is none of ${known}`);
    }
    const { fault } = by.after.processes[process]!.flows[by.flow]!;
    assert(fault === undefined, fault);
    const witness = this.#model.witness?.(before, by.after) ?? before.witness;
    this.#state = { ...by.after, witness };
    const { request } = by;
    const what = request === undefined || request.ask === "choose" ? "" : ` ${request.ask}`;
    this.#log.push(`   ${process}${what}: ${by.event} -> ${by.after.values.join(" ")}`);
  }

  #check(): void {
    this.#model.check(this.#state);
    if (atRest(this.#state)) this.#model.checkAtRest(this.#state);
  }
}

/** All orders of a few. */
function* ordersOf(items: readonly number[]): Generator<readonly number[]> {
  if (items.length === 0) yield [];
  for (const item of items) {
    for (const rest of ordersOf(items.filter((other) => other !== item))) yield [item, ...rest];
  }
}
