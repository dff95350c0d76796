import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { runtimes } from "./support/child.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";
import { runSync } from "./support/sync.ts";

// What cannot read after it has taken something gives it back, in every form.

/** Forms that take and then read: how the object is made, and what is free again in the end. */
const forms: Record<string, readonly [create: string, take: string, values: readonly number[]]> = {
  "Leader.campaign()": ["Leader.create()", "campaign()", [1, 1, 0, 0]],
  "Leader.campaignSync()": ["Leader.create()", "campaignSync()", [1, 1, 0, 0]],
  "Leader.tryCampaign()": ["Leader.create()", "tryCampaign()", [1, 1, 0, 0]],
  "Mutex.lock()": ["abandoned()", "lock()", [1, 1]],
  "Mutex.lockSync()": ["abandoned()", "lockSync()", [1, 1]],
  "Mutex.tryLock()": ["abandoned()", "tryLock()", [1, 1]],
  "Mutex.recover()": ["abandoned()", "recover()", [1, 1]],
  "Mutex.recoverSync()": ["abandoned()", "recoverSync()", [1, 1]],
  "Bulkhead.register()": ["Bulkhead.create({ quota: 0.5 })", "register()", [16384, 1, 0]],
};

for (const runtime of runtimes) {
  for (const [name, [create, take, values]] of Object.entries(forms)) {
    test(
      `${name} gives back what it took when it may not read, in ${runtime}`,
      onlyRoot,
      async () => {
        await using child = runSync(
          `${privileges}
        becomeNobody();
        const abandoned = () => {
          const mutex = Mutex.create();
          libc.semctl(mutex.id, 1, libc.SETVAL, 1);
          return mutex;
        };
        const object = ${create};
        const mode = object.stat().mode;
        const size = object.stat().size;
        const { uid, gid } = object.stat();
        const allow = (mode) => libc.semctl(object.id, 0, libc.IPC_SET, { sem_perm: { uid, gid, mode } });
        allow(0o200);
        let told = "taken";
        try { await object.${take}; } catch (error) { told = error.code; }
        allow(mode);
        const values = Array.from({ length: size }, (_, i) => libc.semctl(object.id, i, libc.GETVAL));
        object[Symbol.dispose]();
        say(JSON.stringify([told, values]));`,
          { runtime },
        );
        assertEquals(JSON.parse(await child.hear()), ["EACCES", values]);
      },
    );
  }

  test(
    `BarrierParty.wait() that cannot see how a round ended can wait for the next, in ${runtime}`,
    onlyRoot,
    async () => {
      await using child = runSync(
        `${privileges}
      becomeNobody();
      const barrier = Barrier.create({ parties: 2, onDeath: "shrink" });
      const [one, other] = [barrier.join(), barrier.join()];
      const waits = [one.wait(), other.wait()];
      await Promise.all(waits);
      const { uid, gid } = barrier.stat();
      const allow = (mode) => libc.semctl(barrier.id, 0, libc.IPC_SET, { sem_perm: { uid, gid, mode } });
      const first = one.wait().catch((error) => error.code);
      allow(0o200);
      const told = await other.wait().catch((error) => error.code);
      const toldToo = await first;
      allow(0o600);
      await Promise.all([one.wait(), other.wait()]);
      one.leave();
      const tried = other.tryWait();
      other.leave();
      barrier[Symbol.dispose]();
      say(JSON.stringify([told, toldToo, tried]));`,
        { runtime },
      );
      assertEquals(JSON.parse(await child.hear()), ["EACCES", "EACCES", true]);
    },
  );

  test(`console.log shows a handle that may not be read, in ${runtime}`, onlyRoot, async () => {
    await using child = runSync(
      `${privileges}
      becomeNobody();
      const mutex = Mutex.create();
      mutex.setPermissions({ mode: 0o200 });
      console.log(mutex);
      mutex[Symbol.dispose]();
      say("removed");`,
      { runtime },
    );
    const shown = await child.hear();
    assertEquals(await child.hear(), "removed");
    assertEquals(shown.replace(/\d+/, "N"), 'Mutex { id: N, locked: <EACCES>, onDeath: "report" }');
  });
}
