/**
 * Where runtimes look for what `console.log` shows of an object.
 *
 * @module
 */

/** The names of the methods: Deno's, and Node's, which Bun calls too. */
export const inspectHooks: readonly symbol[] = [
  Symbol.for("Deno.customInspect"),
  Symbol.for("nodejs.util.inspect.custom"),
];
