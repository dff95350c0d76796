/**
 * Semaphores that answer a primitive as a history says, and tell what it asks for then.
 *
 * @module
 */

import type { Step } from "../../sync/protocols.ts";
import type { SemaphoreArray } from "../../sync/array.ts";
import type { Answer, Request } from "./explore.ts";

/** What a primitive asks for, as text. */
export function textOf(request: Request | undefined): string {
  if (request === undefined) return "nothing";
  if (request.ask === "read" || request.ask === "choose") return request.ask;
  // To a primitive, giving back is trying.
  const ask = request.ask === "wait" ? "wait" : "try";
  return `${ask} ${JSON.stringify(request.step)}`;
}

/** Semaphores that follow a script. */
export class Script implements SemaphoreArray {
  readonly size = 6;
  /** What is asked for when the history is over. */
  readonly asked: Promise<Request>;
  readonly #history: Answer[];
  readonly #valuesOf: (seen: Answer) => number[];
  #tell!: (asked: Request) => void;

  /** Makes semaphores whose values are made of what the history says was seen of them. */
  constructor(history: readonly Answer[], valuesOf: (seen: Answer) => number[]) {
    this.asked = new Promise((resolve) => this.#tell = resolve);
    this.#history = [...history];
    this.#valuesOf = valuesOf;
  }

  async operate(step: Step): Promise<void> {
    const answer = await this.#ask({ ask: "wait", step, cancellable: true });
    if (answer === "cancelled") throw new DOMException("Cancelled", "AbortError");
    throwIfOutOfRange(answer);
  }

  async tryOperate(step: Step): Promise<boolean> {
    const answer = await this.#ask({ ask: "try", step });
    throwIfOutOfRange(answer);
    return answer === true;
  }

  async read(): Promise<number[]> {
    return this.#valuesOf(await this.#ask({ ask: "read", see: () => null }));
  }

  remove(): void {}

  #ask(request: Request): Promise<Answer> {
    const answer = this.#history.shift();
    if (answer !== undefined) return Promise.resolve(answer);
    this.#tell(request);
    return new Promise(() => {});
  }
}

function throwIfOutOfRange(answer: Answer): void {
  if (answer === "ERANGE") throw Object.assign(new Error(answer), { code: answer });
}
