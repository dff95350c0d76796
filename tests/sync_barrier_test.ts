import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { Barrier, type BarrierParty } from "@sysv/ipc/sync";
import { barrier as protocol } from "../sync/protocols.ts";
import {
  assertIpcError,
  assertRejectsWith,
  assertTimeout,
  assertTimesOut,
  wrong,
} from "./support/assert.ts";
import { type Child, ending, nthRuntime, otherRuntime, runtimes } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import {
  runSync,
  semaphoresOf,
  testOpening,
  untilWaiting,
  valuesOf,
  waitersOf,
} from "./support/sync.ts";
import { until } from "./support/time.ts";

type OnDeath = "break" | "shrink";
const rules: readonly OnDeath[] = ["break", "shrink"];

testOpening({
  name: "Barrier",
  kind: "barrier",
  values: [0, 0, 0, 2, 0, 2],
  create: (options) => Barrier.create({ ...options, parties: 2 }),
  open: (key) => Barrier.open(key, { parties: 2 }),
  openOrCreate: (key) => Barrier.openOrCreate(key, { parties: 2 }),
  fromId: (id) => Barrier.fromId(id, { parties: 2 }),
});

/** Starts a process that is a party, and does what it is told: wait, waitSync, leave. */
async function party({ id, parties, onDeath }: Barrier, runs = otherRuntime): Promise<Child> {
  const child = runSync(
    `const [id, parties, onDeath] = args;
    const barrier = Barrier.fromId(Number(id), { parties: Number(parties), onDeath });
    const party = barrier.join();
    say("joined");
    for (;;) {
      const verb = await hear();
      try {
        await party[verb]();
        say("done");
      } catch (error) {
        say(error.name);
      }
    }`,
    { args: [id, parties, onDeath], runtime: runs },
  );
  assertEquals(await child.hear(), "joined");
  return child;
}

test("Barrier.create() refuses a number of parties that is none", () => {
  for (const parties of [0, -1, 1.5, 16384]) {
    assertThrows(() => Barrier.create({ parties }), RangeError);
  }
  for (const parties of wrong(undefined, null, "2")) {
    assertThrows(() => Barrier.create({ parties }), TypeError);
  }
});

test("Barrier: the set remembers how many parties it is for, and refuses another number", () => {
  const key = freshName();
  using barrier = Barrier.create({ key, parties: 3 });
  using set = semaphoresOf(barrier);
  for (
    const take of [
      () => Barrier.open(key),
      () => Barrier.fromId(barrier.id),
      () => new Barrier(set),
    ]
  ) {
    assertEquals(take().parties, 3);
  }
  const parties = 2;
  const wrongly = [
    () => Barrier.open(key, { parties }),
    () => Barrier.fromId(barrier.id, { parties }),
    () => Barrier.openOrCreate(key, { parties }),
    () => new Barrier(set, { parties }),
  ];
  for (const take of wrongly) {
    const { message } = assertIpcError(take, "EINVAL", "semget");
    assertStringIncludes(message, "Cannot open barrier ");
    assertStringIncludes(message, ": it is for 3 parties, not 2");
  }
  assertEquals(Barrier.openOrCreate(key, { parties: 3 }).id, barrier.id);
});

test("Barrier.openOrCreate() makes another one when somebody removes it meanwhile", async () => {
  const key = freshName();
  await using remover = runSync(
    `say("begins");
    for (;;) {
      try { Barrier.open(args[0]).remove(); } catch (error) {
        if (!["ENOENT", "EIDRM", "EAGAIN"].includes(error.code)) throw error;
      }
    }`,
    { args: [key], runtime: otherRuntime },
  );
  assertEquals(await remover.hear(), "begins");
  const made = new Set<number>();
  for (let times = 0; times < 500 || made.size < 10; times++) {
    const barrier = Barrier.openOrCreate(key, { parties: 2 });
    assertEquals(barrier.parties, 2);
    made.add(barrier.id);
  }
  await remover.kill();
  Barrier.openOrCreate(key, { parties: 2 }).remove();
});

