import { assert, assertEquals, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { assertRejectsWith } from "./support/assert.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, nameIn, server } from "./support/postgres.ts";
import { passed } from "./support/time.ts";

const isSoak = process.env.IPC_TEST_SOAK === "1";

testWhere(missingServer, "1000 waiters on one session cost under 50 queries a second", async () => {
  const holder = await connected();
  const cluster = await connected();
  const name = nameIn("waiters");
  const mutex = await cluster.mutex(name);
  const guard = await (await holder.mutex(name)).lock();
  const waits = Array.from({ length: 1000 }, () => mutex.lock());
  const ends = Promise.allSettled(waits);
  await mutex.locked;
  const before = cluster.queries;
  const start = performance.now();
  await passed(2000);
  const rate = (cluster.queries - before) / (performance.now() - start) * 1000;
  assert(rate < 50, `${rate} queries a second`);
  if (isSoak) console.log(`1000 waiters: ${rate.toFixed(1)} queries a second`);
  await mutex.remove();
  await guard.release();
  for (const end of await ends) {
    assertEquals(end.status === "rejected" && end.reason.code, "EIDRM");
  }
});

testWhere(missingServer, "A session that waits for nothing does not listen", async () => {
  const cluster = await connected();
  const mutex = await cluster.mutex(nameIn("listens"));
  const guard = await mutex.lock();
  const waiting = mutex.lock({ timeout: 30 });
  await assertRejects(() => waiting, DOMException);
  await guard.release();
  const admin = await server();
  const pid = admin.query(`SELECT pid FROM ipc.session WHERE sid = ${cluster.session}`)[0];
  const last = `SELECT query FROM pg_stat_activity WHERE pid = ${pid}`;
  for (let tries = 0; !/UNLISTEN|SELECT 1/.test(admin.query(last)[0]!); tries++) {
    assert(tries < 200);
    await passed(20);
  }
});

const WAITERS = 100;

testWhere(missingServer, "No session of an overloaded server is declared lost", async () => {
  const busy = Array.from(
    { length: availableParallelism() * 2 },
    () => spawn("sh", ["-c", "while :; do :; done"], { stdio: "ignore" }),
  );
  try {
    const name = nameIn("overload");
    const clusters = await Promise.all(Array.from({ length: 10 }, () => connected()));
    const lasts = performance.now() + (isSoak ? 20_000 : 3000);
    const work = clusters.flatMap((cluster) =>
      Array.from({ length: WAITERS / 10 }, async () => {
        const mutex = await cluster.mutex(name);
        while (performance.now() < lasts) await (await mutex.lock()).release();
      })
    );
    await Promise.all(work);
    assertEquals(clusters.map(({ lost }) => lost.aborted), clusters.map(() => false));
  } finally {
    for (const { pid } of busy) process.kill(pid!, "SIGKILL");
  }
});

const PAIRS = isSoak ? 20_000 : 300;

testWhere(missingServer, `A long read transaction does not slow ${PAIRS} pairs down`, async () => {
  const cluster = await connected();
  const semaphore = await cluster.semaphore(nameIn("snapshot"), { value: 3 });
  const time = async (pairs: number) => {
    const start = performance.now();
    for (let i = 0; i < pairs; i++) await (await semaphore.acquire()).release();
    return (performance.now() - start) / pairs;
  };
  await time(300);
  const before = await time(PAIRS / 10);
  const program = `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ipc.val;`;
  const { port } = await server();
  const reader = spawn("psql", ["-h", "127.0.0.1", "-p", `${port}`, "-U", "postgres", "-XAtq"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const told = new Promise((resolve) => reader.stdout.once("data", resolve));
  reader.stdin.write(program + "\n");
  await told;
  try {
    await time(PAIRS * 0.9);
    const during = await time(PAIRS / 10);
    assertEquals(await semaphore.value, 3);
    if (!isSoak) return;
    console.log(
      `A pair: ${before.toFixed(3)} ms; after ${PAIRS} in a snapshot: ${during.toFixed(3)}`,
    );
    assert(during < before * 4 / 3, `${before} and then ${during}`);
  } finally {
    process.kill(reader.pid!, "SIGKILL");
  }
});

testWhere(
  missingServer,
  "A set that is idle vanishes, and comes back when it is used again",
  async () => {
    const cluster = await connected();
    const other = await connected();
    const name = nameIn("customer");
    const options = { tickets: 2, idle: 400 };
    const bulkhead = await cluster.bulkhead(name, options);
    const held = await (await other.bulkhead(name, options)).acquire();
    const there = async () =>
      (await server()).query(`SELECT count(*) FROM ipc.sem WHERE name = '${name}'`)[0] === "1";
    await passed(2000);
    // What is held is not idle.
    assert(await there());
    assertEquals((await bulkhead.state()).inUse, 1);
    await held.release();
    for (let tries = 0; await there(); tries++) {
      assert(tries < 200, "It does not vanish");
      await passed(50);
    }
    const left =
      `SELECT count(*) FROM ipc.val v WHERE NOT EXISTS (SELECT FROM ipc.sem WHERE id = v.id)`;
    assertEquals((await server()).query(left), ["0"]);
    const permit = await bulkhead.acquire();
    assertEquals(await (await other.bulkhead(name, options)).state(), {
      tickets: 2,
      inUse: 1,
      workers: 0,
    });
    await permit.release();
    for (const idle of ["1x", "h", -1, 5, 1.5, NaN]) {
      await assertRejects(() => cluster.gauge("any", { idle }));
    }
    await (await cluster.gauge(nameIn("gauge"), { idle: "1h" })).remove();
  },
);

testWhere(missingServer, "Names, kinds and sizes are checked", async () => {
  const cluster = await connected();
  const name = nameIn("checked");
  await cluster.latch(name, { count: 1 });
  await assertRejectsWith("EINVAL", cluster.mutex(name));
  await assertRejectsWith("EINVAL", cluster.semaphores(name, [1, 2]));
  await cluster.barrier(name + "b", { parties: 2 });
  await assertRejectsWith("EINVAL", cluster.barrier(name + "b", { parties: 3 }));
  const set = await cluster.semaphores(name + "s", [1, 2]);
  await assertRejects(() => set.operate([]), RangeError);
  await assertRejects(() => set.operate([{ index: 2, delta: 1 }]), RangeError);
  await assertRejects(() => set.operate([{ delta: 32768 }]), RangeError);
  await assertRejects(() => set.operate([{ delta: 1, undo: 1 as never }]), TypeError);
  await assertRejectsWith("ERANGE", set.tryOperate([{ delta: 32767 }]));
  await assertRejects(() => cluster.mutex(""), TypeError);
  await assertRejects(() => cluster.mutex(7 as never), TypeError);
  await assertRejects(() => cluster.mutex(name, { onDeath: "x" as never }), TypeError);
  await assertRejects(() => cluster.semaphores(name, new Array(251).fill(0)), RangeError);
  await assertRejects(() => cluster.bulkhead(name, { tickets: 0 }), RangeError);
  await assertRejects(() => cluster.latch(name, { count: -1 }), RangeError);
});
