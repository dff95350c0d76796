/**
 * The turn of the event loop. What can happen at once resolves in a microtask, and a program that never runs out
 * of such work would starve its timers, signals and aborts. So every promise form asks here, and gives way when
 * the loop has not turned for about 10 ms.
 *
 * @module
 */

/** How long the loop may go without a turn, in milliseconds. */
const MAX_DELAY = 10;
/** The maximum number of calls between two reads of the clock, which cost more than all else here. */
const MAX_STRIDE = 16;
/**
 * How many rounds of the loop make a turn. One is enough for timers; but a loop that always has an
 * immediate pending looks for signals and I/O only now and then, in Deno every 61 rounds or so.
 */
const ROUNDS = 32;

/** Calls left until the next look at the clock, and how many there are between two. */
let left = 1;
let stride = 1;
let lookedAt = 0;
/** When the loop was asked to report its next round: until it does, it has not turned. */
let askedAt = 0;
let asked = false;
/** The turn that is under way. */
let turning: Promise<void> | undefined;

/**
 * Counts a promise that is about to resolve at once.
 *
 * @returns What it has to wait for first, or undefined as long as the loop is not due.
 */
export function turn(): Promise<void> | undefined {
  return --left > 0 ? undefined : look();
}

function look(): Promise<void> | undefined {
  // All that is asked for meanwhile resolves after the turn too, in the order of the calls.
  if (turning !== undefined) return turning;
  const now = performance.now();
  // Slow work between the calls is looked at more often.
  stride = now - lookedAt < 1 ? Math.min(2 * stride, MAX_STRIDE) : 1;
  left = stride;
  lookedAt = now;
  if (!asked) askForRound(now);
  else if (now - askedAt >= MAX_DELAY) return turning = giveWay();
  return undefined;
}

/** Has the loop report its next round, which shows that it turns. */
function askForRound(now: number): void {
  asked = true;
  askedAt = now;
  process.getBuiltinModule("node:timers").setImmediate(() => asked = false);
}

async function giveWay(): Promise<void> {
  const { setImmediate } = process.getBuiltinModule("node:timers");
  left = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await new Promise<void>((resolve) => void setImmediate(resolve));
  }
  turning = undefined;
  stride = left = 1;
}
