import { assertEquals, assertRejects } from "@std/assert";
import { createServer, type Server as NetServer } from "node:net";
import { type Cluster, connect } from "@sysv/ipc/cluster";
import { wrong } from "./support/assert.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, nameIn, Server, server } from "./support/postgres.ts";
import { passed, until } from "./support/time.ts";

testWhere(missingServer, "connect() refuses wrong options before it connects", async () => {
  const { options } = await server();
  const given: Record<string, unknown[]> = {
    port: ["x", 0, 70_000, null],
    host: [5, null, "a\0b"],
    user: [7],
    database: [{}],
    password: [5],
    ssl: [5],
    label: [5, "a\0b"],
    connectionString: [5, "mysql://x", "not a URL"],
    timeout: [-1, "5"],
    signal: [5],
  };
  for (const [name, values] of Object.entries(given)) {
    for (const value of values) {
      const error = await assertRejects(() => connect({ ...options, [name]: value } as never));
      assertEquals(error instanceof TypeError || error instanceof RangeError, true, `${error}`);
    }
  }
  await assertRejects(() => connect({ ...options, database: "none" }), Error, "does not exist");
  await assertRejects(() => connect({ ...options, user: "none" }), Error, "does not exist");
  await assertRejects(() => connect({ ...options, ssl: true }), Error, "SSL");
  // A label that is longer than the server keeps.
  await (await connect({ ...options, label: "é".repeat(300) })).close();
});

/** Listens on a port, and does this with whoever connects. */
async function listening(
  then: (socket: { destroy(): void }) => void,
): Promise<[NetServer, number]> {
  const listener = createServer(then);
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return [listener, (listener.address() as { port: number }).port];
}

testWhere(missingServer, "connect() gives up a server that does not answer", async () => {
  const sockets: { destroy(): void }[] = [];
  const [silent, port] = await listening((socket) => sockets.push(socket));
  const { options } = await server();
  const error = await assertRejects(() => connect({ ...options, port, timeout: 50 }), DOMException);
  assertEquals(error.name, "TimeoutError");
  const reason = new Error("enough");
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = assertRejects(() => connect({ ...options, port, signal }));
  await until(() => sockets.length === 2);
  controller.abort(reason);
  assertEquals(await aborted, reason);
  assertEquals(await assertRejects(() => connect({ ...options, signal })), reason);
  for (const socket of sockets) socket.destroy();
  silent.close();
  const [closing, other] = await listening((socket) => socket.destroy());
  await assertRejects(() => connect({ ...options, port: other }));
  closing.close();
});

testWhere(
  missingServer,
  "What a URL or a role sets does not change what a session means",
  async () => {
    const { port } = await server();
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    for (
      const query of [
        "options=-c%20search_path%3Dx%20-c%20statement_timeout%3D5",
        "statement_timeout=5&lock_timeout=1",
      ]
    ) {
      const cluster = await connect({ connectionString: `${url}?${query}` });
      const mutex = await cluster.mutex(nameIn("url"));
      const guard = await mutex.lock();
      await assertRejects(() => mutex.lock({ timeout: 100 }), DOMException);
      await guard.release();
      await cluster.close();
    }
  },
);

