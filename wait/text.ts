/**
 * The text of the waiter threads.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import type { Prototypes } from "../ffi/backend.ts";
import { runtime } from "../ffi/memory.ts";
import { errnoPrototypes } from "../ffi/symbols.ts";
import { cancels, mailbox, orders } from "./mailbox.ts";
import { blockingCalls, callNames, linuxThreadCalls, threadCalls, threadText } from "./worker.ts";

/** How often an idle thread of a Worker looks whether its owner is still there, in milliseconds. */
const IDLE_CHECK_MS = 1000;
/** The same while its owner has not taken the result of the last call. */
const PENDING_CHECK_MS = 10;

/** The calls that the platform has. */
function callsOf(isLinux: boolean): Prototypes {
  const { epoll_wait, ...everywhere } = blockingCalls;
  const calls = { ...everywhere, ...threadCalls, ...errnoPrototypes };
  return isLinux ? { ...calls, epoll_wait, ...linuxThreadCalls } : calls;
}

let text: string | undefined;

/** The text of all threads. */
export function textOfThreads(): string {
  return text ??= threadText(runtime(), {
    libraries: abi.libraries,
    table: callsOf(abi.isLinux),
    callNames,
    mailbox,
    orders,
    cancels,
    eintr: errors.EINTR,
    esrch: errors.ESRCH,
    tgkill: abi.tgkill,
    idleCheckMs: IDLE_CHECK_MS,
    pendingCheckMs: PENDING_CHECK_MS,
  });
}
