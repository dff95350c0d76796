/**
 * What all structures of this room have as objects of the kernel.
 *
 * @module
 */

import type { PermissionOptions } from "../ipc/object.ts";
import { checkInternal } from "../ipc/internal.ts";
import type { SharedMemoryInfo } from "../ipc/memory_handle.ts";
import type { Members } from "./members.ts";

/** Refuses the constructor of a structure to programs, to which TypeScript does not. */
export function unmade(): never {
  throw new TypeError("Cannot construct this object: call create() or its like");
}

/** What every structure of this room is: memory and semaphores under one key, found as one. */
export abstract class SharedStructure implements Disposable {
  /** Whether this handle's `create` or `openOrCreate` made it. */
  readonly created: boolean;
  readonly #members: Members;

  /** @ignore */
  constructor(token: symbol, members: Members) {
    checkInternal(token, "create() or its like");
    this.#members = members;
    this.created = members.pair.created;
  }

  /** The identifier of its segment, by which other processes of this machine can take it. */
  get id(): number {
    return this.#members.id;
  }

  /** The key, undefined for a private one. */
  get key(): number | undefined {
    return this.#members.pair.memory.key;
  }

  /** Whether disposing this handle removes it. */
  get owned(): boolean {
    return this.#members.pair.memory.owned;
  }

  /** How many handles can take part at once, in all processes; who only looks needs no place. */
  get places(): number {
    return this.#members.shape.places;
  }

  /**
   * How many places are taken.
   *
   * @throws {IpcError} EIDRM if it is removed.
   */
  get members(): number {
    const { protocol, semaphores, shape } = this.#members;
    this.#members.check();
    const values = this.#members.explain("count the members of", () => semaphores.values);
    return values.slice(protocol.alive(1), protocol.alive(1) + shape.places)
      .filter((alive) => alive !== 0).length;
  }

  /**
   * Describes its segment.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): SharedMemoryInfo {
    this.#members.check();
    const info = this.#members.explain("describe", () => this.#members.pair.memory.stat());
    if (info.removed) throw this.#members.error("EIDRM", "describe");
    return info;
  }

  /**
   * Changes who may use it.
   *
   * @param permissions The owner, group and mode; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#members.check();
    this.#members.explain("change the permissions of", () => {
      this.#members.pair.memory.setPermissions(permissions);
      this.#members.semaphores.setPermissions(permissions);
    });
  }

  /**
   * Removes it, now: pending and later waits end with EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#members.remove();
  }

  /**
   * Ends the handle, and removes the structure if the handle owns it. What is still held of it counts
   * as left by a death. Does nothing the second time.
   */
  [Symbol.dispose](): void {
    this.#members.dispose();
  }
}
