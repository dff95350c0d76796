import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { Barrier, Bulkhead, Event, Gauge, Latch, Leader, Mutex, RwLock } from "@sysv/ipc/sync";
import { type Child, ending, nthRuntime } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { passed } from "./support/time.ts";
import { type Primitive, runSync, valuesOf, waitersOf } from "./support/sync.ts";

/** How many are killed in the storms on a mutex, and half as many in the others: more in a soak. */
const KILLS = process.env.IPC_TEST_SOAK === "1" ? 500 : 20;
/** How many are there at a time. */
const ALIVE = 6;

/** The words of the shared memory that all know: then 4 for each process. */
const STOP = 0, VIOLATION = 1, SLOTS = 16;

/** What a process of a storm is told: the identifiers, and its number. */
const tells = `
  const [id, memoryId, me, otherId] = args.map(Number);
  using memory = SharedMemory.fromId(memoryId);
  const words = new Int32Array(memory.buffer, 0, memory.size >> 2);
  const slot = ${SLOTS} + 4 * me;
  const going = () => Atomics.load(words, ${STOP}) === 0;
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  // Some stay so long that the others get there too.
  const linger = async () => {
    if (Math.random() < 0.2) return await turn();
    for (let i = Math.random() * 3000; i > 0; i--);
  };
  const violation = (number) => Atomics.store(words, ${VIOLATION}, number);
`;

/** Has every process die of SIGKILL at a random moment and replaced, and the last ones end. */
async function storm(
  primitive: Primitive,
  program: string,
  { kills = KILLS, kill = (child: Child) => child.kill(), other = 0 }: {
    kills?: number;
    kill?: (child: Child, words: Int32Array, me: number) => Promise<unknown>;
    other?: number;
  } = {},
): Promise<Int32Array> {
  const count = kills + ALIVE;
  using memory = SharedMemory.create({ size: 4 * (SLOTS + 4 * count) });
  const words = new Int32Array(memory.buffer, 0, memory.size >> 2);
  const alive: { child: Child; me: number }[] = [];
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(alive.map(({ child }) => child[Symbol.asyncDispose]()));
    },
  };
  let started = 0;
  const start = () => {
    const me = started++;
    const args = [primitive.id, memory.id, me, other];
    const child = runSync(tells + program, { args, runtime: nthRuntime(me) });
    alive.push({ child, me });
    return child.hear();
  };
  await Promise.all(Array.from({ length: ALIVE }, start));
  for (let killed = 0; killed < kills; killed++) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
    const [{ child, me }] = alive.splice(Math.floor(Math.random() * alive.length), 1) as [
      { child: Child; me: number },
    ];
    await kill(child, words, me);
    assertEquals((await child.exit).signal, "SIGKILL", child.stderr);
    await start();
  }
  Atomics.store(words, STOP, 1);
  for (const { child } of alive) {
    child.end();
    assertEquals(await child.exit, { code: 0, signal: null }, child.stderr);
  }
  assertEquals([words[VIOLATION], waitersOf(primitive)], [0, 0]);
  return words.slice();
}

/** The words of a process: where it is, what it has done, and what it has been told of. */
const OUTSIDE = 0, WANTS = 1, INSIDE = 2, LEAVES = 3;
const DONE = 1, TOLD = 2, TOLD_THEN = 3;
/** The words about the mutex: who is inside, as far as memory knows, and what all increment. */
const OWNER = 2, COUNTER = 3;

const mutexProgram = `
  const mutex = Mutex.fromId(id);
  const giveUp = (error) => {
    if (error !== "enough" && error.name !== "TimeoutError") throw error;
  };
  const aborted = () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort("enough"), Math.random() * 3);
    return controller.signal;
  };
  const locks = [
    () => mutex.lockSync(),
    () => mutex.lock(),
    () => mutex.tryLock(),
    () => mutex.lock({ timeout: Math.random() * 3 }).catch(giveUp),
    () => mutex.lock({ signal: aborted() }).catch(giveUp),
    () => { try { return mutex.lockSync({ timeout: Math.random() }); } catch (error) { giveUp(error); } },
  ];
  say("ready");
  for (let times = 0; going(); times++) {
    if (times % 20 === 0) await turn();
    words[slot] = ${WANTS};
    const guard = await locks[Math.floor(Math.random() * locks.length)]();
    if (guard === undefined) continue;
    words[slot] = ${INSIDE};
    if (Atomics.load(words, ${OWNER}) !== 0 && guard.abandoned === 0) violation(1);
    Atomics.store(words, ${OWNER}, me + 1);
    const count = words[${COUNTER}];
    await linger();
    words[${COUNTER}] = count + 1;
    words[slot + ${DONE}]++;
    if (Atomics.load(words, ${OWNER}) !== me + 1) violation(2);
    Atomics.store(words, ${OWNER}, 0);
    words[slot + ${TOLD_THEN}] = words[slot + ${TOLD}] + guard.abandoned;
    Atomics.store(words, slot, ${LEAVES});
    guard.release();
    Atomics.store(words, slot + ${TOLD}, words[slot + ${TOLD_THEN}]);
    Atomics.store(words, slot, ${OUTSIDE});
  }
`;

