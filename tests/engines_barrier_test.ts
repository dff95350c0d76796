import { assertEquals, assertRejects } from "@std/assert";
import { BrokenBarrierError } from "@sysv/ipc/sync";
import { assertRejectsWith, assertTimesOut } from "./support/assert.ts";
import {
  type Child,
  ending,
  nthRuntime,
  otherRuntime,
  type Runtime,
  runtimes,
} from "./support/child.ts";
import { type Engine, runAt, testEngines, untilIs, untilWaiting } from "./support/engines.ts";

const rules = ["break", "shrink"] as const;

/** Starts a process that is so many parties, and has one of them do what it is told. */
async function party(
  engine: Engine,
  name: string,
  options: { parties: number; onDeath: "break" | "shrink" },
  { runs = otherRuntime, count = 1 }: { runs?: Runtime; count?: number } = {},
): Promise<Child> {
  const child = await runAt(
    engine,
    name,
    `const barrier = await at.barrier(name, ${JSON.stringify(options)});
    const parties = [];
    for (let i = 0; i < ${count}; i++) parties.push(await barrier.join());
    say("joined");
    for (let verb; (verb = await hear()) !== undefined;) {
      try {
        await parties[0][verb]();
        say("done");
      } catch (error) {
        say(error.name);
      }
    }`,
    runs,
  );
  assertEquals(await child.hear(), "joined");
  return child;
}

for (const onDeath of rules) {
  testEngines(
    `Barrier lets its parties go on together, round after round (${onDeath})`,
    async (at, name) => {
      const options = { parties: 3, onDeath };
      const barrier = await at.barrier(name, options);
      const one = await barrier.join();
      // Before all have joined.
      assertEquals(await one.tryWait(), false);
      await assertTimesOut(one.wait({ timeout: 5 }));
      const others = [await barrier.join(), await (await at.barrier(name, options)).join()];
      await assertRejectsWith("EBUSY", (async () => await barrier.join())());
      for (let round = 0; round < 4; round++) {
        assertEquals(await one.tryWait(), false);
        await assertTimesOut(one.wait({ timeout: 1 }));
        const waiting = [one.wait(), others[0]!.wait()];
        await Promise.all([...waiting, others[1]!.wait()]);
      }
      assertEquals(await barrier.isBroken, false);
      await assertRejects(() => at.barrier(name, { parties: 2 }));
      for (const parties of [0, -1, 1.5, 16384]) {
        await assertRejects(() => at.barrier(`${name}/wrong`, { parties }), RangeError);
      }
    },
  );

  testEngines(
    `Barrier: children of all runtimes and this program go on together (${onDeath})`,
    async (at, name, engine) => {
      const options = { parties: 1 + runtimes.length, onDeath };
      const one = await (await at.barrier(name, options)).join();
      const children = await Promise.all(
        runtimes.map((runs) => party(engine, name, options, { runs })),
      );
      await using _ = ending(...children);
      for (let round = 0; round < 4; round++) {
        for (const child of children) child.say("wait");
        await one.wait();
        for (const child of children) assertEquals(await child.hear(), "done");
      }
    },
  );

  testEngines(
    `BarrierParty.wait() cannot be called twice at once (${onDeath})`,
    async (at, name) => {
      const barrier = await at.barrier(name, { parties: 2, onDeath });
      const [one, other] = [await barrier.join(), await barrier.join()];
      const waiting = one.wait();
      await assertRejects(() => one.wait(), TypeError);
      await assertRejects(async () => await one.tryWait(), TypeError);
      await Promise.all([waiting, other.wait()]);
    },
  );

  testEngines(
    `BarrierParty.leave() lets the others go on without it, once (${onDeath})`,
    async (at, name, engine) => {
      const barrier = await at.barrier(name, { parties: 3, onDeath });
      const [one, two, three] = [await barrier.join(), await barrier.join(), await barrier.join()];
      const waiting = [one.wait(), two.wait()];
      await untilWaiting(engine, barrier);
      await three.leave();
      await Promise.all(waiting);
      await three.leave();
      await assertRejects(() => three.wait(), ReferenceError);
      for (let round = 0; round < 4; round++) await Promise.all([one.wait(), two.wait()]);
      // While it waits.
      const left = assertRejects(() => two.wait(), ReferenceError);
      await untilWaiting(engine, barrier);
      await two.leave();
      await left;
      for (let round = 0; round < 4; round++) assertEquals(await one.tryWait(), true);
      await assertRejectsWith("EBUSY", (async () => await barrier.join())());
      await one.leave();
      assertEquals(await engine.values(barrier), [0, 0, 0, 0, 0, 3]);
      // It begins anew when all have left.
      const parties = [await barrier.join(), await barrier.join(), await barrier.join()];
      await Promise.all(parties.map((party) => party.wait()));
    },
  );

  testEngines(
    `BarrierParty.leave() works when the handle is disposed, or the barrier removed (${onDeath})`,
    async (at, name) => {
      const barrier = await at.barrier(name, { parties: 2, onDeath });
      const handle = await at.barrier(name, { parties: 2, onDeath });
      const [one, other] = [await barrier.join(), await handle.join()];
      handle[Symbol.dispose]();
      await assertRejects(async () => await other.wait(), ReferenceError);
      await assertTimesOut(one.wait({ timeout: 1 }));
      await other.leave();
      await one.wait({ timeout: 5000 });
      await barrier.remove();
      await assertRejectsWith("EIDRM", (async () => await barrier.join())());
      await one.leave();
    },
  );

  testEngines(
    `Barrier: the death of a process whose party has left changes nothing (${onDeath})`,
    async (at, name, engine) => {
      const options = { parties: 3, onDeath };
      const barrier = await at.barrier(name, options);
      const [one, two] = [await barrier.join(), await barrier.join()];
      await using child = await party(engine, name, options);
      const waiting = one.wait();
      child.say("leave");
      assertEquals(await child.hear(), "done");
      await child.kill();
      await Promise.all([waiting, two.wait()]);
      assertEquals(await barrier.isBroken, false);
      await Promise.all([one.wait(), two.wait()]);
    },
  );

  testEngines(
    `Barrier: a process with several parties takes all of them with it (${onDeath})`,
    async (at, name, engine) => {
      const options = { parties: 4, onDeath };
      const barrier = await at.barrier(name, options);
      const one = await barrier.join();
      await using child = await party(engine, name, options, { count: 3 });
      child.say("wait");
      const waiting = onDeath === "break"
        ? assertRejects(() => one.wait(), BrokenBarrierError)
        : one.wait();
      await untilWaiting(engine, barrier, 2);
      await child.kill();
      await waiting;
      assertEquals(await barrier.isBroken, onDeath === "break");
    },
  );
}

