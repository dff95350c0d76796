import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import process from "node:process";
import { keyOf, MessageQueue, Semaphore, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import { assertIpcError } from "./support/assert.ts";
import { type Child, nthRuntime, run, runtimes } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";
import { passed, until } from "./support/time.ts";

/** The mode bits of a set that its creator has not initialised. */
const MARK = 0o010;
const create = libc.IPC_CREAT | libc.IPC_EXCL;

/**
 * Opens or creates, checks that what it got is whole, moves a unit with undo, sometimes removes. A
 * set that was not initialised, or initialised twice, would have another sum or size.
 */
const racer = `
  const [name, rounds] = [args[0], Number(args[1])];
  let removals = 0;
  say("ready");
  await hear();
  for (let round = 0; round < rounds; round++) {
    const set = SemaphoreSet.openOrCreate(name, { values: [5, 7] });
    try {
      if (set.size !== 2) throw new Error("size " + set.size);
      const [a, b] = set.values;
      if (a + b !== 12) throw new Error("values " + a + ", " + b);
      const there = set.tryOperate([{ index: 0, delta: -1, undo: true }, { index: 1, delta: 1, undo: true }]);
      if (there) set.operateSync([{ index: 1, delta: -1, undo: true }, { index: 0, delta: 1, undo: true }]);
      if (Math.random() < 0.8) {
        set.remove();
        removals++;
      }
    } catch (error) {
      if (error.code !== "EIDRM") throw error;
    }
    if (round % 50 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  say(removals);
`;

test("24 processes of all runtimes race with openOrCreate() while some are killed and the set is removed", async () => {
  const name = freshName();
  await using racers = started(
    24,
    (i) => run(racer, { args: [name, 1000], runtime: nthRuntime(i) }),
  );
  const { children } = racers;
  for (const child of children) assertEquals(await child.hear(), "ready");
  for (const child of children) child.say("go");

  // Each is killed at a random moment of its race, wherever it is in openOrCreate().
  const killed = children.filter((_, i) => i % 3 === 0);
  const exits = await Promise.all(killed.map(async (child) => {
    await passed(Math.random() * 200);
    return await child.kill();
  }));
  let removals = 0;
  for (const child of children) {
    if (killed.includes(child)) continue;
    child.end();
    removals += Number(await child.hear());
    assertEquals(await child.exit, { code: 0, signal: null }, child.stderr);
  }
  assert(exits.some(({ signal }) => signal === "SIGKILL"));
  assert(removals > 0);

  using set = SemaphoreSet.openOrCreate(name, { values: [5, 7] });
  using _ = removing(set);
  assertEquals([set.size, set.values], [2, [5, 7]]);
});

for (const runtime of runtimes) {
  test(`openOrCreate() finishes what ${runtime} left when it was killed between semget and semop`, async () => {
    const key = keyOf(freshName());
    await using creator = run(
      `
      libc.semget(Number(args[0]), 3, libc.IPC_CREAT | libc.IPC_EXCL | 0o610);
      process.kill(process.pid, "SIGKILL");
      await hear();
    `,
      { args: [key], runtime },
    );
    assertEquals((await creator.exit).signal, "SIGKILL");
    using set = SemaphoreSet.openOrCreate(key, { values: [5, 7] });
    using _ = removing(set);
    assertEquals([set.size, set.values, set.stat().mode], [2, [5, 7], 0o600]);
  });
}

for (const [state, mark] of [["with its mark", MARK], ["without a mark", 0]] as const) {
  test(`openOrCreate() finishes a set that its creator left ${state}`, () => {
    const key = keyOf(freshName());
    const id = libc.semget(key, 3, create | 0o640 | mark);
    using set = SemaphoreSet.openOrCreate(key, { values: [5, 7] });
    using _ = removing(set);
    assertEquals([set.id, set.size, set.values], [id, 2, [5, 7]]);
    assertEquals(libc.semctl(id, 0, libc.IPC_STAT).sem_perm.mode & 0o777, 0o640);
    using opened = SemaphoreSet.open(key);
    assertEquals([opened.size, opened.values], [2, [5, 7]]);
    using again = SemaphoreSet.openOrCreate(key, { values: [1, 1] });
    assertEquals(again.values, [5, 7]);
  });

  test(`openOrCreate() finishes a set of any kind that its creator left ${state}`, () => {
    const key = keyOf(freshName());
    libc.semget(key, 2, create | 0o600 | mark);
    using mutex = SemaphoreSet.openOrCreate(key, { kind: "mutex", values: [0] });
    using _ = removing(mutex);
    assertEquals([mutex.size, mutex.values], [1, [0]]);
    assertIpcError(() => Semaphore.open(key), "EINVAL", "semget");
  });
}

test("openOrCreate() takes a finished set on which the mark stayed, as its creator died before dropping it", () => {
  const key = keyOf(freshName());
  using created = SemaphoreSet.create({ key, values: [5, 7] });
  libc.semctl(created.id, 0, libc.IPC_SET, { sem_perm: { mode: 0o610 } });
  assertEquals(SemaphoreSet.openOrCreate(key, { values: [1, 1] }).values, [5, 7]);
  assertEquals(SemaphoreSet.open(key).values, [5, 7]);
  assertEquals(SemaphoreSet.fromId(created.id).values, [5, 7]);
});

test("openOrCreate() refuses an unfinished set that is smaller", () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 3, create | 0o600 | MARK);
  const values = [5, 7, 9];
  assertIpcError(() => SemaphoreSet.openOrCreate(key, { values }), "EINVAL", "semget");
  assertEquals(libc.semctl(id, 0, libc.GETALL), [0, 0, 0]);
  libc.semctl(id, 0, libc.IPC_RMID);
});

