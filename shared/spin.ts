/**
 * How long to look before sleeping.
 *
 * @module
 */

/** How often to look at a lock that is held: its holder needs but moments, unless there is one CPU. */
export const SPINS: number = (navigator.hardwareConcurrency ?? 2) > 1 ? 200 : 0;