/** What processes knew at their ends. */
function wordsOf(words: Int32Array): number[][] {
  return Array.from(
    { length: KILLS + ALIVE },
    (_, me) => [...words.subarray(SLOTS + 4 * me, SLOTS + 4 * me + 4)],
  );
}

const sum = (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0);

test(`Mutex: ${KILLS} processes are killed anywhere, and nobody is inside beside another or misses a death`, async () => {
  using mutex = Mutex.create();
  const words = await storm(mutex, mutexProgram);
  let told;
  {
    using guard = await mutex.lock({ timeout: 1000 });
    told = guard.abandoned;
  }
  assertEquals(valuesOf(mutex), [1, 0]);

  const processes = wordsOf(words);
  const at = (place: number) => processes.filter(([where]) => where === place);
  const inside = at(INSIDE).length;
  // Who wanted to come in or leave may have had the mutex or not.
  const most = inside + at(WANTS).length + at(LEAVES).length;
  assert(told + sum(processes.map((it) => it[TOLD]!)) <= most);
  const ambiguous = ([where]: number[]) => where === LEAVES ? TOLD_THEN : TOLD;
  assert(told + sum(processes.map((it) => it[ambiguous(it)]!)) >= inside);
  const missing = words[COUNTER]! - sum(processes.map((it) => it[DONE]!));
  assert(missing >= 0 && missing <= inside, `${missing} increments by the dead`);
});

test(`Mutex: of ${KILLS} processes that are killed exactly those who held it are told of`, async () => {
  using mutex = Mutex.create();
  let holders = 0;
  const words = await storm(mutex, mutexProgram, {
    async kill(child, words, me) {
      await stop(child);
      // It can do no more: it has the mutex or not.
      const holds = mutex.ownerPid === child.pid;
      const slot = SLOTS + 4 * me;
      if (holds) holders++;
      else if (words[slot] === LEAVES) words[slot + TOLD] = words[slot + TOLD_THEN]!;
      await child.kill();
    },
  });
  using guard = await mutex.lock({ timeout: 1000 });
  assertEquals(guard.abandoned + sum(wordsOf(words).map((it) => it[TOLD]!)), holders);
  guard.release();
  assertEquals(valuesOf(mutex), [1, 0]);
});

