/**
 * The primitives of `@sysv/ipc/sync` across hosts, on PostgreSQL.
 *
 * For programs that have outgrown one machine and keep their code: what a process holds comes back when
 * it dies, without leases, and a process that loses what it holds is told before others get it.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect(); // PGHOST and its like say where
 * const leader = await cluster.leader("my-app/reports");
 * await using leadership = await leader.campaign();
 * assertEquals(leadership.lost.aborted, false); // it leads
 * ```
 *
 * @module
 */

export type { ClusterBroadcastOptions } from "./broadcast.ts";
export {
  Cluster,
  type ClusterQueueOptions,
  type ClusterSemaphoreOptions,
  type ClusterSemaphoresOptions,
  type IdleOptions,
} from "./cluster.ts";
export { connect, type ConnectOptions } from "./connect.ts";
export { ClusterSetupError, SessionLostError } from "./errors.ts";
export { HeldMessage } from "./held_message.ts";
export {
  ClusterQueue,
  type QueueMessagesOptions,
  type QueueReceiveOptions,
  type QueueState,
  type QueueTryReceiveOptions,
} from "./queue.ts";
export type {
  Answered,
  Fenced,
  Held,
  KernelOnly,
  Losable,
  Promising,
  Remote,
  RemoteResult,
  Settled,
} from "./remote.ts";
export { ClusterSemaphores } from "./semaphores.ts";
export type { ServerOptions } from "./setup.ts";
export type { ClusterVariableOptions } from "./variable.ts";
