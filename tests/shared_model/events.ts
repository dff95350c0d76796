/**
 * What the events do to words.
 *
 * @module
 */

import type { Answer } from "../../shared/flow.ts";
import type { Asked } from "./acts.ts";

/** What becomes of a word. */
export function changed(request: Asked, from: number, bit: number): number {
  switch (request.ask) {
    case "store":
      return request.value | 0;
    case "add":
      return (from + request.value) | 0;
    case "compareExchange":
      return from === (request.from | 0) ? request.to : from;
    case "or":
      return from | request.bits;
    case "and":
      return from & request.bits;
    case "mark":
      return from | bit;
    case "unmark":
      return from & ~bit;
    case "take":
      return 0;
    default:
      return from;
  }
}

/** What is told of a word that was so and has become so. */
export function answerTo(request: Asked, from: number, to: number): Answer {
  switch (request.ask) {
    case "load":
      return request.see?.(from) ?? from;
    case "compareExchange":
      return from === (request.from | 0);
    case "unmark":
      return from !== to;
    case "add":
    case "take":
      return from;
    default:
      return true;
  }
}

export function describe(request: Asked): string {
  if ("gate" in request) return `${request.ask} gate ${request.gate}`;
  return "word" in request ? `${request.ask} word ${request.word}` : request.ask;
}
