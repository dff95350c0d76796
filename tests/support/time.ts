/**
 * Waiting in tests: on conditions, and for a while only where nothing can be asked.
 *
 * @module
 */

/** Waits until something is true, and fails if it does not become so. */
export async function until(condition: () => boolean, milliseconds = 20_000): Promise<void> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > milliseconds) {
      throw new Error(`Not within ${milliseconds} ms: ${condition}`);
    }
    await passed(1);
  }
}

/** Whether something becomes true within a tenth of a second. */
export async function becomes(condition: () => boolean): Promise<boolean> {
  return await until(condition, 100).then(() => true, () => false);
}

/** Waits for some time. */
export function passed(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Whether a promise resolves before one has to think that it never will. */
export async function settles(promise: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(resolve, 20_000, false));
  return await Promise.race([promise.then(() => true), late]).finally(() => clearTimeout(timer));
}
