import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { limits, list, type ListedByType, type ObjectType, orphans } from "@sysv/ipc/inventory";
import { Barrier, Bulkhead, Event, Gauge, Latch, Leader, Mutex, RwLock } from "@sysv/ipc/sync";
import { wrong } from "./support/assert.ts";
import { projectFile, run } from "./support/child.ts";
import { php, python, tool } from "./support/languages.ts";
import { removing } from "./support/objects.ts";
import { Name, start, testWith } from "./support/peer.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";
import { runSync } from "./support/sync.ts";
import { until } from "./support/time.ts";

/** The module, for the import of a child. */
const inventory = JSON.stringify(projectFile("ipc/inventory.ts"));

/** Finds an object in the list. */
function listed<Type extends ObjectType>(type: Type, id: number): ListedByType[Type] {
  const found = list({ type }).find((object) => object.id === id);
  assert(found !== undefined, `${type} ${id} is not listed`);
  return found!;
}

const meaning = ({ id }: { id: number }) => listed("sem", id).meaning;
const isOrphan = (type: ObjectType, id: number) =>
  orphans({ type }).some(({ object }) => object.id === id);

test("list() says of each kind what it is, and what its values mean", () => {
  const { pid } = process;
  using plain = SemaphoreSet.create({ values: [3, 0] });
  using one = Semaphore.create({ value: 7 });
  using mutex = Mutex.create();
  using rwlock = RwLock.create();
  using latch = Latch.create({ count: 2 });
  using event = Event.create();
  using barrier = Barrier.create({ parties: 3 });
  using gauge = Gauge.create();
  using bulkhead = Bulkhead.create({ tickets: 5 });
  using leader = Leader.create();
  const idle = [
    [plain, "set", "values 3, 0"],
    [one, "set", "value 7"],
    [mutex, "mutex", "free"],
    [rwlock, "rwlock", "free"],
    [latch, "latch", "2 to count down"],
    [event, "event", "not set"],
    [barrier, "barrier", "0 of 3 parties joined"],
    [gauge, "gauge", "idle"],
    [bulkhead, "bulkhead", "0 of 5 tickets out"],
    [leader, "leader", "vacant, term 0"],
  ] as const;
  for (const [{ id }, kind, meaning] of idle) {
    const object = listed("sem", id);
    assertEquals([object.kind, object.meaning, object.inUse], [kind, meaning, false]);
    assertEquals(object.values?.length, object.size);
    assertEquals(object.processes, [{ pid, role: "last operation", alive: true }]);
  }

  using guard = mutex.lockSync();
  using reading = rwlock.readSync();
  latch.countDown(2);
  event.set();
  const party = barrier.join();
  using _inside = gauge.enter();
  bulkhead.register();
  using _ticket = bulkhead.acquireSync();
  using leadership = leader.campaignSync();
  const busy = [
    [mutex, `held by pid ${pid}`],
    [rwlock, "1 reader"],
    [barrier, "1 of 3 parties joined"],
    [gauge, "1 inside"],
    [bulkhead, "1 of 5 tickets out, 1 worker"],
    [leader, `led by pid ${pid}, term 1`],
  ] as const;
  for (const [{ id }, meaning] of busy) {
    const object = listed("sem", id);
    assertEquals([object.meaning, object.inUse], [meaning, true]);
  }
  assertEquals(meaning(latch), "open");
  assertEquals(meaning(event), "set");

  reading.release();
  using _writing = rwlock.writeSync();
  assertEquals(meaning(rwlock), `written by pid ${pid}`);
  guard.release();
  leadership.release();
  party.leave();
  assertEquals([mutex, leader].map(meaning), ["free", "vacant, term 1"]);
  assertEquals(listed("sem", mutex.id).inUse, false);
});

test("list() counts who waits, and who died with a mutex", async () => {
  using mutex = Mutex.create();
  await using holder = runSync(
    `const mutex = Mutex.fromId(Number(args[0])); mutex.lockSync(); say("held"); await hear();`,
    { args: [mutex.id] },
  );
  assertEquals(await holder.hear(), "held");
  assertEquals(meaning(mutex), `held by pid ${holder.pid}`);
  const waiting = mutex.lock();
  await until(() => meaning(mutex) === `held by pid ${holder.pid}, 1 waiting`);
  await holder.kill();
  using _guard = await waiting;
  assertEquals(meaning(mutex), `held by pid ${process.pid}, 1 holder died`);
});

test("list() says that a set is not initialised", () => {
  using name = new Name();
  // What a creator that dies between semget and semop leaves.
  const { stdout } = spawnSync("perl", [
    "-e",
    `print semget(${name.key}, 2, 01000 | 02000 | 0610)`,
  ], { encoding: "utf8" });
  if (stdout === "") return;
  const object = listed("sem", Number(stdout));
  assertEquals([object.meaning, object.mode, object.hidden], ["not initialised", 0o600, undefined]);
  assertEquals(isOrphan("sem", object.id), false);
});

