/**
 * Pipes of tests.
 *
 * @module
 */

import { type Pipe, pipe } from "@sysv/ipc/unix";

/** Makes many pipes, closed at the end of the block. */
export function pipes(count: number): Pipe[] & Disposable {
  const all: Pipe[] = [];
  const close = () => {
    for (const ends of all) ends[Symbol.dispose]();
  };
  try {
    while (all.length < count) all.push(pipe());
  } catch (error) {
    close();
    throw error;
  }
  return Object.assign(all, { [Symbol.dispose]: close });
}

/** Writes until there is no room. */
export function fill({ writer }: Pipe): void {
  while (writer.tryWrite(new Uint8Array(4096)) !== undefined);
}
