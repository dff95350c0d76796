import { assertEquals, assertRejects } from "@std/assert";
import {
  Barrier,
  BrokenBarrierError,
  Bulkhead,
  Gauge,
  Leader,
  Mutex,
  RwLock,
} from "@sysv/ipc/sync";
import { stepLanguages } from "./support/languages.ts";
import { type Peer, start, testWith } from "./support/peer.ts";
import { type Primitive, untilWaiting, valuesOf } from "./support/sync.ts";

/** Has a peer perform a step, waiting until it can. */
const operate = (peer: Peer, { id }: Primitive, step: string) => peer.ask("operate", id, step);
/** Has a peer try a step. */
const attempt = (peer: Peer, { id }: Primitive, step: string) => peer.ask("try", id, step);

for (const language of stepLanguages) {
  const { name } = language;

  testWith([language], `Mutex: ${name} locks and unlocks, and keeps others out`, async () => {
    using mutex = Mutex.create();
    await using peer = start(language);
    assertEquals(await operate(peer, mutex, "0,-1,undo 1,1"), "done");
    assertEquals([mutex.locked, mutex.ownerPid, mutex.tryLock()], [true, peer.pid, undefined]);
    const waiting = mutex.lock();
    await untilWaiting(mutex);
    assertEquals(await peer.ask("values", mutex.id, 2), "0,1");
    assertEquals(await operate(peer, mutex, "1,-1 0,1,undo"), "done");
    {
      using guard = await waiting;
      assertEquals(guard.abandoned, 0);
      assertEquals(await attempt(peer, mutex, "0,-1,undo 1,1"), "EAGAIN");
    }
    assertEquals(await attempt(peer, mutex, "0,-1,undo 1,1"), "done");
    assertEquals(await operate(peer, mutex, "1,-1 0,1,undo"), "done");
    await peer.kill();
    assertEquals(valuesOf(mutex), [1, 0]);
  });

  testWith(
    [language],
    `Mutex: the death of a holder in ${name} is told of, and it is told of others`,
    async () => {
      using mutex = Mutex.create({ onDeath: "refuse" });
      for (let deaths = 0; deaths < 2; deaths++) {
        await using peer = start(language);
        assertEquals(await operate(peer, mutex, "0,-1,undo 1,1"), "done");
        // Less 1, semaphore 1 is how many died.
        assertEquals(await peer.ask("values", mutex.id, 2), `0,${deaths + 1}`);
        const waiting = assertRejects(() => mutex.lock(), Error);
        await untilWaiting(mutex);
        await peer.kill();
        assertEquals((await waiting as Error & { code: string }).code, "EOWNERDEAD");
      }
      await using peer = start(language);
      assertEquals(await operate(peer, mutex, "0,-1,undo 1,1"), "done");
      assertEquals(await operate(peer, mutex, "1,-3 0,1,undo"), "done");
      using guard = mutex.tryLock()!;
      assertEquals(guard.abandoned, 0);
    },
  );

  testWith(
    [language],
    `Gauge: ${name} enters and leaves, and is counted off when it is killed`,
    async () => {
      using gauge = Gauge.create();
      await using peer = start(language);
      const reached = gauge.waitForAtLeast(4);
      await untilWaiting(gauge);
      assertEquals(await operate(peer, gauge, "0,1,undo 1,-1,undo"), "done");
      assertEquals(await operate(peer, gauge, "0,3,undo 1,-3,undo"), "done");
      await reached;
      assertEquals(await operate(peer, gauge, "0,-1,undo 1,1,undo"), "done");
      using _entry = gauge.enter();
      assertEquals([gauge.value, await peer.ask("values", gauge.id, 2)], [4, "4,32763"]);
      const fallen = gauge.waitForAtMost(1);
      await untilWaiting(gauge);
      await peer.kill();
      await fallen;
      assertEquals(valuesOf(gauge), [1, 32766]);
    },
  );

  testWith([language], `Gauge: ${name} waits for a number, and for it to be idle`, async () => {
    using gauge = Gauge.create();
    await using peer = start(language);
    for (const [step, by] of [["0,-2 0,2", 2], ["1,-32767 1,32767", 0], ["0,0", 0]] as const) {
      const entry = gauge.enter(2 - by || 1);
      peer.tell("operate", gauge.id, step);
      await untilWaiting(gauge);
      using _entry = by > 0 ? gauge.enter(by) : undefined;
      if (by === 0) entry.release();
      assertEquals(await peer.hear(), "done");
      if (by > 0) entry.release();
    }
    assertEquals(valuesOf(gauge), [0, 32767]);
  });

  testWith(
    [language],
    `Bulkhead: ${name} takes tickets and gives them back, or dies with them`,
    async () => {
      using bulkhead = Bulkhead.create({ tickets: 2 });
      await using peer = start(language);
      const take = "0,-16384,undo 0,16383,undo";
      using permit = bulkhead.tryAcquire()!;
      assertEquals(await operate(peer, bulkhead, take), "done");
      assertEquals([await attempt(peer, bulkhead, take), bulkhead.tryAcquire()], [
        "EAGAIN",
        undefined,
      ]);
      assertEquals(await operate(peer, bulkhead, "0,1,undo"), "done");
      assertEquals(bulkhead.state(), { tickets: 2, inUse: 1, workers: 0 });
      permit.release();
      for (let i = 0; i < 2; i++) assertEquals(await attempt(peer, bulkhead, take), "done");
      const waiting = bulkhead.acquire();
      await untilWaiting(bulkhead);
      await peer.kill();
      using _permit = await waiting;
      assertEquals(bulkhead.state(), { tickets: 2, inUse: 1, workers: 0 });
    },
  );

  testWith(
    [language],
    `Bulkhead: ${name} registers, and is counted off when it is killed`,
    async () => {
      using bulkhead = Bulkhead.create({ quota: 1 });
      bulkhead.register();
      await using peer = start(language);
      assertEquals(await operate(peer, bulkhead, "2,1,undo"), "done");
      assertEquals(bulkhead.state(), { tickets: 2, inUse: 0, workers: 2 });
      await peer.kill();
      assertEquals(bulkhead.state(), { tickets: 1, inUse: 0, workers: 1 });
    },
  );

  testWith([language], `Bulkhead: ${name} resizes`, async () => {
    using bulkhead = Bulkhead.create({ tickets: 2 });
    await using peer = start(language);
    assertEquals(await attempt(peer, bulkhead, "1,-2 1,0 1,5 0,3"), "done");
    assertEquals(bulkhead.state(), { tickets: 5, inUse: 0, workers: 0 });
    assertEquals(await attempt(peer, bulkhead, "1,-2 1,0 1,4 0,2"), "EAGAIN");
    assertEquals(await attempt(peer, bulkhead, "1,-5 1,0 1,1 0,-4"), "done");
    assertEquals(bulkhead.state(), { tickets: 1, inUse: 0, workers: 0 });
  });

  testWith(
    [language],
    `RwLock: ${name} reads, writes and waits to write, or dies of it`,
    async () => {
      using lock = RwLock.create();
      await using reader = start(language);
      await using writer = start(language);
      assertEquals(await operate(reader, lock, "1,0 2,0 0,1,undo"), "done");
      assertEquals(await operate(writer, lock, "2,1,undo"), "done");
      assertEquals(lock.state(), { readers: 1, writing: false, queued: 1 });
      writer.tell("operate", lock.id, "0,0 1,0 1,1,undo 2,-1,undo");
      await untilWaiting(lock);
      assertEquals(lock.tryRead(), undefined);
      await reader.kill();
      assertEquals(await writer.hear(), "done");
      assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
      await writer.kill();
      using _guard = lock.tryRead()!;
      assertEquals(lock.state(), { readers: 1, writing: false, queued: 0 });
    },
  );

  testWith(
    [language],
    `Leader: ${name} leads, across the carry, until it resigns or is killed`,
    async () => {
      using leader = Leader.create();
      await using peer = start(language);
      assertEquals(await operate(peer, leader, "0,-1,undo 1,1"), "done");
      assertEquals([leader.leaderPid, leader.tryCampaign()], [peer.pid, undefined]);
      assertEquals(await operate(peer, leader, "0,1,undo"), "done");
      assertEquals(leader.leaderPid, undefined);
      assertEquals(await operate(peer, leader, "1,32766"), "done");
      assertEquals(await attempt(peer, leader, "0,-1,undo 1,1"), "ERANGE");
      assertEquals(await attempt(peer, leader, "0,-1,undo 1,-32767 2,1"), "done");
      const waiting = leader.campaign();
      await untilWaiting(leader);
      await peer.kill();
      using leadership = await waiting;
      assertEquals(leadership.term, 32769);
    },
  );

  for (const onDeath of ["shrink", "break"] as const) {
    const undo = onDeath === "shrink" ? ",undo" : "";
    const parties = 2;
    /** What joining and leaving go on with, so that the death of the process breaks the barrier. */
    const [arm, disarm] = onDeath === "shrink" ? ["", ""] : [
      [0, 1, 2, 3].map((i) => `${i},2,undo ${i},-2`).join(" ") + " 4,1 4,-1,undo",
      [0, 1, 2, 3].map((i) => `${i},2 ${i},-2,undo`).join(" ") + " 4,1,undo 4,-1",
    ];
    const join = async (peer: Peer, barrier: Barrier) => {
      const values = (await peer.ask("values", barrier.id, 6)).split(",").map(Number);
      const places = values[3]!;
      const taken = values.slice(0, 3).findIndex((value) => value > 0);
      const place = taken < 0
        ? `0,0 1,0 2,0 ${places > 0 ? `3,${-places}` : ""} 3,0 3,${parties - 1}`
        : `${taken},-1 ${taken},1 3,-1`;
      return await attempt(peer, barrier, `${place} 4,0 0,1${undo} ${arm}`);
    };
    const next = (round: number) => (round + 1) % 3;
    const arrive = (peer: Peer, barrier: Barrier, round: number) =>
      attempt(peer, barrier, `4,0 ${round},-1${undo} ${next(round)},1${undo}`);
    const wait = (peer: Peer, barrier: Barrier, round: number) =>
      operate(peer, barrier, `3,0 ${round},0`);
    const leave = (peer: Peer, barrier: Barrier, token: number) =>
      attempt(peer, barrier, `${token},-1${undo} ${disarm}`);

    testWith(
      [language],
      `Barrier: ${name} joins, waits, gives up and leaves, run after run (${onDeath})`,
      async () => {
        using barrier = Barrier.create({ parties, onDeath });
        for (let rounds = 0; rounds < 5; rounds++) {
          await using peer = start(language);
          // First and last to join in turn.
          using one = rounds % 2 === 0 ? barrier.join() : undefined;
          assertEquals(await join(peer, barrier), "done");
          using party = one ?? barrier.join();
          for (let round = 0; round < rounds; round++) {
            const [from, to] = [round % 3, next(round)];
            assertEquals(await arrive(peer, barrier, from), "done");
            const back = `${to},-1${undo} ${from},1${undo}`;
            assertEquals(await attempt(peer, barrier, `3,-1 3,1 ${back}`), "EAGAIN");
            assertEquals(await attempt(peer, barrier, `${from},-1 ${from},1 ${back}`), "done");
            assertEquals(party.tryWait(), false);
            assertEquals(await arrive(peer, barrier, from), "done");
            const waiting = party.wait();
            assertEquals(await wait(peer, barrier, from), "done");
            await waiting;
            assertEquals(
              await attempt(peer, barrier, `${from},-1 ${from},1 ${back}`),
              "EAGAIN",
            );
          }
          assertEquals(await leave(peer, barrier, rounds % 3), "done");
          assertEquals(party.tryWait(), true);
          await peer.kill();
          assertEquals([party.tryWait(), barrier.isBroken], [true, false]);
        }
        assertEquals(valuesOf(barrier), [0, 0, 0, 0, 0, parties]);
      },
    );

    testWith(
      [language],
      `Barrier: ${name} is a party, whose death is noticed at whatever moment (${onDeath})`,
      async () => {
        for (const moment of ["joined", "arrived", "passed"]) {
          using barrier = Barrier.create({ parties, onDeath });
          await using peer = start(language);
          assertEquals(await join(peer, barrier), "done");
          using party = barrier.join();
          if (moment !== "joined") assertEquals(await arrive(peer, barrier, 0), "done");
          if (moment === "passed") {
            await party.wait();
            assertEquals(await wait(peer, barrier, 0), "done");
          }
          await peer.kill();
          if (onDeath === "shrink") {
            assertEquals([party.tryWait(), party.tryWait()], [true, true]);
          } else await assertRejects(() => party.wait(), BrokenBarrierError);
          assertEquals(barrier.isBroken, onDeath === "break");
        }
      },
    );

    testWith([language], `Barrier: ${name} is told when it is broken or full`, async () => {
      using barrier = Barrier.create({ parties: 1, onDeath });
      await using peer = start(language);
      await using other = start(language);
      const first = "0,0 1,0 2,0 3,-1 3,0 4,0";
      assertEquals(await attempt(peer, barrier, `${first} 0,1${undo}`), "done");
      assertEquals(await attempt(other, barrier, `0,-1 0,1 3,-1 4,0 0,1${undo}`), "EAGAIN");
      assertEquals(await other.ask("values", barrier.id, 6), "1,0,0,0,0,1");
      assertEquals(await attempt(peer, barrier, "4,1"), "done");
      assertEquals(await arrive(peer, barrier, 0), "EAGAIN");
    });
  }
}
