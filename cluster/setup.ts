/**
 * How a connection is made ready: settings, what stands between, the version of the schema.
 *
 * @module
 */

// @ts-types="@types/pg"
import pg from "pg";
import { checkInteger, checkObject } from "../ffi/check.ts";
import { ClusterSetupError } from "./errors.ts";
import { endOf, type Ends } from "./ending.ts";
import { checkText } from "./sizes.ts";
import { grantsTo, migrationFrom, version } from "./schema/mod.ts";

/** Where the server is. */
export interface ServerOptions {
  /** A URL, such as `postgres://user:password@db.example:5432/ipc`; it stands for all the rest. */
  connectionString?: string | undefined;
  /**
   * The host.
   *
   * @default {"localhost"} or PGHOST.
   */
  host?: string | undefined;
  /**
   * The port.
   *
   * @default {5432} or PGPORT.
   */
  port?: number | undefined;
  /** The role: PGUSER or the user of the system unless given. */
  user?: string | undefined;
  /** The password, or what returns it. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** The database, named as the role unless given. One of its own is best. */
  database?: string | undefined;
  /** Whether, and how, the connection is encrypted: as `tls.connect` takes it. */
  ssl?: boolean | object | undefined;
}

/** The oldest PostgreSQL that has all settings. */
const OLDEST = 14;
/** What PostgreSQL says to a role that may not, and to one of two that wait for each other. */
const DENIED = "42501";
const DEADLOCK = "40P01";
/** Has those who set the schema up wait for each other. */
const SETUP_LOCK = "SELECT pg_advisory_xact_lock(1769235302, 3)";

/** What the session is told at its start, whatever the role, the database or a URL says. */
const settings: Readonly<Record<string, string>> = {
  // A host that is gone is known after 10 to 11 s, which is later than its holder knows.
  tcp_keepalives_idle: "5",
  tcp_keepalives_interval: "2",
  tcp_keepalives_count: "3",
  tcp_user_timeout: "10000",
  client_connection_check_interval: "1000",
  // A session lives as long as its process, and waits as long as it likes.
  statement_timeout: "0",
  idle_session_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  // Nobody waits for a lock so long that the server seems to be gone.
  lock_timeout: "1000",
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  // What has to outlive a crash of the server asks for it.
  synchronous_commit: "off",
  // The newest version of a row is found from the end of an index. Compiling a plan would take a second.
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  jit: "off",
  // No function or operator of somebody else is meant.
  search_path: "pg_catalog",
};

const startup = Object.entries(settings)
  .map(([name, value]) => `-c ${name}=${value.replaceAll(" ", "\\ ")}`).join(" ");

/** What cannot be said at the start where a URL has options of its own. */
const setAll = Object.entries(settings)
  .map(([name, value]) => `set_config('${name}', '${value}', false)`).join(", ");

/** Checks where the server is said to be, as what is wrong would only be found by a timer, or never. */
export function checkServer(
  { connectionString, port, password, ssl, ...texts }: ServerOptions,
): void {
  for (const [name, value] of Object.entries({ connectionString, ...texts })) {
    if (value !== undefined) checkText(value, name);
  }
  // Not told what it is: there may be a password in it.
  if (!/^(?:postgres(?:ql)?:\/\/|socket:|\/|$)/.test(connectionString ?? "")) {
    throw new TypeError(
      "Cannot use the connectionString: expected a URL such as postgres://host/database",
    );
  }
  if (port !== undefined) checkInteger(port, 1, 65535, `connect to port ${port}`);
  if (!["undefined", "string", "function"].includes(typeof password)) {
    throw new TypeError("Cannot use the password: expected a text or a function");
  }
  if (ssl !== undefined && typeof ssl !== "boolean") checkObject(ssl, "ssl");
}

/** As many bytes of a label as the server keeps. */
const MAX_LABEL = 63;

/** Makes a client that is not connected yet. */
export function newClient(server: ServerOptions, label: string): pg.Client {
  const given = Object.entries(server).filter(([, value]) => value !== undefined);
  const client = new pg.Client({
    ...Object.fromEntries(given),
    application_name: label.slice(0, MAX_LABEL),
    keepAlive: true,
    keepAliveInitialDelayMillis: 5000,
    options: startup,
  });
  // The link listens too; without a listener the error would end the program.
  client.on("error", () => {});
  return client;
}

/** Connects, and makes sure that a session means what it has to. */
export async function prepare(client: pg.Client): Promise<void> {
  await client.connect();
  await refusePooler(client);
  await refuseOld(client);
  await prepareSchema(client);
}