test("list() shows queues and segments with sizes, times and processes", () => {
  using queue = MessageQueue.create({ maxBytes: 1000, mode: 0o640 });
  const { pid } = process;
  const empty = listed("queue", queue.id);
  assertEquals([empty.meaning, empty.processes, empty.lastSend], ["empty", [], undefined]);
  queue.trySend("12345");
  queue.trySend("678");
  queue.tryReceive();
  const used = listed("queue", queue.id);
  const { mode, messages, bytes, maxBytes, processes, lastSend } = used;
  assertEquals([mode, messages, bytes, maxBytes], [0o640, 1, 3, 1000]);
  assertEquals(processes, [
    { pid, role: "last sender", alive: true },
    { pid, role: "last receiver", alive: true },
  ]);
  assertEquals(lastSend, queue.stat().lastSend);

  using memory = SharedMemory.create({ size: 5000 });
  const segment = listed("memory", memory.id);
  assertEquals([segment.size, segment.attachments, segment.inUse], [5000, 1, true]);
  assertEquals(segment.processes.map(({ role }) => role), ["creator", "last attachment"]);
  const info = memory.stat();
  assertEquals([segment.lastAttach, segment.uid, segment.key], [
    info.lastAttach,
    info.uid,
    info.key,
  ]);
});

test("orphans() lists what dead programs left, and nothing that somebody uses", async () => {
  await using child = run(`
    const sem = Semaphore.create({ value: 1, owner: false });
    const queue = MessageQueue.create({ owner: false });
    const kept = MessageQueue.create({ owner: false });
    const memory = SharedMemory.create({ size: 100, owner: false });
    const attached = SharedMemory.create({ size: 100, owner: false });
    const unused = MessageQueue.create({ owner: false });
    queue.trySend("left");
    kept.trySend("kept");
    say([sem, queue, kept, memory, attached, unused].map(({ id }) => id).join());
    await hear();
  `);
  const ids = (await child.hear()).split(",").map(Number);
  const [sem, queue, kept, memory, attached, unused] = ids as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  using ours = SharedMemory.fromId(attached);
  using _all = new DisposableStack();
  for (const object of [Semaphore.fromId(sem), SharedMemory.fromId(memory), ours]) {
    if (!(object instanceof SharedMemory) || object === ours) _all.use(removing(object));
  }
  for (const id of [queue, kept, unused]) _all.use(removing(MessageQueue.fromId(id)));
  for (const [type, id] of [["sem", sem], ["queue", queue], ["memory", memory]] as const) {
    assertEquals(isOrphan(type, id), false, `${type} while its creator lives`);
  }
  await child.kill();
  assertEquals(MessageQueue.fromId(kept).tryReceive()?.text(), "kept");
  SharedMemory.fromId(memory)[Symbol.dispose]();
  const found = orphans();
  const of = (type: ObjectType, id: number) =>
    found.find(({ object }) => object.type === type && object.id === id);
  assertEquals(
    of("sem", sem)?.reason,
    `its last user, pid ${child.pid}, is gone, and nobody waits for it`,
  );
  assertEquals(of("queue", queue)?.reason, `its last sender, pid ${child.pid}, is gone`);
  assert(of("queue", queue)!.age < 60_000);
  // Its last receiver lives, this process is attached, and nobody has ever used it.
  assertEquals([of("queue", kept), of("memory", attached), of("queue", unused)], [
    undefined,
    undefined,
    undefined,
  ]);
  // This process was the last to attach it, and lives.
  assertEquals(of("memory", memory), undefined);
  SharedMemory.fromId(memory).remove();
});

test("orphans() leaves out what a living process holds, whoever operated last", async () => {
  using bulkhead = Bulkhead.create({ tickets: 2 });
  using _ours = bulkhead.acquireSync();
  await using child = runSync(
    `Bulkhead.fromId(Number(args[0])).acquireSync(); say("held"); await hear();`,
    { args: [bulkhead.id] },
  );
  await child.hear();
  await child.kill();
  const { processes } = listed("sem", bulkhead.id);
  assert(processes.some(({ pid, alive }) => pid === child.pid && !alive));
  assertEquals(isOrphan("sem", bulkhead.id), false);
});

