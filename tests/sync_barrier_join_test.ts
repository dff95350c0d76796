import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { SemaphoreSet } from "@sysv/ipc";
import { Barrier } from "@sysv/ipc/sync";
import { barrier as protocol } from "../sync/protocols.ts";
import { assertIpcError } from "./support/assert.ts";
import { ending, otherRuntime, runtime, runtimes } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { runSync, semaphoresOf, valuesOf } from "./support/sync.ts";
import { until } from "./support/time.ts";

type OnDeath = "break" | "shrink";
const rules: readonly OnDeath[] = ["break", "shrink"];

for (const onDeath of rules) {
  test(`Barrier.join() fails with EBUSY when all parties have (${onDeath})`, () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    using _one = barrier.join();
    using _other = Barrier.fromId(barrier.id, { parties: 2, onDeath }).join();
    assertIpcError(() => barrier.join(), "EBUSY", "semop");
  });

  test(`Barrier.join() begins anew when all have left, in whatever round (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 3, onDeath });
    for (let rounds = 0; rounds < 5; rounds++) {
      using one = barrier.join();
      using two = barrier.join();
      assertEquals([one.tryWait(), two.tryWait()], [false, false]);
      using three = barrier.join();
      assertIpcError(() => barrier.join(), "EBUSY", "semop");
      for (let round = 0; round < rounds; round++) {
        await Promise.all([one.wait(), two.wait(), three.wait()]);
      }
    }
    assertEquals(valuesOf(barrier), [0, 0, 0, 0, 0, 3]);
  });

  test(`Barrier.join() begins anew when all have left before all had joined (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 3, onDeath });
    barrier.join().leave();
    {
      using _one = barrier.join();
      barrier.join().leave();
    }
    using one = barrier.join();
    using two = barrier.join();
    assertEquals([one.tryWait(), two.tryWait()], [false, false]);
    using three = barrier.join();
    await Promise.all([one.wait(), two.wait(), three.wait()]);
    assertIpcError(() => barrier.join(), "EBUSY", "semop");
  });

  test(`Barrier.openOrCreate(): a program that uses it runs again and again, in each runtime (${onDeath})`, async () => {
    const key = freshName();
    using barrier = Barrier.openOrCreate(key, { parties: 2, onDeath });
    using _ = removing(barrier);
    for (const runs of [...runtimes, ...runtimes]) {
      const children = [1, 2].map(() =>
        runSync(
          `const [key, onDeath] = args;
          const barrier = Barrier.openOrCreate(key, { parties: 2, onDeath });
          using party = barrier.join();
          await party.wait();
          party.waitSync();
          say("done");`,
          { args: [key, onDeath], runtime: runs },
        )
      );
      await using _ = ending(...children);
      for (const child of children) assertEquals(await child.hear(), "done");
      await until(() => valuesOf(barrier).join() === "0,0,0,0,0,2");
    }
  });

  test(`Barrier.join(): of two processes that begin anew at once both are in one run (${onDeath})`, async () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    const children = [runtime, otherRuntime].map((runs) =>
      runSync(
        `const barrier = Barrier.fromId(Number(args[0]), { onDeath: args[1] });
        let runs = 0;
        while (runs < 200) {
          let party;
          // The other one may still be in the run before.
          try { party = barrier.join(); } catch (error) {
            if (error.code !== "EBUSY") throw error;
            continue;
          }
          party.waitSync();
          party.leave();
          runs++;
        }
        say("done");`,
        { args: [barrier.id, onDeath], runtime: runs },
      )
    );
    await using _ = ending(...children);
    for (const child of children) assertEquals(await child.hear(), "done");
    assertEquals(valuesOf(barrier), [0, 0, 0, 0, 0, 2]);
  });
}

test("Barrier: who retreats as another joins has retreated, or the round is complete", () => {
  for (const token of [false, true]) {
    using set = SemaphoreSet.create({ values: protocol.values(2) });
    const join = () => set.operateSync(protocol.join(set.values, token)!);
    join();
    set.operateSync(protocol.arrive(0, token));
    let retreated = false;
    for (const step of protocol.retreat(0, token)) {
      if (set.tryOperate(step)) retreated = true;
      // The second joins between two steps of the first.
      if (!retreated && set.values[protocol.missing] === 1) join();
    }
    const complete = set.tryOperate(protocol.wait(0));
    assertEquals([retreated, complete], [true, false]);
  }
});

test("Barrier.join() fails with ERANGE when a process is too many parties for the kernel to undo", () => {
  using barrier = Barrier.create({ parties: 10000 });
  const parties = [barrier.join(), barrier.join(), barrier.join()];
  assertIpcError(() => barrier.join(), "ERANGE", "semop");
  assertEquals(valuesOf(barrier), [3, 0, 0, 9997, 0, 10000]);
  parties.pop()!.leave();
  using _again = barrier.join();

  using shrinks = Barrier.create({ parties: 10000, onDeath: "shrink" });
  for (let joined = 0; joined < 10000; joined++) shrinks.join();
  assertEquals(valuesOf(shrinks), [10000, 0, 0, 0, 0, 10000]);
});

for (const onDeath of rules) {
  test(`Barrier.join() says that its values are spoilt, instead of trying for ever (${onDeath})`, () => {
    using barrier = Barrier.create({ parties: 2, onDeath });
    semaphoresOf(barrier).at(protocol.parties).value = 0;
    const { message } = assertIpcError(() => barrier.join(), "EINVAL", "semop");
    assert(message.includes("its values 0, 0, 0, 2, 0, 0 are none that it can have"), message);
  });
}