test("openOrCreate() gives EAGAIN for an unfinished set that is larger, until somebody finishes it", () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 3, create | 0o600 | MARK);
  const error = assertIpcError(() => Semaphore.openOrCreate(key), "EAGAIN", "semget");
  assertStringIncludes(error.message, "its 2 values");
  assertStringIncludes(error.message, `"ipcrm -s ${id}" removes it`);
  assertEquals(libc.semctl(id, 0, libc.GETALL), [0, 0, 0]);
  using set = SemaphoreSet.openOrCreate(key, { values: [5, 7] });
  using _ = removing(set);
  assertEquals(Semaphore.openOrCreate(key).value, 5);
});

test("openOrCreate() takes as it is what another program used before it was finished", async () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 2, create | 0o600 | MARK);
  using opened = Semaphore.fromId(finishedElsewhere(id));
  using _ = removing(opened);
  await using child = run(`say(Semaphore.openOrCreate(Number(args[0]), { value: 5 }).value);`, {
    args: [key],
  });
  let value: string | undefined;
  const heard = child.hear().then((line) => value = line);
  await Promise.race([heard, until(() => value !== undefined, 5_000)]);
  assertEquals(value, "3");
});

test("open() and fromId() give EAGAIN for a set that its creator has not initialised", () => {
  const key = keyOf(freshName());
  const id = libc.semget(key, 2, create | 0o600 | MARK);
  const refused = [
    () => Semaphore.open(key),
    () => SemaphoreSet.open(key),
    () => Semaphore.fromId(id),
    () => SemaphoreSet.fromId(id, { kind: "mutex" }),
  ];
  for (const open of refused) {
    const error = assertIpcError(open, "EAGAIN", "semget");
    assertStringIncludes(error.message, "openOrCreate finishes it");
    assertEquals(error.id, id);
  }
  using finished = Semaphore.openOrCreate(key, { value: 4 });
  using _ = removing(finished);
  assertEquals(Semaphore.open(key).value, 4);
});

test("create() fails with EEXIST where an unfinished set has the key, and leaves it", () => {
  const key = keyOf(freshName());
  libc.semget(key, 2, create | 0o600 | MARK);
  assertIpcError(() => Semaphore.create({ key, value: 9 }), "EEXIST", "semget");
  using finished = Semaphore.openOrCreate(key, { value: 4 });
  using _ = removing(finished);
  assertEquals(finished.value, 4);
});

test("create() with a key is initialised by the time anybody can open it", async () => {
  const name = freshName();
  await using reader = run(
    `
    say("ready");
    await hear();
    const seen = new Set();
    for (;;) {
      try {
        const value = Semaphore.open(args[0]).value;
        seen.add(value);
        if (value === 6) break;
      } catch (error) {
        seen.add(error.code);
      }
    }
    say([...seen].filter((value) => !["ENOENT", "EIDRM", "EAGAIN", 5].includes(value)).join());
  `,
    { args: [name] },
  );
  assertEquals(await reader.hear(), "ready");
  reader.say("go");
  for (let i = 0; i < 2000; i++) {
    using semaphore = Semaphore.create({ key: name, value: 5 });
    assertEquals(semaphore.value, 5);
  }
  using _last = Semaphore.create({ key: name, value: 6 });
  assertEquals(await reader.hear(), "6");
});

const NOBODY = 65534;

for (const runtime of runtimes) {
  test(
    `openOrCreate() refuses what another user made in ${runtime}, unless allowForeign`,
    onlyRoot,
    async () => {
      const key = freshName();
      await using squatter = run(
        `${privileges}
    becomeNobody();
      Semaphore.create({ key: args[0], value: 3, mode: 0o666, owner: false });
      say("made");
      await hear();
    `,
        { args: [key], runtime },
      );
      assertEquals(await squatter.hear(), "made");
      using taken = Semaphore.openOrCreate(key, { value: 9, allowForeign: true });
      using _ = removing(taken);
      assertEquals([taken.value, taken.stat().creatorUid], [3, NOBODY]);
      const error = assertIpcError(() => Semaphore.openOrCreate(key), "EPERM", "semget");
      assertStringIncludes(error.message, `created by uid ${NOBODY}: pass `);
      assertStringIncludes(error.message, "allowForeign: true");
      assertEquals(Semaphore.open(key).value, 3);
    },
  );
}

