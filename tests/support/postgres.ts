/**
 * PostgreSQL servers for tests, each in a folder of its own: the newest that Debian has installed, or the
 * one whose programs stand in the folder that IPC_TEST_POSTGRES names.
 *
 * @module
 */

import { execFile, execFileSync } from "node:child_process";
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after } from "node:test";
import { type Cluster, connect, type ConnectOptions } from "@sysv/ipc/cluster";

const versions = "/usr/lib/postgresql";

/** The folder of the server's programs. */
function findPrograms(): string | undefined {
  const given = process.env.IPC_TEST_POSTGRES;
  if (given !== undefined) return given;
  if (!existsSync(versions)) return undefined;
  const found = readdirSync(versions)
    .filter((version) => existsSync(join(versions, version, "bin/initdb")))
    .sort((one, other) => Number(other) - Number(one));
  return found[0] && join(versions, found[0], "bin");
}

const programs = findPrograms();
/** The client, which not every distribution of the server has. */
const psql = programs !== undefined && existsSync(join(programs, "psql"))
  ? join(programs, "psql")
  : "psql";
const isRoot = process.getuid?.() === 0;

/** Why there is no server, if there is none. */
export const missingServer: string | undefined = programs === undefined
  ? "no PostgreSQL server"
  : undefined;

/** Runs a program of the server. It refuses to run as root. */
function asServer(program: string, ...args: string[]): [string, string[]] {
  const path = join(programs!, program);
  if (!isRoot) return [path, args];
  return ["setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", path, ...args]];
}

/** A port that is free now. */
export function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** A server that listens on 127.0.0.1, and on other addresses if it is to. */
export class Server {
  readonly folder: string;
  readonly port: number;
  readonly #addresses: string;
  /** What connects to it as its owner. */
  readonly options: ConnectOptions;

  private constructor(folder: string, port: number, addresses: string) {
    this.folder = folder;
    this.#addresses = addresses;
    // With a filter Deno does not run what is to be run after all tests, and it fires the second alone.
    const end = () => this.end();
    process.on("exit", end);
    globalThis.addEventListener?.("unload", end);
    this.port = port;
    this.options = { host: "127.0.0.1", port, user: "postgres", database: "postgres" };
  }

  /** Makes a database and starts its server; `network` is one from which everybody may connect. */
  static async start(network?: string): Promise<Server> {
    const folder = ownFolder();
    const data = join(folder, "data");
    const [initdb, args] = asServer("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N");
    execFileSync(initdb, args, { stdio: "pipe" });
    if (network !== undefined) {
      appendFileSync(join(data, "pg_hba.conf"), `host all all ${network} trust\n`);
    }
    const server = new Server(folder, await freePort(), network === undefined ? "127.0.0.1" : "*");
    server.start();
    return server;
  }

  /** Makes a standby of it, which follows it asynchronously once it is started. Its sessions end by that. */
  async standby(): Promise<Server> {
    const folder = ownFolder();
    const data = join(folder, "data");
    this.stop("fast");
    execFileSync("cp", ["-a", join(this.folder, "data"), data]);
    this.start();
    writeFileSync(join(data, "standby.signal"), "");
    const from = `host=127.0.0.1 port=${this.port} user=postgres`;
    appendFileSync(join(data, "postgresql.auto.conf"), `primary_conninfo = '${from}'\n`);
    return new Server(folder, await freePort(), "127.0.0.1");
  }

  /** Makes a primary of a standby. */
  promote(): void {
    this.#control("promote", "-w");
  }

  /** Starts it, and waits until it answers. */
  start(): void {
    const settings = [
      `-p ${this.port}`,
      `-c listen_addresses=${this.#addresses}`,
      `-c unix_socket_directories=${this.folder}`,
      "-c max_connections=250",
      "-c shared_buffers=32MB",
    ].join(" ");
    this.#control("start", "-w", "-o", settings, "-l", join(this.folder, "log"));
  }

  /** Stops it: at once, as a crash would, unless told otherwise. */
  stop(mode: "immediate" | "fast" = "immediate"): void {
    this.#control("stop", "-m", mode);
  }

  /** What tells programs where it is. */
  get environment(): Record<string, string> {
    const { host, user, database } = this.options;
    return { PGHOST: host!, PGPORT: `${this.port}`, PGUSER: user!, PGDATABASE: database! };
  }

  /** Runs SQL, and returns the rows, their fields with | between. */
  query(sql: string, options?: QueryOptions): string[] {
    const output = execFileSync(psql, this.#session(options), {
      encoding: "utf8",
      stdio: "pipe",
      input: sql,
    });
    return rowsOf(output);
  }

  /** Runs SQL meanwhile. */
  queryLater(sql: string, options?: QueryOptions): Promise<string[]> {
    return new Promise((resolve, reject) => {
      const child = execFile(psql, this.#session(options), (error, output) => {
        if (error === null) resolve(rowsOf(output));
        else reject(error);
      });
      child.stdin!.end(sql);
    });
  }

  #session({ user = "postgres", database = "postgres" }: QueryOptions = {}): string[] {
    const where = ["-h", "127.0.0.1", "-p", `${this.port}`, "-U", user, "-d", database];
    return [...where, "-XAtq", "-v", "ON_ERROR_STOP=1"];
  }

  /** Stops it, and removes all that it wrote. Does nothing the second time. */
  end(): void {
    if (!existsSync(this.folder)) return;
    if (existsSync(join(this.folder, "data/postmaster.pid"))) this.stop();
    rmSync(this.folder, { recursive: true });
  }

  #control(...args: string[]): void {
    const [program, all] = asServer("pg_ctl", "-D", join(this.folder, "data"), ...args);
    // The server keeps what it is given as standard output.
    execFileSync(program, all, { stdio: "ignore" });
  }
}

/** A folder that belongs to the server. */
function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "sysv-ipc-postgres-"));
  if (isRoot) chownSync(folder, idOf("-u"), idOf("-g"));
  return folder;
}

/** Who asks, and where. */
export interface QueryOptions {
  readonly user?: string;
  readonly database?: string;
}

function rowsOf(output: string): string[] {
  return output.split("\n").filter((line) => line !== "");
}

function idOf(which: "-u" | "-g"): number {
  return Number(execFileSync("id", [which, "postgres"], { encoding: "utf8" }));
}

const clusters: Cluster[] = [];
let shared: Promise<Server> | undefined;
// Not in the test that needs it first, at whose end Bun would run it.
after(async () => {
  await Promise.all(clusters.map((cluster) => cluster.close()));
  (await shared)?.end();
});

/** The server that the tests of a file share, which ends with them. */
export function server(): Promise<Server> {
  shared ??= Server.start();
  return shared;
}

/** Connects to the server that the tests of a file share, until the end of the tests. */
export async function connected(options: ConnectOptions = {}): Promise<Cluster> {
  const cluster = await connect({ ...(await server()).options, ...options });
  clusters.push(cluster);
  return cluster;
}

let names = 0;

/** A name that no other test of the file uses. */
export function nameIn(what: string): string {
  return `${what}/${names++}`;
}
