import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { IpcError } from "@sysv/ipc";
import { Barrier, BrokenBarrierError } from "@sysv/ipc/sync";
import { type Child, ending, otherRuntime, runtime, runtimes } from "./support/child.ts";
import { runSync, untilWaiting, valuesOf, waitersOf } from "./support/sync.ts";

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

for (const runs of runtimes) {
  for (const moment of ["before it arrives", "as it waits", "as it waits, blocking"]) {
    const verb = moment === "as it waits" ? "wait" : "waitSync";
    const arrive = async (barrier: Barrier, child: Child) => {
      if (moment === "before it arrives") return;
      const before = waitersOf(barrier);
      child.say(verb);
      await untilWaiting(barrier, before + 1);
    };

    test(`Barrier breaks at once when a party of ${runs} is killed ${moment}`, async () => {
      using barrier = Barrier.create({ parties: 4 });
      using one = barrier.join();
      using two = barrier.join();
      const victim = await party(barrier, runs);
      const other = await party(barrier);
      await using _ = ending(victim, other);
      // One round first, so that nothing is as at the beginning.
      for (const child of [victim, other]) child.say("wait");
      await Promise.all([one.wait(), two.wait()]);
      for (const child of [victim, other]) assertEquals(await child.hear(), "done");

      const waiting = assertRejects(() => one.wait(), BrokenBarrierError);
      other.say("waitSync");
      await untilWaiting(barrier, 2);
      await arrive(barrier, victim);
      assertEquals(barrier.isBroken, false);
      await victim.kill();
      await waiting;
      assertEquals(await other.hear(), "BrokenBarrierError");
      assertEquals(barrier.isBroken, true);
      for (const party of [one, two]) {
        await assertRejects(() => party.wait(), BrokenBarrierError);
        assertThrows(() => party.waitSync(), BrokenBarrierError);
        assertThrows(() => party.tryWait(), BrokenBarrierError);
      }
      assertThrows(() => barrier.join(), BrokenBarrierError);
      one.leave();
      assertEquals(barrier.isBroken, true);
    });

    test(`Barrier shrinks at once when a party of ${runs} is killed ${moment}`, async () => {
      using barrier = Barrier.create({ parties: 4, onDeath: "shrink" });
      using one = barrier.join();
      using two = barrier.join();
      const victim = await party(barrier, runs);
      const other = await party(barrier);
      await using _ = ending(victim, other);
      for (const child of [victim, other]) child.say("wait");
      await Promise.all([one.wait(), two.wait()]);
      for (const child of [victim, other]) assertEquals(await child.hear(), "done");

      const waiting = one.wait();
      other.say("waitSync");
      await untilWaiting(barrier, 2);
      await arrive(barrier, victim);
      await victim.kill();
      assertEquals(waitersOf(barrier), 2);
      await two.wait();
      await waiting;
      assertEquals(await other.hear(), "done");
      for (let round = 0; round < 4; round++) {
        other.say("wait");
        await Promise.all([one.wait(), two.wait()]);
        assertEquals(await other.hear(), "done");
      }
      assertEquals(barrier.isBroken, false);
      // The last one that is missing dies: whoever waits goes on.
      const last = [one.wait(), two.wait()];
      await untilWaiting(barrier);
      await other.kill();
      await Promise.all(last);
    });
  }
}

test("Barrier that shrinks begins anew when all its parties are killed", async () => {
  using barrier = Barrier.create({ parties: 2, onDeath: "shrink" });
  for (const runs of runtimes) {
    const children = [await party(barrier, runs), await party(barrier, runs)];
    await using _ = ending(...children);
    children[0]!.say("waitSync");
    await untilWaiting(barrier);
    children[1]!.say("waitSync");
    for (const child of children) assertEquals(await child.hear(), "done");
    for (const child of children) await child.kill();
  }
  using one = barrier.join();
  assertEquals([one.tryWait(), valuesOf(barrier)], [false, [1, 0, 0, 1, 0, 2]]);
});

test("Barrier that is broken stays so when all have left", async () => {
  using barrier = Barrier.create({ parties: 2 });
  {
    using _one = barrier.join();
    await using child = await party(barrier);
    await child.kill();
  }
  assertEquals(barrier.isBroken, true);
  assertThrows(() => barrier.join(), BrokenBarrierError);
  assertThrows(() => Barrier.fromId(barrier.id).join(), BrokenBarrierError);
});

test("Barrier: handles of one barrier, opened by key, are of one barrier", async () => {
  using barrier = Barrier.create({ parties: 2, key: `barrier of ${runtime} ${performance.now()}` });
  using opened = Barrier.open(barrier.key!);
  assertEquals([barrier.onDeath, opened.parties], ["break", 2]);
  using one = barrier.join();
  using other = opened.join();
  await Promise.all([one.wait(), other.wait()]);
});

test("BrokenBarrierError is an error of its own name", () => {
  const error = new BrokenBarrierError("broken");
  assert(error instanceof Error && !(error instanceof IpcError));
  assertEquals(error.name, "BrokenBarrierError");
});