const moments = ["before it arrives", "as it waits"] as const;

for (const [i, runs] of runtimes.entries()) {
  // The suite runs in each runtime, so each meets each moment.
  for (const moment of i === 0 ? moments : [moments[i % 2]!]) {
    testEngines(
      `Barrier breaks when a party of ${runs} is killed ${moment}`,
      async (at, name, engine) => {
        const options = { parties: 3, onDeath: "break" } as const;
        const barrier = await at.barrier(name, options);
        const one = await barrier.join();
        const two = await barrier.join();
        await using victim = await party(engine, name, options, { runs });
        // One round first, so that nothing is as at the beginning.
        victim.say("wait");
        await Promise.all([one.wait(), two.wait()]);
        await victim.hear();
        const waiting = assertRejects(() => one.wait(), BrokenBarrierError);
        await untilWaiting(engine, barrier);
        if (moment === "as it waits") {
          victim.say("wait");
          await untilWaiting(engine, barrier, 2);
        }
        assertEquals(await barrier.isBroken, false);
        await victim.kill();
        await waiting;
        assertEquals(await barrier.isBroken, true);
        for (const party of [one, two]) {
          await assertRejects(() => party.wait(), BrokenBarrierError);
          await assertRejects(async () => await party.tryWait(), BrokenBarrierError);
        }
        for (const party of [one, two]) await party.leave();
        // It stays so when all have left.
        assertEquals(await barrier.isBroken, true);
        await assertRejects(async () => await barrier.join(), BrokenBarrierError);
      },
    );

    testEngines(
      `Barrier shrinks when a party of ${runs} is killed ${moment}`,
      async (at, name, engine) => {
        const options = { parties: 3, onDeath: "shrink" } as const;
        const barrier = await at.barrier(name, options);
        const one = await barrier.join();
        const two = await barrier.join();
        await using victim = await party(engine, name, options, { runs });
        victim.say("wait");
        await Promise.all([one.wait(), two.wait()]);
        await victim.hear();
        const waiting = one.wait();
        await untilWaiting(engine, barrier);
        if (moment === "as it waits") {
          victim.say("wait");
          await untilWaiting(engine, barrier, 2);
        }
        await victim.kill();
        await Promise.all([waiting, two.wait()]);
        for (let round = 0; round < 4; round++) await Promise.all([one.wait(), two.wait()]);
        assertEquals(await barrier.isBroken, false);
      },
    );
  }
}

testEngines(
  "Barrier: a party that dies as the last that is missing lets the others go on, if it shrinks",
  async (at, name, engine) => {
    const options = { parties: 3, onDeath: "shrink" } as const;
    const barrier = await at.barrier(name, options);
    const parties = [await barrier.join(), await barrier.join()];
    await using last = await party(engine, name, options);
    const waiting = parties.map((party) => party.wait());
    await untilWaiting(engine, barrier);
    await last.kill();
    await Promise.all(waiting);
  },
);

testEngines(
  "Barrier that shrinks begins anew when all its parties are killed",
  async (at, name, engine) => {
    const options = { parties: 2, onDeath: "shrink" } as const;
    const barrier = await at.barrier(name, options);
    for (let turn = 0; turn < 2; turn++) {
      const children = [
        await party(engine, name, options, { runs: nthRuntime(turn) }),
        await party(engine, name, options, { runs: nthRuntime(turn + 1) }),
      ];
      await using _ = ending(...children);
      for (const child of children) child.say("wait");
      for (const child of children) assertEquals(await child.hear(), "done");
      for (const child of children) await child.kill();
      // Nobody's token is left.
      await untilIs(async () =>
        (await engine.values(barrier)).slice(0, 3).every((one) => one === 0)
      );
    }
    const one = await barrier.join();
    assertEquals([await one.tryWait(), await engine.values(barrier)], [false, [1, 0, 0, 1, 0, 2]]);
  },
);

testEngines(
  "Barrier: a party that dies before all have joined breaks it, or is gone",
  async (at, name, engine) => {
    for (const onDeath of rules) {
      const key = `${name}/${onDeath}`;
      const options = { parties: 3, onDeath };
      const barrier = await at.barrier(key, options);
      const one = await barrier.join();
      await using child = await party(engine, key, options);
      await child.kill();
      if (onDeath === "break") {
        await assertRejects(() => one.wait(), BrokenBarrierError);
        await assertRejects(async () => await barrier.join(), BrokenBarrierError);
        continue;
      }
      const waiting = one.wait();
      const other = await barrier.join();
      await Promise.all([waiting, other.wait()]);
      await assertRejectsWith("EBUSY", (async () => await barrier.join())());
    }
  },
);
