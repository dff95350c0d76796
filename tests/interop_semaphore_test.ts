import { assertEquals } from "@std/assert";
import { ftok, keyOf, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { projectFile, run } from "./support/child.ts";
import { c, perl, php, python } from "./support/languages.ts";
import { Name, start, testWith } from "./support/peer.ts";
import { until } from "./support/time.ts";

for (const language of [python, perl, php]) {
  testWith(
    [language],
    `keyOf() gives the key that ${language.name} computes of the same name`,
    async () => {
      await using peer = start(language);
      for (const name of ["gunicorn", "jobs/7", "grüße"]) {
        assertEquals(await peer.ask("key", name), String(keyOf(name)));
      }
    },
  );
}

for (const language of [c, python, perl, php]) {
  testWith(
    [language],
    `ftok() gives the key that ${language.name} gives for the same file`,
    async () => {
      await using peer = start(language);
      const path = projectFile("mod.ts");
      assertEquals(await peer.ask("ftok", path, 7), String(ftok(path, 7)));
    },
  );
}

for (const language of [c, python, perl]) {
  testWith([language], `${language.name} opens a semaphore of ours by its key`, async () => {
    using name = new Name();
    using semaphore = Semaphore.create({ key: name.text, value: 3 });
    await using peer = start(language);
    assertEquals(await peer.ask("value", name.key), "3");
    await peer.ask("operate", name.key, 4);
    assertEquals(semaphore.value, 7);
    await peer.ask("operate", name.key, -2);
    assertEquals(semaphore.value, 5);
    assertEquals(semaphore.lastPid, peer.pid);
  });

  testWith(
    [language],
    `Semaphore.open() opens a semaphore that ${language.name} created`,
    async () => {
      using name = new Name();
      await using peer = start(language);
      const id = await peer.ask("create_semaphore", name.key, 3);
      using semaphore = Semaphore.open(name.text);
      assertEquals(String(semaphore.id), id);
      assertEquals(semaphore.value, 3);
      semaphore.increment(2);
      assertEquals(await peer.ask("value", name.key), "5");
      assertEquals(semaphore.tryDecrement(6), false);
    },
  );

  testWith(
    [language],
    `Semaphore.openOrCreate() leaves a value that ${language.name} has set`,
    async () => {
      using name = new Name();
      await using peer = start(language);
      await peer.ask("create_semaphore", name.key, 3);
      using semaphore = Semaphore.openOrCreate(name.text, { value: 9 });
      assertEquals(semaphore.value, 3);
    },
  );

  testWith([language], `Semaphore.increment() wakes ${language.name} waiting for it`, async () => {
    using name = new Name();
    using semaphore = Semaphore.create({ key: name.text });
    await using peer = start(language);
    peer.tell("operate", name.key, -2);
    await until(() => semaphore.waiting.forIncrease === 1);
    semaphore.increment(2);
    assertEquals(await peer.hear(), "done");
    assertEquals(semaphore.value, 0);
  });

  testWith(
    [language],
    `Semaphore.decrementSync() goes on when ${language.name} releases`,
    async () => {
      using name = new Name();
      using semaphore = Semaphore.create({ key: name.text });
      await using peer = start(language);
      await using child = run(`Semaphore.open(args[0]).decrementSync(2); say("got it");`, {
        args: [name.text],
      });
      await until(() => semaphore.waiting.forIncrease === 1);
      await peer.ask("operate", name.key, 2);
      assertEquals(await child.hear(), "got it");
      assertEquals(semaphore.value, 0);
    },
  );

  testWith(
    [language],
    `Semaphore.value is right again when ${language.name} is killed, with undo`,
    async () => {
      using name = new Name();
      using semaphore = Semaphore.create({ key: name.text, value: 5 });
      await using peer = start(language);
      await peer.ask("operate", name.key, 1, "undo");
      await peer.ask("operate", name.key, -3, "undo");
      await peer.ask("operate", name.key, 10);
      assertEquals(semaphore.value, 13);
      await peer.kill();
      assertEquals(semaphore.value, 15);
    },
  );
}

testWith(
  [php],
  "SemaphoreSet.open() shows what PHP's sem_get made: the value, its users, a lock",
  async () => {
    using name = new Name();
    await using peer = start(php);
    await peer.ask("get_semaphore", name.key, 2);
    using set = SemaphoreSet.open(name.text);
    assertEquals(set.values, [2, 1, 0]);
    await peer.ask("acquire", name.key);
    assertEquals(set.values, [1, 1, 0]);
  },
);

testWith([php], "Semaphore.tryAcquire() shares a semaphore with PHP", async () => {
  using name = new Name();
  await using peer = start(php);
  await peer.ask("get_semaphore", name.key, 1);
  using semaphore = Semaphore.open(name.text);
  {
    using _permit = semaphore.tryAcquire();
    peer.tell("acquire", name.key);
    await until(() => semaphore.waiting.forIncrease === 1);
  }
  assertEquals(await peer.hear(), "done");
  assertEquals(semaphore.tryAcquire(), undefined);
});

testWith([php], "Semaphore.acquireSync() goes on when PHP releases", async () => {
  using name = new Name();
  await using peer = start(php);
  await peer.ask("get_semaphore", name.key, 1);
  await peer.ask("acquire", name.key);
  using semaphore = Semaphore.open(name.text);
  await using child = run(
    `const permit = Semaphore.open(args[0]).acquireSync(); say("got it"); await hear(); permit.release();`,
    { args: [name.text] },
  );
  await until(() => semaphore.waiting.forIncrease === 1);
  await peer.ask("release", name.key);
  assertEquals(await child.hear(), "got it");
  assertEquals(semaphore.value, 0);
});

testWith([php], "Semaphore.value is right again when PHP is killed", async () => {
  using name = new Name();
  await using peer = start(php);
  await peer.ask("get_semaphore", name.key, 4);
  await peer.ask("acquire", name.key);
  using set = SemaphoreSet.open(name.text);
  assertEquals(set.values, [3, 1, 0]);
  await peer.kill();
  assertEquals(set.values, [4, 0, 0]);
});

testWith(
  [php],
  "SemaphoreSet.create() makes what PHP's sem_get takes: a value, one user at least, a lock",
  async () => {
    using name = new Name();
    using set = SemaphoreSet.create({ key: name.text, values: [2, 1, 0] });
    await using peer = start(php);
    await peer.ask("get_semaphore", name.key, 9);
    assertEquals(set.values, [2, 2, 0]);
    await peer.ask("acquire", name.key);
    assertEquals(set.values, [1, 2, 0]);
  },
);