test("list() says what another user cannot read", onlyRoot, async () => {
  using sem = Semaphore.create({ value: 4 });
  using queue = MessageQueue.create();
  queue.trySend("secret");
  await using child = run(
    `
    ${privileges}
    import { list, orphans } from ${inventory};
    becomeNobody();
    const find = (type, id) => list({ type }).find((object) => object.id === Number(id));
    const { mode, values, hidden, size } = find("sem", args[0]);
    const { messages, bytes, hidden: nothing } = find("queue", args[1]);
    say(JSON.stringify([mode, values ?? null, hidden, size, messages, bytes, nothing ?? null]));
    say(String(orphans().some(({ object }) => object.id === Number(args[0]))));
  `,
    { args: [sem.id, queue.id] },
  );
  assertEquals(JSON.parse(await child.hear()), [
    0o600,
    null,
    "the mode does not permit this user to read values, waiters and processes",
    2,
    1,
    6,
    null,
  ]);
  assertEquals(await child.hear(), "false");
});

test("list() and orphans() check their options", () => {
  for (const options of wrong("sem", 1, null)) assertThrows(() => list(options), TypeError);
  assertThrows(() => list({ type: wrong("mutex")[0]! }), TypeError);
  assertThrows(() => orphans({ type: wrong("")[0]! }), TypeError);
});

/** Reads a table of ipcs or lsipc as rows of columns. */
function rows(command: string, ...args: string[]): string[][] {
  const { stdout } = spawnSync(command, args, { encoding: "utf8", env: { LC_ALL: "C" } });
  return stdout.trim().split("\n").map((line) => line.trim().split(/\s+/));
}

testWith([tool("ipcs")], "list() lists what ipcs lists", () => {
  using _sem = SemaphoreSet.create({ values: [1, 2, 3] });
  using _queue = MessageQueue.create();
  _queue.trySend("hello");
  using _memory = SharedMemory.create({ size: 4096 });
  const letters = { sem: "-s", queue: "-q", memory: "-m" } as const;
  for (const [type, letter] of Object.entries(letters) as [ObjectType, string][]) {
    const theirs = rows("ipcs", letter).filter(([key]) => /^0x/.test(key!)).map((columns) =>
      [columns[0], columns[1], columns[3], columns[4], ...columns.slice(5, 6)].join(" ")
    );
    const ours = list({ type }).map((object) => {
      const key = `0x${((object.key ?? 0) >>> 0).toString(16).padStart(8, "0")}`;
      const sizes = object.type === "sem"
        ? [object.semaphores]
        : object.type === "queue"
        ? [object.bytes, object.messages]
        : [object.size, object.attachments];
      return [key, object.id, object.mode.toString(8), ...sizes].join(" ");
    });
    assertEquals(new Set(ours), new Set(theirs), type);
  }
});

testWith([tool("lsipc")], "limits() agrees with lsipc", () => {
  using _sem = Semaphore.create();
  using _memory = SharedMemory.create({ size: 10_000 });
  const theirs = new Map(
    rows("lsipc", "--noheadings", "--raw", "--bytes", "--output", "RESOURCE,LIMIT,USED").map((
      [name, limit, used],
    ) => [name, [limit, used]]),
  );
  for (const { name, max, used, percent } of limits()) {
    const [limit, theirUsed] = theirs.get(name)!;
    assertEquals(max, Number(limit), name);
    if (used === undefined) continue;
    assertEquals(percent, 100 * used / max);
    // lsipc counts bytes, where the kernel counts the pages that every segment begins.
    if (name !== "SHMALL") assertEquals(used, Number(theirUsed), name);
  }
});

testWith([php], "list() shows what PHP makes as another program's", async () => {
  using name = new Name();
  await using peer = start(php);
  await peer.ask("get_semaphore", name.key, 3);
  await peer.ask("create_queue", name.key);
  await peer.ask("send", name.key, 1, "hello");
  await peer.ask("create_memory", name.key, 100);
  const of = <Type extends ObjectType>(type: Type) =>
    list({ type }).find(({ key }) => key === name.key)!;
  // What PHP calls a semaphore is a set of three: the value, the number of users, and a lock.
  const { kind, values, processes } = of("sem");
  assertEquals([kind, values], [undefined, [3, 1, 0]]);
  assertEquals(processes, [{ pid: peer.pid, role: "last operation", alive: true }]);
  assertEquals([of("queue").meaning, of("memory").size], ["1 message", 100]);
  assertEquals(orphans().some(({ object }) => object.key === name.key), false);
});

testWith([python], "list() shows what Python makes as another program's", async () => {
  using name = new Name();
  await using peer = start(python);
  await peer.ask("create_semaphore", name.key, 2);
  const { kind, values, processes } = list({ type: "sem" }).find(({ key }) => key === name.key)!;
  assertEquals([kind, values, processes.map(({ pid }) => pid)], [undefined, [2], [peer.pid]]);
});

test("list() lists thousands of objects, each once", () => {
  using stack = new DisposableStack();
  const ids = Array.from({ length: 2000 }, () => stack.use(Semaphore.create({ value: 1 })).id);
  const listed = new Set(list({ type: "sem" }).map(({ id }) => id));
  assert(ids.every((id) => listed.has(id)));
  assertMatch(String(listed.size), /^2\d{3}$/);
});