testWhere(
  missingServer,
  "Databases of other encodings keep what they can, and refuse the rest",
  async () => {
    for (const encoding of ["LATIN1", "SQL_ASCII"]) {
      const database = encoding.toLowerCase();
      (await server()).query(
        `CREATE DATABASE ${database} ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
      );
      const cluster = await connected({ database });
      await (await (await cluster.mutex("é")).lock()).release();
      assertEquals(await (await cluster.variable("v", { initial: "€" })).get(), "€");
      const opening = cluster.mutex("€");
      if (encoding === "LATIN1") await assertRejects(() => opening, Error, "no equivalent");
      else assertEquals((await opening).created, true);
    }
  },
);

testWhere(missingServer, "Names of any characters are names, up to 2000 bytes", async () => {
  const one = await connected();
  const other = await connected();
  for (const name of ["a'b", 'a"b', "a\\b", "%s", "$1", "\n\t", "ü 😀", " ", "é".repeat(1000)]) {
    const guard = await (await one.mutex(name)).lock();
    assertEquals(await (await other.mutex(name)).tryLock(), undefined);
    await guard.release();
    await (await one.queue(name)).send(name);
    assertEquals((await (await other.queue(name)).receive()).text(), name);
    await (await one.variable(name)).set(name);
    assertEquals(await (await other.variable(name)).get(), name);
  }
  for (const name of wrong("", "a\0b", 5, null, undefined, {}, "x".repeat(2001))) {
    for (const kind of ["mutex", "gauge", "queue", "variable", "broadcast"] as const) {
      const error = await assertRejects(() => one[kind](name));
      assertEquals(error instanceof TypeError || error instanceof RangeError, true, `${error}`);
    }
  }
});

/** Calls with what TypeScript refuses and JavaScript does not. */
const mistakes: ((cluster: Cluster, value: never) => Promise<unknown>)[] = [
  async (cluster, value) => await cluster.mutex("a", value),
  async (cluster, value) => await cluster.rwlock("a", value),
  async (cluster, value) => await cluster.latch("a", value),
  async (cluster, value) => await cluster.event("a", value),
  async (cluster, value) => await cluster.barrier("a", value),
  async (cluster, value) => await cluster.gauge("a", value),
  async (cluster, value) => await cluster.bulkhead("a", value),
  async (cluster, value) => await cluster.leader("a", value),
  async (cluster, value) => await cluster.semaphore("a", value),
  async (cluster, value) => await cluster.semaphores("a", [1], value),
  async (cluster, value) => await cluster.semaphores("a", value),
  async (cluster, value) => await cluster.queue("a", value),
  async (cluster, value) => await cluster.variable("a", value),
  async (cluster, value) => await cluster.broadcast("a", value),
  async (cluster, value) => await (await cluster.semaphores("set", [1])).operate(value),
  async (cluster, value) => await (await cluster.semaphores("set", [1])).operate([value]),
  async (cluster, value) => await (await cluster.semaphore("s")).acquire(1, value),
  async (cluster, value) => await (await cluster.semaphore("s")).tryAcquire(1, value),
  async (cluster, value) => await (await cluster.semaphore("s")).increment(1, value),
  async (cluster, value) => await (await cluster.semaphore("s")).run(() => {}, value),
  async (cluster, value) => await (await cluster.semaphore("s")).waitForZero(value),
  async (cluster, value) => await (await cluster.leader("l")).every(5, () => {}, value),
  async (cluster, value) => await (await cluster.variable("v")).wait(value),
  async (cluster, value) => await (await cluster.variable("v")).set(1, value),
  async (cluster, value) => await (await cluster.broadcast("b")).publish(1, value),
  async (cluster, value) => await (await (await cluster.broadcast("b")).subscribe()).receive(value),
  async (cluster, value) => await (await cluster.queue("q")).send("x", value),
  async (cluster, value) => await (await cluster.queue("q")).receive(value),
  async (cluster, value) => await (await cluster.queue("q")).tryReceive(value),
  async (cluster, value) => await (await cluster.queue("q")).messages(value).next(),
  async (cluster, value) => await (await cluster.queue("q")).receiveInto(new Uint8Array(1), value),
];

testWhere(missingServer, "What is no options is refused before anything happens", async () => {
  const cluster = await connected();
  for (const mistake of mistakes) {
    for (const value of wrong(5, null, "x")) {
      await assertRejects(() => mistake(cluster, value), TypeError, undefined, `${mistake}`);
    }
  }
});

testWhere(
  missingServer,
  "A server that restarts while nothing is asked is told at once, and for good",
  async () => {
    const own = await Server.start();
    try {
      const cluster = await connect(own.options);
      own.stop("fast");
      await until(() => cluster.lost.aborted);
      own.start();
      await passed(50);
      const error = await assertRejects(() => cluster.mutex("m"));
      assertEquals(error.name, "SessionLostError");
      await cluster.close();
      await using again = await connect(own.options);
      await (await (await again.mutex("m")).lock()).release();
    } finally {
      own.end();
    }
  },
);
