import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { ClusterSetupError, connect, SessionLostError } from "@sysv/ipc/cluster";
import { type Child, nthRuntime, run, type Runtime } from "./support/child.ts";
import { Host, missingNetwork } from "./support/network.ts";
import { testWhere } from "./support/peer.ts";
import { connected, missingServer, nameIn, Server, server } from "./support/postgres.ts";
import { passed, until } from "./support/time.ts";

const isSoak = process.env.IPC_TEST_SOAK === "1";
const module = JSON.stringify(new URL("../cluster/mod.ts", import.meta.url).href);

/** A program that is connected, in a process of its own. */
async function runConnected(
  program: string,
  options: { runtime?: Runtime; within?: readonly string[]; at?: Server; host?: string } = {},
): Promise<Child> {
  const { runtime, within = [], at = await server(), host } = options;
  const given = { ...at.options, ...(host === undefined ? {} : { host }) };
  return run(
    `import { connect } from ${module};
    const cluster = await connect(${JSON.stringify(given)});
    ${program}`,
    {
      permissions: ["-A"],
      configured: true,
      within,
      ...(runtime === undefined ? {} : { runtime }),
    },
  );
}

/** Has the server end a session. */
async function terminate(session: number): Promise<void> {
  const pid = `SELECT pg_terminate_backend(pid, 5000) FROM ipc.session WHERE sid = ${session}`;
  (await server()).query(pid);
}

const CUTS = isSoak ? 10 : 1;

/** Cuts a holder off, and sees who knows when. */
async function cutOff(): Promise<void> {
  for (let n = 0; n < CUTS; n++) {
    using host = new Host();
    const own = await Server.start(host.network);
    await using _ = { [Symbol.asyncDispose]: () => Promise.resolve(own.end()) };
    await using holder = await runConnected(
      `
    const guard = await (await cluster.mutex("cut")).lock();
    guard.lost.addEventListener("abort", () => say(String(Date.now())));
    say("held");
    await hear();
    `,
      { at: own, host: host.server, within: host.within, runtime: nthRuntime(n) },
    );
    await holder.hear();
    await using cluster = await connect(own.options);
    const mutex = await cluster.mutex("cut");
    const next = mutex.lock({ timeout: 60_000 });
    await passed(100);
    host.cut();
    const cutAt = Date.now();
    const lostAt = Number(await holder.hear());
    const guard = await next;
    const gotAt = Date.now();
    assertEquals(guard.abandoned, 1);
    assert(lostAt < gotAt, `lost after ${lostAt - cutAt} ms, given after ${gotAt - cutAt}`);
    if (isSoak) {
      console.log(
        `Cut: lost after ${lostAt - cutAt} ms, given away after ${gotAt - cutAt}`,
      );
    }
  }
}

const noNetwork = missingNetwork();
// It does nothing but wait most of the time, so the other tests run meanwhile.
const cut = (noNetwork ?? missingServer) === undefined ? cutOff() : undefined;
cut?.catch(() => {});

testWhere(missingServer, "A lost session is told to all that it held and waited for", async () => {
  const cluster = await connected();
  const name = nameIn("lost");
  const mutex = await cluster.mutex(name);
  const bulkhead = await cluster.bulkhead(name + "b", { tickets: 1 });
  const leader = await cluster.leader(name + "l");
  const barrier = await cluster.barrier(name + "p", { parties: 2 });
  const semaphore = await cluster.semaphore(name + "s", { value: 1 });
  const gauge = await cluster.gauge(name + "g");
  const held = [
    await mutex.lock(),
    await bulkhead.acquire(),
    await leader.campaign(),
    await barrier.join(),
    await semaphore.acquire(),
    await gauge.enter(),
  ];
  const signals = held.map(({ lost }) => lost);
  assertEquals(signals.map(({ aborted }) => aborted), held.map(() => false));
  const queue = await cluster.queue(name);
  const variable = await cluster.variable(name, { initial: 0 });
  const waits = [mutex.lock(), queue.receive(), variable.wait(), semaphore.decrement()];
  const rejections = Promise.all(waits.map((wait) => assertRejects(() => wait, SessionLostError)));
  await passed(50);

  await terminate(cluster.session);
  await rejections;
  assertEquals(cluster.lost.aborted, true);
  for (const { aborted, reason } of signals) assert(aborted && reason instanceof SessionLostError);
  // One that is asked for only now says the same.
  assertEquals(held[0]!.lost.aborted, true);
  await assertRejects(() => mutex.lock(), SessionLostError);
  await assertRejects(() => mutex.tryLock(), SessionLostError);
  await assertRejects(() => cluster.latch("any", { count: 1 }), SessionLostError);
  // There is nothing to give back any more.
  for (const one of held) await one[Symbol.asyncDispose]();
  await cluster.close();

  const other = await connected();
  const guard = await (await other.mutex(name)).lock({ timeout: 5000 });
  assertEquals(guard.abandoned, 1);
  await guard.release();
  assertEquals(await (await other.semaphore(name + "s")).value, 1);
});

