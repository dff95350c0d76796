import { assert, assertEquals, assertRejects } from "@std/assert";
import { readFileSync } from "node:fs";
import { ClusterSetupError } from "@sysv/ipc/cluster";
import { run } from "./support/child.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, server } from "./support/postgres.ts";
import { passed, until } from "./support/time.ts";

/** The schema as version 1 of it was. */
const firstSchema = readFileSync(new URL("support/cluster_schema_1.sql", import.meta.url), "utf8");
/** What a program of that version has left in it. */
const firstData = `
  SELECT ipc.attach('of version 1');
  SELECT * FROM ipc.open('kept', 'semaphore', '{7}', NULL);
  SELECT q.id FROM ipc.open_queue('kept') q, ipc.send(ipc.me(), q.id, 3, 'a message');
  SELECT * FROM ipc.open_topic('kept', 'variable', 'json', 1, '"a value"');`;

let databases = 0;

/** A database of version 1; `as` is a role that may do everything in it, and owns the schema. */
async function formerDatabase(as = "postgres"): Promise<string> {
  const database = `former_${databases++}`;
  const admin = await server();
  admin.query(`CREATE DATABASE ${database}`);
  if (as !== "postgres") {
    admin.query(`CREATE ROLE ${as} LOGIN; GRANT CREATE ON DATABASE ${database} TO ${as}`);
  }
  admin.query(firstSchema, { database, user: as });
  admin.query(firstData, { database, user: as });
  return database;
}

async function versionIn(database: string): Promise<string> {
  return (await server()).query("SELECT number FROM ipc.version", { database })[0]!;
}

/** What tells one schema from another: its tables with their columns, and its functions with their text. */
async function shapeOf(database: string): Promise<string[]> {
  const columns = `SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = 'ipc' ORDER BY 1, 2`;
  const functions = `SELECT oid::regprocedure::text, md5(prosrc) FROM pg_proc
    WHERE pronamespace = 'ipc'::regnamespace ORDER BY 1`;
  const admin = await server();
  return [...admin.query(columns, { database }), ...admin.query(functions, { database })];
}

testWhere(
  missingServer,
  "connect() migrates a schema of version 1 with all that is in it",
  async () => {
    const database = await formerDatabase();
    assertEquals(await versionIn(database), "1");
    // Whoever comes at once.
    const clusters = await Promise.all(Array.from({ length: 6 }, () => connected({ database })));
    const [cluster] = clusters;
    assertEquals(await (await cluster!.semaphore("kept")).value, 7);
    const queue = await cluster!.queue("kept", { maxBytes: 5 });
    assertEquals(await queue.state(), { messages: 1, held: 0, bytes: 9, maxBytes: undefined });
    const message = await queue.receive();
    assertEquals([message.type, message.text()], [3, "a message"]);
    assertEquals(await (await clusters[5]!.variable("kept")).get(), "a value");

    await connected({ database: "postgres" });
    assertEquals(await shapeOf(database), await shapeOf("postgres"));
  },
);

testWhere(missingServer, "A session of version 1 goes on while others migrate", async () => {
  const database = await formerDatabase();
  const admin = await server();
  // As the client of that version calls it.
  const calls = `
    SELECT ipc.attach('goes on');
    SELECT pg_sleep(0.3);
    SELECT ipc.send(ipc.me(), q.id, 1, 'after') FROM ipc.open_queue('kept') q;
    SELECT s.messages FROM ipc.open_queue('kept') q, ipc.queue_state(q.id) s;
    SELECT encode(r.data, 'escape') FROM ipc.open_queue('kept') q,
      ipc.receive(ipc.me(), q.id, 1, 9, 0, true, false, false) r;
    SELECT ipc.semop(ipc.me(), s.id, '{0,-1,1}', false) FROM ipc.open('kept', 'semaphore', '{7}', NULL) s;`;
  const connecting = passed(100).then(() => connected({ database }));
  const [answers, cluster] = await Promise.all([admin.queryLater(calls, { database }), connecting]);
  assertEquals(answers.slice(1), ["0", "2", "after", "0 2 6"]);
  const semaphore = await cluster.semaphore("kept");
  // The server may not know yet that the session has ended.
  for (let tries = 0; await semaphore.value !== 7; tries++) {
    assert(tries < 200, `${await semaphore.value}`);
    await passed(20);
  }
});

testWhere(
  missingServer,
  "A client that is killed as it migrates leaves nothing half done",
  async () => {
    const database = await formerDatabase();
    const before = await shapeOf(database);
    const admin = await server();
    // Who reads a table keeps others from changing it.
    const reading = admin.queryLater(
      "BEGIN; LOCK TABLE ipc.receiver IN ACCESS SHARE MODE; SELECT pg_sleep(30)",
      { database },
    );
    const waiting = (event: string) =>
      admin.query(
        `SELECT count(*) FROM pg_stat_activity WHERE datname = '${database}' AND wait_event = '${event}'`,
      )[0]!;
    await until(() => waiting("PgSleep") === "1");
    const module = JSON.stringify(new URL("../cluster/mod.ts", import.meta.url).href);
    const options = JSON.stringify({ ...admin.options, database });
    const program = `import { connect } from ${module}; await connect(${options});`;
    await using child = run(program, { permissions: ["-A"], configured: true });
    await until(() => waiting("relation") === "1");
    await child.kill();
    assertEquals([await versionIn(database), await shapeOf(database)], ["1", before]);
    admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
    );
    await assertRejects(() => reading);
    const cluster = await connected({ database });
    assertEquals(await (await cluster.semaphore("kept")).value, 7);
  },
);

testWhere(
  missingServer,
  "A role that may not migrate is given the SQL, and its rights are kept",
  async () => {
    const database = await formerDatabase("owner");
    const admin = await server();
    const grant = (role: string) =>
      `CREATE ROLE ${role} LOGIN; GRANT USAGE ON SCHEMA ipc TO ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ipc TO ${role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA ipc TO ${role};`;
    admin.query(grant("worker") + grant('"another ""worker"""'), { database });
    const asWorker = { database, user: "worker" };
    const error = await assertRejects(
      () => connected(asWorker),
      ClusterSetupError,
      "Cannot change",
    );
    assertEquals(await versionIn(database), "1");
    admin.query(error.sql!, { database });
    // Whoever was let use the tables may use the new ones, which belong to whom the others belong.
    for (const user of ["worker", 'another "worker"', "owner"]) {
      const queue = await (await connected({ database, user })).queue("limited", { maxBytes: 1 });
      await queue.send("x");
      await assertRejects(() => queue.send("y", { timeout: 1 }), DOMException);
      assertEquals((await queue.receive()).text(), "x");
    }
    const owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'ipc'";
    assertEquals(admin.query(owners, { database }), ["owner"]);
  },
);

testWhere(missingServer, "A role that may become the owner of the schema migrates it", async () => {
  const database = await formerDatabase("team");
  (await server()).query("CREATE ROLE member LOGIN IN ROLE team");
  const cluster = await connected({ database, user: "member" });
  assertEquals(await (await cluster.semaphore("kept")).value, 7);
  const owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'ipc'";
  assertEquals((await server()).query(owners, { database }), ["team"]);
});