/** Does something first with a client, which ends with it if that fails, or is ended from outside. */
export async function within<Result>(
  client: pg.Client,
  ends: Ends,
  first: () => Promise<Result>,
): Promise<Result> {
  const ending = endOf(ends, "connect to the server", performance.now());
  const result = first();
  const ended = ending.ended.then(({ reason }) => {
    hangUp(client);
    throw reason;
  });
  try {
    return await Promise.race([result, ended]);
  } catch (error) {
    await client.end().catch(() => {});
    throw explained(error);
  } finally {
    // Whichever came second.
    result.catch(() => {});
    ending.forget();
  }
}

/** Ends a connection at once, whatever the server is at. It cannot be told, so the socket just ends. */
export function hangUp(client: pg.Client): void {
  const { connection } = client as unknown as {
    connection: { stream: { destroy(): void } };
  };
  connection.stream.destroy();
}

/** Behind a pooler another backend answers than the one that said hello. */
async function refusePooler(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  const { processID } = client as unknown as { processID: number | null };
  if (processID === rows[0]!.pid) return;
  throw new ClusterSetupError(`Cannot use this connection: ${pooled}`);
}

const pooled = "a pooler stands between, and may give each transaction another session. " +
  "Connect to PostgreSQL itself";

async function refuseOld(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: number; name: string; standby: boolean }>(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS name, " +
      `pg_is_in_recovery() AS standby, ${setAll}`,
  );
  const { number, name, standby } = rows[0]!;
  if (number < OLDEST * 10000) {
    throw new ClusterSetupError(
      `Cannot use PostgreSQL ${name}: expected version ${OLDEST} or later`,
    );
  }
  if (number >= 170000) await client.query("SET transaction_timeout = 0");
  if (standby) throw new ClusterSetupError("Cannot use this server: it is a standby");
}

/** Makes or migrates the schema. Several processes may come at once. */
async function prepareSchema(client: pg.Client): Promise<void> {
  while (await versionOf(client) !== version) {
    try {
      await client.query("SET lock_timeout = 0");
      await migrate(client);
    } catch (error) {
      if (codeOf(error) !== DEADLOCK) throw error;
      // Sessions that go on meanwhile lock tables in another order. It is one of them, or this one again.
      await client.query("ROLLBACK");
    } finally {
      await client.query("SET lock_timeout = 1000").catch(() => {});
    }
  }
}

/** Changes all or nothing, in one transaction. One process does it; others wait for it. */
async function migrate(client: pg.Client): Promise<void> {
  await client.query("BEGIN");
  await client.query(SETUP_LOCK);
  const found = await versionOf(client);
  if (found > version) {
    throw new ClusterSetupError(
      `Cannot use schema "ipc" of version ${found}: this module knows version ${version}. Update it`,
    );
  }
  if (found < version) await change(client, found);
  await client.query("COMMIT");
}

async function change(client: pg.Client, found: number): Promise<void> {
  const sql = migrationFrom(found);
  const { rows } = await client.query<{ role: string }>("SELECT current_user AS role");
  try {
    await client.query(sql);
  } catch (error) {
    if (codeOf(error) !== DENIED) throw error;
    const { role } = rows[0]!;
    const verb = found === 0 ? "create" : "change";
    throw new ClusterSetupError(
      `Cannot ${verb} schema "ipc": role "${role}" may not. ` +
        "Have a role that may run the SQL in the property sql of this error, once",
      { sql: `BEGIN;\n${sql}\n${grantsTo(role)}\nCOMMIT;\n`, cause: error },
    );
  }
}

/** The version of the schema that is there, 0 if there is none. */
async function versionOf(client: pg.Client): Promise<number> {
  type Row = { known: boolean; allowed: boolean; role: string };
  const { rows: [schema] } = await client.query<Row>(`
    SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'version') AS known,
      has_schema_privilege(n.oid, 'USAGE') AND coalesce((SELECT has_table_privilege(oid, 'UPDATE') FROM pg_class
        WHERE relnamespace = n.oid AND relname = 'session'), true) AS allowed, current_user AS role
      FROM pg_namespace n WHERE nspname = 'ipc'`);
  if (schema === undefined) return 0;
  if (!schema.known) {
    throw new ClusterSetupError(
      'Cannot use schema "ipc" of this database: it belongs to something else. ' +
        "Use a database of its own",
    );
  }
  if (!schema.allowed) {
    throw new ClusterSetupError(
      `Cannot use schema "ipc": role "${schema.role}" may not. ` +
        "Have its owner run the SQL in the property sql of this error, once",
      { sql: `${grantsTo(schema.role)}\n` },
    );
  }
  const { rows } = await client.query<{ number: number }>("SELECT number FROM ipc.version");
  return rows[0]!.number;
}

/** PgBouncer does not know the parameter that carries the settings. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!/unsupported startup parameter/i.test(error.message)) return error;
  return new ClusterSetupError(`Cannot use this connection: ${pooled}`, { cause: error });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
