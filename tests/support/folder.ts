/**
 * Folders of tests.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** A folder, removed at the end of the block, or else of the program. */
export interface Folder extends Disposable {
  readonly path: string;
}

/** Makes a folder, among the temporary ones unless told otherwise. */
export function temporaryFolder(prefix = join(tmpdir(), "sysv-ipc-test-")): Folder {
  const path = mkdtempSync(prefix);
  const remove = () => rmSync(path, { recursive: true, force: true });
  // deno test fires the second alone, and bun test neither: scripts/test.ts removes what is left.
  process.on("exit", remove);
  globalThis.addEventListener?.("unload", remove);
  return { path, [Symbol.dispose]: remove };
}