for (const onDeath of rules) {
  test(`Barrier of 1 party (${onDeath}) never waits`, async () => {
    using barrier = Barrier.create({ parties: 1, onDeath });
    using one = barrier.join();
    for (let round = 0; round < 7; round++) {
      await one.wait({ timeout: 0 });
      one.waitSync({ timeout: 0 });
      assertEquals(one.tryWait(), true);
    }
  });

  test(`Barrier of as many parties as can be (${onDeath}) lets one join`, () => {
    using barrier = Barrier.create({ parties: 16383, onDeath });
    using one = barrier.join();
    assertEquals([one.tryWait(), valuesOf(barrier)[protocol.missing]], [false, 16382]);
  });

  test(`Barrier of 150 parties of one process (${onDeath}) lets all go on, round after round`, async () => {
    using barrier = Barrier.create({ parties: 150, onDeath });
    const parties = Array.from({ length: 150 }, () => barrier.join());
    for (let round = 0; round < 4; round++) {
      await Promise.all(parties.map((party) => party.wait()));
    }
    for (const party of parties) party.leave();
    assertEquals(valuesOf(barrier), [0, 0, 0, 0, 0, 150]);
  });

  test(`BarrierParty.wait() waits for all to join and to arrive, in all forms and runtimes (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 4, onDeath });
    using one = barrier.join();
    const waiting = one.wait();
    const second = await party(barrier, nthRuntime(1));
    const third = await party(barrier, nthRuntime(2));
    await using _ = ending(second, third);
    second.say("wait");
    third.say("waitSync");
    await untilWaiting(barrier, 3);
    using last = barrier.join();
    assertEquals(waitersOf(barrier), 3);
    assertEquals(last.tryWait(), true);
    await waiting;
    assertEquals([await second.hear(), await third.hear()], ["done", "done"]);
  });

  test(`BarrierParty.tryWait() arrives only as the last of the parties (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    using one = barrier.join();
    assertEquals([one.tryWait(), valuesOf(barrier)], [false, [1, 0, 0, 1, 0, 2]]);
    using other = barrier.join();
    for (let round = 0; round < 5; round++) {
      assertEquals([one.tryWait(), other.tryWait()], [false, false]);
      const waiting = one.wait();
      assertEquals(other.tryWait(), true);
      await waiting;
    }
  });

  test(`BarrierParty.wait() cannot be called twice at once (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    using one = barrier.join();
    using other = barrier.join();
    const waiting = one.wait();
    await assertRejects(() => one.wait(), TypeError);
    assertThrows(() => one.waitSync(), TypeError);
    assertThrows(() => one.tryWait(), TypeError);
    assertEquals(valuesOf(barrier), [1, 1, 0, 0, 0, 2]);
    await Promise.all([waiting, other.wait()]);
  });

  const retreats: Record<string, (party: BarrierParty) => Promise<void>> = {
    "times out": (party) => assertTimesOut(party.wait({ timeout: 5 })),
    "times out at once": (party) => assertTimesOut(party.wait({ timeout: 0 })),
    "times out, blocking": (party) =>
      Promise.resolve(assertTimeout(() => party.waitSync({ timeout: 5 }))),
    "is aborted": async (party) => {
      const controller = new AbortController();
      const waiting = party.wait({ signal: controller.signal });
      const reason = new Error("enough");
      setTimeout(() => controller.abort(reason), 5);
      assertEquals(await assertRejects(() => waiting), reason);
    },
    "is aborted before": async (party) => {
      await assertRejects(() => party.wait({ signal: AbortSignal.abort() }), DOMException);
    },
  };
  for (const [happens, retreat] of Object.entries(retreats)) {
    test(`BarrierParty.wait() that ${happens} has not arrived, and can wait again (${onDeath})`, async () => {
      using barrier = Barrier.create({ parties: 2, onDeath });
      using one = barrier.join();
      // Before all have joined, and after, in each of the rounds.
      await retreat(one);
      assertEquals(valuesOf(barrier), [1, 0, 0, 1, 0, 2]);
      using other = barrier.join();
      for (let round = 0; round < 4; round++) {
        await retreat(one);
        assertEquals(valuesOf(barrier)[round % 3], 2);
        assertTimeout(() => other.waitSync({ timeout: 1 }));
        await Promise.all([one.wait(), other.wait()]);
      }
    });
  }

  test(`BarrierParty.wait() refuses a timeout that is none, before it arrives (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    using one = barrier.join();
    for (const timeout of [-1, NaN]) {
      await assertRejects(() => one.wait({ timeout }), RangeError);
      assertThrows(() => one.waitSync({ timeout }), RangeError);
    }
    assertEquals(valuesOf(barrier), [1, 0, 0, 1, 0, 2]);
  });

  test(`BarrierParty.wait() gives EIDRM when the barrier is removed, in all forms and runtimes (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2 + runtimes.length, onDeath });
    using one = barrier.join();
    const waiting = assertRejectsWith("EIDRM", one.wait());
    const children = await Promise.all(runtimes.map((runtime) => party(barrier, runtime)));
    await using _ = ending(...children);
    for (const [i, child] of children.entries()) child.say(i === 0 ? "wait" : "waitSync");
    await untilWaiting(barrier, 1 + runtimes.length);
    barrier.remove();
    await waiting;
    for (const child of children) assertEquals(await child.hear(), "IpcError");
    await assertRejectsWith("EIDRM", one.wait());
    assertIpcError(() => one.waitSync(), "EIDRM", "semctl");
    assertIpcError(() => barrier.join(), "EIDRM", "semctl");
    one.leave();
  });

  test(`BarrierParty.leave() lets the others go on without it, once (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 3, onDeath });
    const [one, two, three] = [barrier.join(), barrier.join(), barrier.join()];
    const waiting = [one.wait(), two.wait()];
    await untilWaiting(barrier);
    three.leave();
    await Promise.all(waiting);
    three.leave();
    for (let round = 0; round < 4; round++) await Promise.all([one.wait(), two.wait()]);
    assertEquals([one.tryWait(), two.tryWait()], [false, false]);
    two[Symbol.dispose]();
    for (let round = 0; round < 4; round++) assertEquals(one.tryWait(), true);
    assertIpcError(() => barrier.join(), "EBUSY", "semop");
    one.leave();
    assertEquals([valuesOf(barrier), barrier.isBroken], [[0, 0, 0, 0, 0, 3], false]);
  });

  test(`BarrierParty.leave() in each round takes that party away and no other (${onDeath})`, async () => {
    for (let rounds = 0; rounds < 5; rounds++) {
      using barrier = Barrier.create({ parties: 3, onDeath });
      const [one, two, three] = [barrier.join(), barrier.join(), barrier.join()];
      for (let round = 0; round < rounds; round++) {
        await Promise.all([one.wait(), two.wait(), three.wait()]);
      }
      three.leave();
      assertTimeout(() => one.waitSync({ timeout: 1 }));
      await Promise.all([one.wait(), two.wait()]);
      await Promise.all([one.wait(), two.wait()]);
    }
  });

  test(`BarrierParty.leave() while it waits takes that party away and no other (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 3, onDeath });
    const [one, two, three] = [barrier.join(), barrier.join(), barrier.join()];
    const waiting = assertRejects(() => three.wait(), ReferenceError);
    await untilWaiting(barrier);
    three.leave();
    await waiting;
    await assertRejects(() => three.wait(), ReferenceError);
    assertThrows(() => three.waitSync(), ReferenceError);
    assertThrows(() => three.tryWait(), ReferenceError);
    // The second has not arrived, so the first has to wait.
    assertTimeout(() => one.waitSync({ timeout: 5 }));
    for (let round = 0; round < 4; round++) {
      await Promise.all([one.wait({ timeout: 1000 }), two.wait({ timeout: 1000 })]);
    }
    for (const party of [one, two]) party.leave();
    assertEquals(valuesOf(barrier), [0, 0, 0, 0, 0, 3]);
  });

  test(`BarrierParty.leave() takes that party away and no other, at whatever moment of its wait (${onDeath})`, async () => {
    for (const aborts of [false, true]) {
      for (let turns = 0; turns < 12; turns++) {
        using barrier = Barrier.create({ parties: 3, onDeath });
        const [one, two, three] = [barrier.join(), barrier.join(), barrier.join()];
        const controller = new AbortController();
        const waiting = three.wait({ signal: controller.signal }).catch(() => {});
        if (aborts) {
          await untilWaiting(barrier);
          controller.abort();
        }
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        three.leave();
        await waiting;
        const moment = `${turns} turns after the ${aborts ? "abort" : "call"}`;
        assertEquals(valuesOf(barrier), [2, 0, 0, 0, 0, 3], moment);
        await Promise.all([one.wait(), two.wait()]);
      }
    }
  });

  test(`BarrierParty.leave() after an abort leaves others that have arrived alone (${onDeath})`, async () => {
    for (let turns = 0; turns < 12; turns++) {
      using barrier = Barrier.create({ parties: 3, onDeath });
      const [one, two, three] = [barrier.join(), barrier.join(), barrier.join()];
      const arrived = one.wait();
      const controller = new AbortController();
      const waiting = three.wait({ signal: controller.signal }).catch(() => {});
      await until(() => valuesOf(barrier)[1] === 2);
      controller.abort();
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      three.leave();
      await waiting;
      assertEquals(valuesOf(barrier), [1, 1, 0, 0, 0, 3], `${turns} turns after the abort`);
      await Promise.all([arrived, two.wait()]);
    }
  });

  test(`BarrierParty.wait() rejects when its handle is disposed, and has not arrived (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    using one = barrier.join();
    const handle = Barrier.fromId(barrier.id, { parties: 2, onDeath });
    const other = handle.join();
    const waiting = assertRejects(() => other.wait(), ReferenceError);
    await untilWaiting(barrier);
    handle[Symbol.dispose]();
    await waiting;
    assertEquals(valuesOf(barrier), [2, 0, 0, 0, 0, 2]);
    assertTimeout(() => one.waitSync({ timeout: 5 }));
    other.leave();
    one.waitSync({ timeout: 0 });
  });

  test(`BarrierParty.leave() works when the handle is disposed (${onDeath})`, () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    using one = barrier.join();
    const handle = Barrier.fromId(barrier.id, { parties: 2, onDeath });
    const other = handle.join();
    handle[Symbol.dispose]();
    assertTimeout(() => one.waitSync({ timeout: 1 }));
    other.leave();
    one.waitSync({ timeout: 0 });
  });

  test(`Barrier: 4 processes of all runtimes never mix 200 rounds (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 4, onDeath });
    using memory = SharedMemory.create({ size: 4 * 4 });
    const children = Array.from(
      { length: 4 },
      (_, i) =>
        runSync(
          `const [id, onDeath, memoryId, me] = args;
        const barrier = Barrier.fromId(Number(id), { parties: 4, onDeath });
        using memory = SharedMemory.fromId(Number(memoryId));
        const rounds = new Int32Array(memory.buffer, 0, 4);
        // Some waits are given up, and begun again.
        const waits = [
          async () => { await party.wait(); return true; },
          () => { party.waitSync(); return true; },
          () => party.tryWait(),
          () => party.wait({ timeout: Math.random() * 2 }).then(() => true, (error) => {
            if (error.name !== "TimeoutError") throw error;
            return false;
          }),
          () => {
            try { party.waitSync({ timeout: Math.random() }); return true; }
            catch (error) { if (error.name !== "TimeoutError") throw error; }
          },
          () => {
            const controller = new AbortController();
            setTimeout(() => controller.abort("enough"), Math.random());
            return party.wait({ signal: controller.signal }).then(() => true, (error) => {
              if (error !== "enough") throw error;
            });
          },
        ];
        using party = barrier.join();
        for (let round = 1; round <= 200; round++) {
          Atomics.store(rounds, Number(me), round);
          for (let tries = 0; !await waits[Math.floor(Math.random() * (tries < 5 ? 6 : 2))](); tries++);
          for (let i = 0; i < 4; i++) {
            const other = Atomics.load(rounds, i);
            if (other !== round && other !== round + 1) throw new Error(i + " is in " + other + " as " + me + " leaves " + round);
          }
        }
        say("done");`,
          { args: [barrier.id, onDeath, memory.id, i], runtime: nthRuntime(i) },
        ),
    );
    await using _ = ending(...children);
    for (const child of children) assertEquals(await child.hear(), "done");
    await until(() => valuesOf(barrier).join() === "0,0,0,0,0,4");
    assertEquals(waitersOf(barrier), 0);
  });
}
