/**
 * What all primitives have: {@linkcode Primitive}.
 *
 * @module
 */

import { showAs, type Shown, shownKey } from "../ipc/inspect.ts";
import { checkInternal } from "../ipc/internal.ts";
import type { PermissionOptions } from "../ipc/object.ts";
import type { SemaphoreInfo } from "../ipc/set_handle.ts";
import type { Engine } from "./engine.ts";

/**
 * A handle of a primitive, which is a semaphore set in the kernel.
 *
 * @example
 * ```ts
 * import { Gauge, Mutex, type Primitive } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const primitives: Primitive[] = [Mutex.create(), Gauge.create()];
 * for (const primitive of primitives) {
 *   primitive.setPermissions({ mode: 0o660 });
 *   assertEquals(primitive.stat().mode, 0o660);
 *   primitive.remove();
 * }
 * ```
 */
export abstract class Primitive implements Disposable {
  readonly #engine: Engine;

  /** @ignore */
  constructor(token: symbol, engine: Engine) {
    checkInternal(token, "create() or its like");
    this.#engine = engine;
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#engine.set.id;
  }

  /** The key, undefined if it is private. */
  get key(): number | undefined {
    return this.#engine.set.key;
  }

  /** The name by which it was opened or created; undefined if that was a number, or nothing. */
  get name(): string | undefined {
    return this.#engine.set.name;
  }

  /** Whether the call that returned this handle created the object: of all `openOrCreate`, one did. */
  get created(): boolean {
    return this.#engine.set.created;
  }

  /**
   * Describes its semaphore set.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): SemaphoreInfo {
    return this.#engine.set.stat();
  }

  /**
   * Changes who may use it.
   *
   * @param permissions The owner, group and mode; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EINVAL if
   * the user namespace does not know the user or the group, EIDRM if it is removed.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#engine.set.setPermissions(permissions);
  }

  /**
   * Removes it, now: pending and later calls fail with EIDRM, in every process.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#engine.remove();
  }

  /** Ends the handle, and removes the object if the handle owns it. What is held of it stays good. */
  [Symbol.dispose](): void {
    this.#engine.dispose();
  }
}

/** Has `console.log` show the handles of a class: what all have, and this. */
export function showPrimitive<Handle extends Primitive>(
  title: string,
  prototype: Handle,
  look: (handle: Handle) => Shown,
): void {
  showAs(title, prototype, (handle) => ({
    id: () => handle.id,
    key: () => shownKey(handle.key),
    name: () => handle.name,
    ...look(handle),
  }));
}