test(
  "openOrCreate() refuses an unfinished set that another user made, and does not touch it",
  onlyRoot,
  async () => {
    const key = keyOf(freshName());
    await using squatter = run(
      `${privileges}
    becomeNobody();
    say(libc.semget(Number(args[0]), 2, libc.IPC_CREAT | libc.IPC_EXCL | 0o676));
    await hear();
  `,
      { args: [key] },
    );
    const id = Number(await squatter.hear());
    assertIpcError(() => Semaphore.openOrCreate(key, { value: 5 }), "EPERM", "semget");
    assertEquals(libc.semctl(id, 0, libc.GETALL), [0, 0]);
    using finished = Semaphore.openOrCreate(key, { value: 5, allowForeign: true });
    using _ = removing(finished);
    assertEquals(finished.value, 5);
  },
);

test(
  "openOrCreate() refuses another's object that was handed over: its creator stays its creator",
  onlyRoot,
  async () => {
    const key = freshName();
    await using squatter = run(
      `${privileges}
    becomeNobody();
    const semaphore = Semaphore.create({ key: args[0], mode: 0o666, owner: false });
    say(semaphore.id);
    await hear();
  `,
      { args: [key] },
    );
    using semaphore = Semaphore.fromId(Number(await squatter.hear()));
    using _ = removing(semaphore);
    semaphore.setPermissions({ uid: process.geteuid!() });
    assertIpcError(() => Semaphore.openOrCreate(key), "EPERM", "semget");
  },
);

test(
  "openOrCreate() as an unprivileged user takes a foreign set it may use, if allowed to",
  onlyRoot,
  async () => {
    const key = freshName();
    using semaphore = Semaphore.create({ key, value: 3, mode: 0o666 });
    await using child = run(
      `${privileges}
    becomeNobody();
    try {
      Semaphore.openOrCreate(args[0]);
    } catch (error) {
      say(error.code + " " + error.syscall);
    }
    const semaphore = Semaphore.openOrCreate(args[0], { allowForeign: true });
    semaphore.decrementSync();
    say(semaphore.value);
  `,
      { args: [key] },
    );
    assertEquals(await child.hear(), "EPERM semget");
    assertEquals(await child.hear(), "2");
    assertEquals(semaphore.value, 2);
  },
);

test("openOrCreate() leaves nothing behind when it fails", onlyRoot, async () => {
  const key = freshName();
  await using child = run(
    `${privileges}
    becomeNobody();
    for (const mode of [0o400, 0o200, 0]) {
      say(failure(() => Semaphore.openOrCreate(args[0], { mode })));
      say(failure(() => SharedMemory.openOrCreate(args[0], { size: 1, mode })));
    }
    say(failure(() => MessageQueue.openOrCreate(args[0], { maxBytes: 0x7fffffff })));
  `,
    { args: [key] },
  );
  const expected = [
    "EACCES semop",
    "EACCES shmat",
    "EACCES semctl",
    "EACCES shmctl",
    "EACCES semctl",
    "EACCES shmctl",
    "EPERM msgctl",
  ];
  for (const line of expected) assertEquals(await child.hear(), line);
  assertIpcError(() => Semaphore.open(key), "ENOENT", "semget");
  assertIpcError(() => SharedMemory.open(key), "ENOENT", "shmget");
  assertIpcError(() => MessageQueue.open(key), "ENOENT", "msgget");
});

test("openOrCreate() opens again a queue to which its user may only send", onlyRoot, async () => {
  const key = freshName();
  await using child = run(
    `${privileges}
    becomeNobody();
    for (const text of ["first", "second"]) {
      const queue = MessageQueue.openOrCreate(args[0], { mode: 0o200 });
      say(queue.id + " " + queue.trySend(text));
    }
    await hear();
  `,
    { args: [key] },
  );
  const told = await child.hear();
  using queue = MessageQueue.open(key);
  using _ = removing(queue);
  assertEquals([told, await child.hear()], [`${queue.id} true`, `${queue.id} true`]);
  assertIpcError(() => MessageQueue.openOrCreate(key), "EPERM", "msgget");
});

/** Uses an unfinished set as a program does that knows nothing of us. */
function finishedElsewhere(id: number): number {
  libc.semctl(id, 0, libc.SETVAL, 3);
  return id;
}

/** Starts processes that are killed at the end of the block. */
function started(count: number, start: (index: number) => Child) {
  const children = Array.from({ length: count }, (_, index) => start(index));
  return {
    children,
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => child[Symbol.asyncDispose]()));
    },
  };
}

/** A random moment of somebody else's work is a matter of time, not of a condition. */
