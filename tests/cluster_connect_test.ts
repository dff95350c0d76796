import { assert, assertEquals, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import { chownSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ClusterSetupError, connect } from "@sysv/ipc/cluster";
import { temporaryFolder } from "./support/folder.ts";
import { testWhere } from "./support/peer.ts";
import { connected, freePort, missingServer, nameIn, server } from "./support/postgres.ts";
import { passed } from "./support/time.ts";

let databases = 0;

/** A database in which nothing was made. */
async function freshDatabase(): Promise<string> {
  const name = `fresh_${databases++}`;
  (await server()).query(`CREATE DATABASE ${name}`);
  return name;
}

testWhere(missingServer, "connect() makes the schema once, whoever comes at once", async () => {
  const database = await freshDatabase();
  const clusters = await Promise.all(Array.from({ length: 8 }, () => connected({ database })));
  assertEquals(new Set(clusters.map(({ session }) => session)).size, 8);
  const [one, other] = clusters;
  const guard = await (await one!.mutex("m")).lock();
  assertEquals(await (await other!.mutex("m")).tryLock(), undefined);
  await guard.release();
});

testWhere(missingServer, "connect() takes a connection string", async () => {
  const { port } = await server();
  await using cluster = await connect({
    connectionString: `postgres://postgres@127.0.0.1:${port}/postgres`,
    label: "by its URL",
  });
  const named = `SELECT label FROM ipc.session WHERE sid = ${cluster.session}`;
  assertEquals((await server()).query(named), ["by its URL"]);
});

testWhere(
  missingServer,
  "connect() refuses a schema that is newer, or of something else",
  async () => {
    const database = await freshDatabase();
    await (await connected({ database })).close();
    (await server()).query("UPDATE ipc.version SET number = 99", { database });
    await assertRejects(() => connected({ database }), ClusterSetupError, "of version 99");

    const foreign = await freshDatabase();
    (await server()).query("CREATE SCHEMA ipc", { database: foreign });
    await assertRejects(
      () => connected({ database: foreign }),
      ClusterSetupError,
      "something else",
    );
  },
);

testWhere(missingServer, "connect() gives a role that may not create the SQL to run", async () => {
  const database = await freshDatabase();
  const admin = await server();
  admin.query("CREATE ROLE guest LOGIN");
  const asGuest = { database, user: "guest" };
  const creates = await assertRejects(() => connected(asGuest), ClusterSetupError, "may not");
  admin.query(creates.sql!, { database });
  const cluster = await connected(asGuest);
  const queue = await cluster.queue("q");
  await queue.send("by the guest");
  assertEquals((await queue.receive()).text(), "by the guest");
  await (await (await cluster.mutex("m")).lock()).release();

  admin.query("CREATE ROLE stranger LOGIN");
  const asStranger = { database, user: "stranger" };
  const uses = await assertRejects(() => connected(asStranger), ClusterSetupError, "may not");
  admin.query(uses.sql!, { database });
  await (await (await (await connected(asStranger)).mutex("m")).lock()).release();
});

testWhere(missingServer, "What a role is set to does not end sessions, nor waits", async () => {
  const admin = await server();
  admin.query("CREATE ROLE hasty LOGIN SUPERUSER");
  for (
    const setting of [
      "statement_timeout = '50ms'",
      "lock_timeout = '1ms'",
      "idle_session_timeout = '300ms'",
      "idle_in_transaction_session_timeout = '50ms'",
      "default_transaction_isolation = 'serializable'",
      "default_transaction_read_only = on",
    ]
  ) admin.query(`ALTER ROLE hasty SET ${setting}`);
  const cluster = await connected({ user: "hasty" });
  const mutex = await cluster.mutex(nameIn("hasty"));
  const guard = await mutex.lock();
  await assertRejects(() => mutex.lock({ timeout: 800 }), DOMException);
  assertEquals(cluster.lost.aborted, false);
  await guard.release();
});

testWhere(
  missingServer,
  "connect() says what is wrong with its options before it connects",
  async () => {
    for (const lostAfter of [0, 99, 8001, NaN]) {
      await assertRejects(() => connect({ lostAfter }), RangeError);
    }
    await assertRejects(() => connect("postgres://" as never), TypeError);
    await assertRejects(() => connect({ host: "127.0.0.1", port: 1 }));
  },
);

const bouncer = "/usr/sbin/pgbouncer";
const noBouncer = missingServer ?? (existsSync(bouncer) ? undefined : "no PgBouncer");

for (const mode of ["session", "transaction"]) {
  for (const ignored of ["", "ignore_startup_parameters = options"]) {
    const how = ignored === "" ? "" : ", though it ignores what it does not know";
    testWhere(noBouncer, `connect() refuses PgBouncer in ${mode} mode${how}`, async () => {
      const admin = await server();
      const port = await freePort();
      using folder = temporaryFolder();
      const file = join(folder.path, "pgbouncer.ini");
      const users = join(folder.path, "users.txt");
      writeFileSync(users, '"postgres" ""\n');
      writeFileSync(
        file,
        `[databases]\n* = host=127.0.0.1 port=${admin.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n` +
          `listen_port = ${port}\nunix_socket_dir =\nauth_type = trust\nauth_file = ${users}\n` +
          `pool_mode = ${mode}\n${ignored}\n`,
      );
      const isRoot = process.getuid?.() === 0;
      if (isRoot) { for (const path of [folder.path, file, users]) chownSync(path, 65534, 65534); }
      const [command, args] = isRoot
        ? ["setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", bouncer, file]]
        : [bouncer, [file]];
      const pooler = spawn(command as string, args as string[], { stdio: "ignore" });
      const ended = new Promise((resolve) => pooler.on("exit", resolve));
      try {
        const options = { ...admin.options, port };
        for (let tries = 0; tries < 100; tries++) {
          const error = await assertRejects(() => connect(options), Error);
          if ((error as { code?: string }).code !== "ECONNREFUSED") {
            assert(error instanceof ClusterSetupError, `${error}`);
            assert(error.message.includes("pooler"), error.message);
            return;
          }
          await passed(50);
        }
        throw new Error("PgBouncer does not answer");
      } finally {
        process.kill(pooler.pid!, "SIGKILL");
        await ended;
      }
    });
  }
}