/** Stops all threads of a process. */
async function stop({ pid }: Child): Promise<void> {
  process.kill(pid, "SIGSTOP");
  const states = () =>
    readdirSync(`/proc/${pid}/task`).map((task) =>
      readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8").split(") ")[1]![0]
    );
  for (let tries = 0; states().some((state) => state !== "T"); tries++) {
    if (tries > 5000) throw new Error(`Process ${pid} does not stop: ${states()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test(`RwLock: ${KILLS / 2} readers and writers are killed, and nobody writes beside another`, async () => {
  using lock = RwLock.create();
  await storm(
    lock,
    `
    const locks = [RwLock.fromId(id), RwLock.fromId(id, { prefer: "readers" })];
    const giveUp = (error) => { if (error.name !== "TimeoutError") throw error; };
    const timeout = () => ({ timeout: Math.random() * 3 });
    const reads = [
      (lock) => lock.read(), (lock) => lock.readSync(), (lock) => lock.tryRead(),
      (lock) => lock.read(timeout()).catch(giveUp),
    ];
    const writes = [
      (lock) => lock.write(), (lock) => lock.writeSync(), (lock) => lock.tryWrite(),
      (lock) => lock.write(timeout()).catch(giveUp),
      (lock) => { try { return lock.writeSync(timeout()); } catch (error) { giveUp(error); } },
    ];
    const some = (list) => list[Math.floor(Math.random() * list.length)];
    say("ready");
    for (let times = 0; going(); times++) {
      if (times % 20 === 0) await turn();
      const writing = Math.random() < 0.3;
      using guard = await some(writing ? writes : reads)(some(locks));
      if (guard === undefined) continue;
      const before = Atomics.load(words, ${COUNTER}) + (writing ? 1 : 0);
      if (writing) Atomics.store(words, ${COUNTER}, before);
      await linger();
      if (Atomics.load(words, ${COUNTER}) !== before) violation(writing ? 2 : 1);
    }
  `,
    { kills: KILLS / 2 },
  );
  assertEquals(valuesOf(lock), [0, 0, 0]);
  using _guard = lock.tryWrite()!;
  assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
});

test(`Bulkhead: ${KILLS / 2} workers are killed, and never more than the tickets are inside`, async () => {
  using bulkhead = Bulkhead.create({ tickets: 3 });
  using inside = Gauge.create();
  await storm(
    bulkhead,
    `
    const bulkhead = Bulkhead.fromId(id);
    const inside = Gauge.fromId(otherId);
    const giveUp = (error) => { if (error.name !== "TimeoutError") throw error; };
    const takes = [
      () => bulkhead.acquire(), () => bulkhead.acquireSync(), () => bulkhead.tryAcquire(),
      () => bulkhead.acquire({ timeout: Math.random() * 3 }).catch(giveUp),
    ];
    // The kernel undoes first what was begun last: a ticket must not be free before its holder is gone.
    bulkhead.register();
    SemaphoreSet.fromId(otherId, { kind: "gauge" })
      .operateSync([{ delta: 1, undo: true }, { delta: -1, undo: true }]);
    say("ready");
    for (let times = 0; going(); times++) {
      if (times % 20 === 0) await turn();
      if (times % 50 === 0) bulkhead.resize(2);
      if (times % 50 === 25) bulkhead.resize(3);
      using permit = await takes[Math.floor(Math.random() * takes.length)]();
      if (permit === undefined) continue;
      using _entry = inside.enter();
      if (inside.value > 3) violation(1);
      await linger();
    }
    bulkhead[Symbol.dispose]();
  `,
    { kills: KILLS / 2, other: inside.id },
  );
  const { tickets } = bulkhead.state();
  assert(tickets === 2 || tickets === 3);
  assertEquals([valuesOf(bulkhead), inside.value], [[16383 + tickets, tickets, 0], 0]);
});

test("openOrCreate() of 24 racing processes, some killed, gives all of them the same of every kind", async () => {
  const key = freshName();
  const makes: Record<
    string,
    [options: string, make: (key: string) => Primitive, values: number[]]
  > = {
    Barrier: ["{ parties: 3 }", (key) => Barrier.open(key), [0, 0, 0, 3, 0, 3]],
    Bulkhead: ["{ tickets: 5 }", (key) => Bulkhead.open(key), [16388, 5, 0]],
    Event: ["{}", (key) => Event.open(key), [1]],
    Gauge: ["{}", (key) => Gauge.open(key), [0, 32767]],
    Latch: ["{ count: 9 }", (key) => Latch.open(key), [9]],
    Leader: ["{}", (key) => Leader.open(key), [1, 0, 0, 0]],
    Mutex: ["{}", (key) => Mutex.open(key), [1, 0]],
    RwLock: ["{}", (key) => RwLock.open(key), [0, 0, 0]],
  };
  const rounds = 20;
  const opens = Object.entries(makes).map(([name, [options]]) =>
    `${name}.openOrCreate(args[0] + round + "${name}", ${options}).id`
  );
  const children = Array.from({ length: 24 }, (_, i) =>
    runSync(
      `say("ready");
      await hear();
      const ids = [];
      for (let round = 0; round < ${rounds}; round++) ids.push(${opens.join(", ")});
      say(ids.join());
      await hear();`,
      { args: [key], runtime: nthRuntime(i) },
    ));
  await using _ = ending(...children);
  for (const child of children) assertEquals(await child.hear(), "ready");
  for (const child of children) child.say("go");

  // Each is killed at a random moment of its race, wherever it is in openOrCreate().
  const killed = children.filter((_, i) => i % 3 === 0);
  const unfinished = await Promise.all(killed.map(async (child) => {
    await passed(Math.random() * 50);
    await child.kill();
    return await child.hear().then(() => false, () => true);
  }));
  const survivors = children.filter((child) => !killed.includes(child));
  const answers = await Promise.all(survivors.map((child) => child.hear()));
  const opened = Array.from(
    { length: rounds },
    (_, round) => Object.entries(makes).map(([name, [, open]]) => open(`${key}${round}${name}`)),
  ).flat();
  using _all = {
    [Symbol.dispose]: () => {
      for (const primitive of opened) removing(primitive)[Symbol.dispose]();
    },
  };
  assert(unfinished.includes(true));
  assertEquals([...new Set(answers)], [opened.map(({ id }) => id).join()]);
  const values = Object.values(makes).map(([, , values]) => values);
  assertEquals(opened.map(valuesOf), Array(rounds).fill(values).flat());
});