testWhere(
  missingServer,
  "What the server is at as the session ends rejects with its loss",
  async () => {
    const cluster = await connected();
    const name = nameIn("asked");
    const semaphore = await cluster.semaphore(name, { value: 1 });
    const admin = await server();
    // Who has the lock of the semaphores keeps the operation waiting at the server.
    const locks = `SELECT pg_advisory_lock(1769235301, id) FROM ipc.sem WHERE name = '${name}';
    SELECT pg_sleep(30)`;
    const holding = assertRejects(() => admin.queryLater(locks));
    const waits = (event: string) =>
      admin.query(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = '${event}'`)[0] === "1";
    await until(() => waits("PgSleep"));
    const lost = assertRejects(() => semaphore.tryAcquire(), SessionLostError);
    await until(() => waits("advisory"));
    await terminate(cluster.session);
    await lost;
    admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
    );
    await holding;
  },
);

testWhere(missingServer, "Closing gives back all that is held, and ends all waits", async () => {
  const cluster = await connected();
  const other = await connected();
  const name = nameIn("closed");
  const guard = await (await cluster.mutex(name)).lock();
  const waiting = (await cluster.mutex(name)).lock();
  const ended = assertRejects(() => waiting, ReferenceError);
  const next = (await other.mutex(name)).lock();
  await passed(30);
  await cluster.close();
  await ended;
  await (await next).release();
  await guard.release();
  await cluster.close();
  await assertRejects(() => cluster.mutex(name), ReferenceError);
});

/** What a process does that is to be killed: multi-operations with undo, and some that wait. */
const operating = `
  const set = await cluster.semaphores("storm", [20, 20, 0, 5]);
  say("begins");
  const undo = true;
  for (;;) {
    const a = 1 + Math.floor(Math.random() * 4), b = 1 + Math.floor(Math.random() * 4);
    const there = [{ index: 0, delta: -a, undo }, { index: 1, delta: -b, undo }, { index: 2, delta: a + b, undo },
      { index: 3, delta: -1, undo }];
    const back = there.map(({ index, delta }) => ({ index, delta: -delta, undo }));
    await set.operate(there);
    await set.operate([back[2], back[0], back[1], back[3]]);
  }
`;

const KILLS = isSoak ? 200 : 4;

testWhere(
  missingServer,
  `${KILLS} kills amid multi-operations leave values exact and nothing behind`,
  async () => {
    const own = await Server.start();
    await using _ = { [Symbol.asyncDispose]: () => Promise.resolve(own.end()) };
    await using cluster = await connect(own.options);
    const set = await cluster.semaphores("storm", [20, 20, 0, 5]);
    const mutex = await cluster.mutex("behind");
    const start = (n: number) => runConnected(operating, { at: own, runtime: nthRuntime(n) });
    const children: Child[] = [];
    for (let n = 0; n < 4; n++) children.push(await start(n));
    for (const child of children) await child.hear();
    const delays: number[] = [];
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        if (kill % 2 === 0) {
          const n = kill / 2 % 4;
          await passed(Math.random() * 20);
          await children[n]!.kill();
          children[n] = await start(n + kill);
          await children[n]!.hear();
          const [a, b, moved, left] = await set.read();
          assertEquals(a! + b! + moved!, 40, "a torn step");
          assert(left! >= 0 && left! <= 5);
        } else {
          // A waiter behind a holder that is killed.
          await using holder = await runConnected(
            `await (await cluster.mutex("behind")).lock(); say("held"); await hear();`,
            { at: own, runtime: nthRuntime(kill >> 1) },
          );
          await holder.hear();
          const next = mutex.lock();
          await passed(20);
          await holder.kill();
          const killed = performance.now();
          const guard = await next;
          delays.push(performance.now() - killed);
          assertEquals(guard.abandoned, 1);
          await guard.release();
        }
      }
    } finally {
      for (const child of children) await child.kill();
    }
    for (let tries = 0; String(await set.read()) !== "20,20,0,5"; tries++) {
      assert(tries < 200, `${await set.read()}`);
      await passed(50);
    }
    own.query("SELECT ipc.sweep()");
    assertEquals(own.query("SELECT count(*) FROM ipc.undo WHERE NOT 0 = ALL(adj)"), ["0"]);
    assertEquals(own.query("SELECT count(*) FROM ipc.wait"), ["0"]);
    assertEquals(own.query("SELECT count(*) FROM ipc.session"), ["1"]);
    assertEquals(
      own.query(
        "SELECT DISTINCT ON (id) raised, lowered FROM ipc.val WHERE cardinality(vals) = 4 ORDER BY id, ver DESC",
      ),
      ["{0,0,0,0}|{0,0,0,0}"],
    );
    const median = delays.toSorted((a, b) => a - b)[delays.length >> 1]!;
    if (isSoak) {
      console.log(`A waiter goes on ${median.toFixed(1)} ms after the death of the holder`);
      assert(median < 100, `${median}`);
    }
  },
);

const CRASHES = isSoak ? 20 : 2;

testWhere(
  missingServer,
  `${CRASHES} crashes of the server lose no death, count or term, and give back once`,
  async () => {
    const own = await Server.start();
    await using _ = { [Symbol.asyncDispose]: () => Promise.resolve(own.end()) };
    let term = 0;
    let count = 1000;
    for (let crash = 0; crash < CRASHES; crash++) {
      const cluster = await connect(own.options);
      const mutex = await cluster.mutex("crashed mutex");
      const leader = await cluster.leader("crashed leader");
      const latch = await cluster.latch("crashed latch", { count });
      const semaphore = await cluster.semaphore("crashed semaphore", { value: 5 });
      const permit = await semaphore.acquire(3);
      if (await latch.countDown()) count--;
      const leadership = await leader.campaign();
      const guard = await mutex.lock();
      // At this very moment.
      const lost = [guard, leadership, permit].map((one) => one.lost);
      own.stop("immediate");
      await until(() => lost.every(({ aborted }) => aborted));
      assert(Math.min(guard.term, leadership.term) > term, "a term went back");
      term = Math.max(guard.term, leadership.term);
      await cluster.close();

      own.start();
      await using after = await connect(own.options);
      const next = await (await after.mutex("crashed mutex")).lock({ timeout: 5000 });
      assertEquals(next.abandoned, 1, "a death was not told");
      assert(next.term > guard.term);
      await next.release();
      const led = await (await after.leader("crashed leader")).campaign({ timeout: 5000 });
      assert(led.term > leadership.term);
      await led.release();
      term = Math.max(next.term, led.term);
      assertEquals(await (await after.latch("crashed latch", { count: 1000 })).count, count);
      assertEquals(await (await after.semaphore("crashed semaphore")).value, 5);
    }
  },
);

testWhere(
  missingServer,
  "A term never goes back, even when the mutex is removed and made again",
  async () => {
    await using cluster = await connected();
    const name = nameIn("term");
    let last = 0;
    for (let round = 0; round < 3; round++) {
      const mutex = await cluster.mutex(name);
      for (let i = 0; i < 3; i++) {
        const guard = await mutex.lock();
        assert(guard.term > last, `${guard.term} after ${last}`);
        last = guard.term;
        await guard.release();
      }
      await mutex.remove();
    }
  },
);

testWhere(missingServer, "A failover to a standby that has missed terms repeats none", async () => {
  const primary = await Server.start();
  await using _ = { [Symbol.asyncDispose]: () => Promise.resolve(primary.end()) };
  const first = await connect(primary.options);
  await (await (await first.mutex("failover")).lock()).release();
  await first.close();
  const standby = await primary.standby();
  await using __ = { [Symbol.asyncDispose]: () => Promise.resolve(standby.end()) };
  const cluster = await connect(primary.options);
  const mutex = await cluster.mutex("failover");
  // The standby is not there when these are given.
  let last = 0;
  for (let i = 0; i < 5; i++) {
    const guard = await mutex.lock();
    last = guard.term;
    await guard.release();
  }
  primary.stop("immediate");
  await until(() => cluster.lost.aborted);
  await cluster.close();
  standby.start();
  await assertRejects(() => connect(standby.options), ClusterSetupError, "standby");
  standby.promote();
  await using after = await connect(standby.options);
  const guard = await (await after.mutex("failover")).lock();
  assert(guard.term > last, `${guard.term} after ${last}`);
});

testWhere(missingServer, "A holder that is stopped for a while keeps what it holds", async () => {
  await using cluster = await connected();
  const name = nameIn("stopped");
  await using holder = await runConnected(`
    const guard = await (await cluster.mutex(${JSON.stringify(name)})).lock();
    say("held");
    await hear();
    say(String(guard.lost.aborted));
    await hear();
  `);
  await holder.hear();
  process.kill(holder.pid, "SIGSTOP");
  const mutex = await cluster.mutex(name);
  const early = mutex.lock({ timeout: isSoak ? 25_000 : 1500 });
  const error = await assertRejects(() => early, DOMException);
  assertEquals(error.name, "TimeoutError");
  process.kill(holder.pid, "SIGCONT");
  holder.say("go on");
  assertEquals(await holder.hear(), "false");
});

const cutting =
  `A host that is cut off knows before another gets the lock, ${CUTS} times of ${CUTS}`;
testWhere(noNetwork ?? missingServer, cutting, async () => await cut);
