/**
 * The way into a cluster: {@linkcode connect}.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import { Cluster } from "./cluster.ts";
import { Link, type Statement } from "./link.ts";
import { Removals } from "./removals.ts";
import { checkServer, newClient, prepare, type ServerOptions, within } from "./setup.ts";
import { checkText } from "./sizes.ts";
import { Tickets } from "./tickets.ts";
import { readWaitOptions, type WaitOptions } from "../wait/options.ts";

/** Options of {@linkcode connect}. What is left out is as the environment says: PGHOST and its like. */
export interface ConnectOptions extends ServerOptions, WaitOptions {
  /**
   * What the session is called in `pg_stat_activity` and in `ipc.session`.
   *
   * @default {"ipc"}
   */
  label?: string | undefined;
  /**
   * The milliseconds without an answer after which the session is lost. The server gives what it held
   * to others after about 10 s: what is larger than 8000 is too late.
   *
   * @default {6000}
   */
  lostAfter?: number | undefined;
}

interface Started {
  readonly sid: number;
  readonly timeline: number;
}

const start: Statement = {
  name: "ipc_start",
  text: "SELECT ipc.attach($1) AS sid, " +
    "('x'||substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline",
};

/**
 * Connects to a PostgreSQL server, from version 14 on, and makes or migrates the schema `ipc` in its
 * database if that is needed.
 *
 * The connection is one session, which is to the server what a process is to the kernel: what it holds
 * comes back when it ends, however it ends. It keeps the program alive until it is closed.
 *
 * @param options Where the server is, and what the session is called.
 * @returns A promise of the cluster, to close with `await using`. It rejects with
 * {@linkcode ClusterSetupError} if the database cannot be used as it is, such as through a pooler, and
 * with what the server or the network say if it cannot be reached.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect({ label: "reports" });
 * const mutex = await cluster.mutex("my-app/connect");
 * await using guard = await mutex.lock();
 * // fetch(url, { signal: guard.lost, headers: { "fencing-term": String(guard.term) } });
 * assertEquals([guard.abandoned, guard.term > 0], [0, true]);
 * ```
 */
export async function connect(options: ConnectOptions = {}): Promise<Cluster> {
  checkOptions(options);
  const { label = "ipc", lostAfter = 6000, timeout, signal, ...server } = options;
  checkInteger(lostAfter, 100, 8000, `take a session for lost after ${lostAfter} milliseconds`);
  checkText(label, "label");
  checkServer(server);
  const limits = readWaitOptions({ timeout, signal });
  signal?.throwIfAborted();
  const client = newClient(server, label);
  const { sid, timeline } = await within(client, {
    timeout: limits.timeout,
    signals: [limits.signal],
  }, async () => {
    await prepare(client);
    const { rows } = await client.query<Started>({ ...start, values: [label] });
    return rows[0]!;
  });
  const link = new Link(client, sid, lostAfter);
  const tickets = new Tickets(link, sid);
  const removals = new Removals(link);
  client.on("notification", ({ payload = "" }) => tickets.hear(payload));
  return new Cluster({ sid, timeline, link, tickets, removals });
}
