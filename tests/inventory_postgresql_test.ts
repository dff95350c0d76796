import { assert, assertEquals } from "@std/assert";
import { spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { list, orphans } from "@sysv/ipc/inventory";
import { ipc, ipcOutput } from "./support/cli.ts";
import { temporaryFolder } from "./support/folder.ts";
import { testWhere } from "./support/peer.ts";
import { until } from "./support/time.ts";

const VERSIONS = "/usr/lib/postgresql";

/** Where Debian keeps the programs of the server. */
const programs = existsSync(VERSIONS)
  ? readdirSync(VERSIONS).map((version) => join(VERSIONS, version, "bin")).find((folder) =>
    existsSync(join(folder, "initdb"))
  )
  : undefined;

/** Its user, as it refuses to run as root. */
const user = ["uid", "gid"].map((id) =>
  Number(spawnSync("id", [`-${id[0]}`, "postgres"], { encoding: "utf8" }).stdout)
) as [uid: number, gid: number];

const missing = programs === undefined
  ? "no PostgreSQL server"
  : process.geteuid?.() !== 0 || !(user[0] > 0)
  ? "no way to become the user postgres"
  : undefined;

const asPostgres = (command: string, ...args: string[]): [string, string[]] => [
  "setpriv",
  ["--reuid=postgres", "--regid=postgres", "--clear-groups", join(programs!, command), ...args],
];

/** Finds a port that nobody uses. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a server of its own in a folder. */
async function startServer(folder: string) {
  chownSync(folder, ...user);
  const data = join(folder, "data");
  const [program, args] = asPostgres("initdb", "-D", data, "--auth=trust", "--no-sync");
  const made = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  assertEquals(made.status, 0, made.stderr);
  const options = ["-D", data, "-h", "127.0.0.1", "-p", String(await freePort()), "-k", folder];
  const [server, words] = asPostgres("postgres", ...options);
  const child = spawn(server, words, { cwd: folder, stdio: "ignore" });
  const exit = new Promise((resolve) => child.on("close", resolve));
  // The 7th line tells the key and the identifier of its segment, the 8th whether it is ready.
  const lines = () => readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
  await until(() => existsSync(join(data, "postmaster.pid")) && /ready/.test(lines()[7] ?? ""));
  const [key, id] = lines()[6]!.trim().split(/\s+/).map(Number) as [number, number];
  return { pid: Number(lines()[0]), key, id, exit };
}

testWhere(missing, "list() tells the truth of a PostgreSQL server, alive and killed", async () => {
  using folder = temporaryFolder();
  const { pid, key, id, exit } = await startServer(folder.path);
  const segment = () => list({ type: "memory" }).find((object) => object.id === id)!;
  const isOrphan = () =>
    orphans().some(({ object }) => object.id === id && object.type === "memory");

  const alive = segment();
  assertEquals([alive.key, alive.uid, alive.inUse], [key, user[0], true]);
  assert(alive.attachments > 0 && alive.size > 0);
  const creator = alive.processes.find(({ role }) => role === "creator");
  assertEquals(creator, { pid, role: "creator", alive: true });
  assert(!isOrphan());
  // It is in use, so that reaping leaves it alone.
  const { stdout } = ipc(["reap", "--dry-run", "--type", "memory"]);
  assert(!new RegExp(`^memory +${alive.id} `, "m").test(stdout));

  process.kill(pid, "SIGKILL");
  await exit;
  // Its children notice, and detach.
  await until(() => segment().attachments === 0);
  await until(() => !segment().processes.some(({ alive }) => alive));
  const left = segment();
  assertEquals([left.inUse, left.meaning], [false, "not attached"]);
  assert(left.processes.some((process) => process.role === "creator" && process.pid === pid));
  assert(isOrphan());
  assert(ipcOutput("ls", "--orphans").includes(`pid ${pid},`));
  assertEquals(ipc(["rm", "--type", "memory", id]).status, 0);
  assertEquals(segment(), undefined);
});
