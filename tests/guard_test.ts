import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { guard, MessageQueue, Semaphore, SharedMemory } from "@sysv/ipc";
import { list } from "@sysv/ipc/inventory";
import { assertIpcError, wrong } from "./support/assert.ts";
import {
  type Child,
  ending,
  otherRuntime,
  projectFile,
  run,
  type Runtime,
  runtime,
  runtimes,
  told,
} from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";
import { freshName, removing } from "./support/objects.ts";
import { onlyRoot, onlyUnshared, privileges } from "./support/privilege.ts";
import { passed, until } from "./support/time.ts";

/** Whether an object is there. */
const isThere = (type: "sem" | "queue" | "memory", id: number) =>
  list({ type }).some((object) => object.id === id);

/** The watchdogs that a process has started and that run. */
function watchdogsOf(pid: number): number[] {
  const { stdout } = spawnSync("ps", ["-o", "pid=,stat=,comm=", "--ppid", String(pid)], {
    encoding: "utf8",
  });
  return stdout.split("\n").map((line) => line.trim().split(/\s+/)).filter(([, , comm]) =>
    comm === "sh"
  ).map(([pid]) => Number(pid));
}

const isRunning = (pid: number) => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

/** A program that guards a semaphore, a queue and a segment, and says their numbers. */
const three = `
  import { guard } from ${JSON.stringify(projectFile("mod.ts"))};
  const three = [Semaphore.create(), MessageQueue.create(), SharedMemory.create({ size: 10 })];
  const guarding = guard(...three);
  const ids = three.map(({ id }) => id).join();
`;

type Three = [sem: number, queue: number, memory: number];
const idsIn = (line: string) => line.split(",").map(Number) as Three;

const areThere = ([sem, queue, memory]: Three) => [
  isThere("sem", sem),
  isThere("queue", queue),
  isThere("memory", memory),
];

for (const runtime of runtimes) {
  test(`guard() removes objects after SIGKILL, and its watchdog ends (${runtime})`, async () => {
    using other = MessageQueue.create();
    await using child = run(`${three} say(ids); await hear();`, { runtime });
    const ids = idsIn(await child.hear());
    const [watchdog, ...more] = watchdogsOf(child.pid);
    assertEquals(more, []);
    assertEquals(areThere(ids), [true, true, true]);
    await child.kill();
    await until(() => areThere(ids).every((there) => !there));
    await until(() => !isRunning(watchdog!));
    assert(isThere("queue", other.id));
  });

  test(`guard() removes objects at a normal end and at an error (${runtime})`, async () => {
    for (const end of ["", "process.exit(3);", "throw new Error('expected');"]) {
      await using child = run(`${three} say(ids); ${end}`, { runtime });
      const ids = idsIn(await child.hear());
      await child.exit;
      await until(() => areThere(ids).every((there) => !there));
    }
  });

  test(`the watchdog survives what a terminal sends, and holds no descriptors (${runtime})`, async () => {
    const program = `
      import { spawn } from "node:child_process";
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => say(signal));
      const before = spawn("sleep", ["100"], { stdio: ["pipe", "pipe", "ignore", "pipe"] });
      ${three}
      const after = spawn("sleep", ["100"], { stdio: ["pipe", "pipe", "ignore", "pipe"] });
      say([before.pid, after.pid].join());
      say(ids);
      await hear();
    `;
    await using child = run(program, { runtime, permissions: ["-A"] });
    const sleepers = (await child.hear()).split(",").map(Number);
    const ids = idsIn(await child.hear());
    const [watchdog] = watchdogsOf(child.pid);
    const held = readdirSync(`/proc/${watchdog}/fd`).map((fd) => [
      fd,
      readlinkSync(`/proc/${watchdog}/fd/${fd}`).replace(/\d+/, "N"),
    ]);
    assertEquals(held, [["0", "pipe:[N]"], ["1", "/dev/null"], ["2", "/dev/null"]]);
    const session = (pid: number) => readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[5];
    assertEquals(session(watchdog!), String(watchdog));
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) {
      process.kill(watchdog!, signal);
    }
    await child.kill();
    // Its children live on, and keep no pipe of the watchdog open.
    await until(() => areThere(ids).every((there) => !there));
    for (const pid of sleepers) {
      assert(isRunning(pid));
      process.kill(pid);
    }
  });

  test(`guard() is called off by remove, by dispose and by what it returns (${runtime})`, async () => {
    const endings = [
      "for (const object of three) object.remove();",
      "for (const object of three) object[Symbol.dispose]();",
      "guarding[Symbol.dispose]();",
    ];
    for (const [index, end] of endings.entries()) {
      await using child = run(`${three} say(ids); await hear(); ${end} say("off"); await hear();`, {
        runtime,
      });
      const [sem, queue, memory] = idsIn(await child.hear());
      const [watchdog] = watchdogsOf(child.pid);
      child.say("end it");
      await child.hear();
      assertEquals([watchdogsOf(child.pid), isRunning(watchdog!)], [[], false]);
      const stays = index === 2;
      await child.kill();
      await passed(20);
      assertEquals(areThere([sem, queue, memory]), [stays, stays, stays]);
      if (!stays) continue;
      Semaphore.fromId(sem).remove();
      MessageQueue.fromId(queue).remove();
      SharedMemory.fromId(memory).remove();
    }
  });

  test(`guard() without objects keeps the watchdog ready (${runtime})`, async () => {
    const program = `
      const { guard } = ipc;
      const ready = guard();
      say("ready");
      await hear();
      const queue = MessageQueue.create();
      guard(queue);
      say(queue.id);
      await hear();
      queue.remove();
      say("removed");
      await hear();
      ready[Symbol.dispose]();
      say("off");
      await hear();
    `;
    await using child = run(program, { runtime });
    await child.hear();
    const watchdogs = watchdogsOf(child.pid);
    assertEquals(watchdogs.length, 1);
    for (const expected of [watchdogs, watchdogs, []]) {
      child.say("next");
      await child.hear();
      assertEquals(watchdogsOf(child.pid), expected);
    }
  });
}

test("guard() starts another watchdog in the place of one that was killed", async () => {
  const program =
    `${three} say(ids); await hear(); guard(Semaphore.create()); say(""); await hear();`;
  await using child = run(program);
  const ids = idsIn(await child.hear());
  const [watchdog] = watchdogsOf(child.pid);
  process.kill(watchdog!, "SIGKILL");
  await until(() => !isRunning(watchdog!));
  child.say("again");
  await child.hear();
  assertEquals(watchdogsOf(child.pid).length, 1);
  await child.kill();
  await until(() => areThere(ids).every((there) => !there));
});

test("guard() counts how often an object is guarded, and guards what others made", async () => {
  using queue = MessageQueue.create();
  const program = `
    const { guard } = ipc;
    const queue = MessageQueue.fromId(Number(args[0]));
    guard(queue)[Symbol.dispose]();
    const kept = guard(queue);
    const again = guard(MessageQueue.fromId(Number(args[0])));
    again[Symbol.dispose]();
    again[Symbol.dispose]();
    say("guarded");
    await hear();
  `;
  await using child = run(program, { args: [queue.id] });
  await child.hear();
  assert(isThere("queue", queue.id));
  await child.kill();
  await until(() => !isThere("queue", queue.id));
});

test("guard() guards primitives as it guards what they are made of", async () => {
  const program = `
    const { guard } = ipc;
    const { Bulkhead, Mutex } = sync;
    const [mutex, bulkhead] = [Mutex.create(), Bulkhead.create({ tickets: 2 })];
    guard(mutex, bulkhead);
    mutex.lockSync();
    say([mutex.id, bulkhead.id].join());
    await hear();
    bulkhead.remove();
    say("removed");
    await hear();
  `;
  await using child = run(
    `import * as sync from ${JSON.stringify(projectFile("sync/mod.ts"))};${program}`,
  );
  const [mutex, bulkhead] = (await child.hear()).split(",").map(Number) as [number, number];
  child.say("remove");
  await child.hear();
  assertEquals([isThere("sem", mutex), isThere("sem", bulkhead)], [true, false]);
  await child.kill();
  await until(() => !isThere("sem", mutex));
});

test("guard() leaves alone what came in the place of what it guarded", onlyUnshared, async () => {
  const program = `
    ${privileges}
    import { spawnSync } from "node:child_process";
    const { guard } = ipc;
    // The next queue gets this number.
    limit("msg_next_id", 7);
    const queue = MessageQueue.create({ owner: false });
    guard(queue);
    // By another process, of which this one knows nothing.
    spawnSync("ipcrm", ["-q", "7"]);
    limit("msg_next_id", 7);
    const other = MessageQueue.create({ key: 0x1234, owner: false });
    say([queue.id, other.id].join());
    await hear();
  `;
  await using child = run(program, { permissions: ["-A"] });
  const line = await child.hear().catch((error: Error) => error.message);
  // Where the number cannot be chosen there is nothing to test.
  if (line !== "7,7") return;
  using _other = removing(MessageQueue.fromId(7));
  const [watchdog] = watchdogsOf(child.pid);
  await child.kill();
  await until(() => !isRunning(watchdog!));
  assert(isThere("queue", 7));
});

test("guard() says which program is missing", async () => {
  using folder = temporaryFolder();
  const program = `
    const { guard } = ipc;
    const queue = MessageQueue.create();
    let said;
    try { guard(queue); } catch (error) { said = [error.code, error.syscall, error.message].join("|"); }
    queue.remove();
    say(said);
  `;
  const path = process.env.PATH!;
  const missing = async () => {
    process.env.PATH = folder.path;
    try {
      await using child = run(program);
      return await child.hear();
    } finally {
      process.env.PATH = path;
    }
  };
  assertMatch(
    await missing(),
    /^ENOENT\|posix_spawn\|Cannot start the watchdog .* needs "sh", which is not in PATH/,
  );
  const find = (tool: string) =>
    spawnSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).stdout.trim();
  symlinkSync(find("sh"), join(folder.path, "sh"));
  assertMatch(await missing(), /needs "ipcrm", which is not in PATH: install util-linux/);
});

test("guard() refuses what this user may not remove", onlyRoot, async () => {
  using queue = MessageQueue.create({ mode: 0o666 });
  await using child = run(
    `
    ${privileges}
    const { guard } = ipc;
    becomeNobody();
    const queue = MessageQueue.fromId(Number(args[0]));
    try { guard(queue); } catch (error) { say([error.code, error.message].join("|")); }
  `,
    { args: [queue.id] },
  );
  assertMatch(await child.hear(), /^EPERM\|.* only its owner, its creator or root can remove it/);
});

test("guard() checks its arguments before it starts anything", () => {
  const queue = MessageQueue.create();
  for (const value of wrong(1, "queue", null, {}, { remove() {} }, [queue])) {
    assertThrows(() => guard(value, value), TypeError);
  }
  assertThrows(() => guard(queue, { shared: wrong("yes")[0]! }), TypeError);
  assertThrows(() => guard(queue, queue, { shared: true } as never), TypeError);
  queue.remove();
  assertIpcError(() => guard(queue), "EIDRM", "msgctl");
  queue[Symbol.dispose]();
  assertThrows(() => guard(queue), ReferenceError);
  assertEquals(watchdogsOf(process.pid), []);
});

/** A program that shares a queue, found by its name, and says what comes of it. */
const sharer = `
  const { guard } = ipc;
  const queue = MessageQueue.openOrCreate(args[0]);
  try {
    const shared = guard(queue, { shared: true });
    say(queue.id);
    if (await hear() === "leave") shared[Symbol.dispose]();
    say("left");
    await hear();
  } catch (error) { say(error.code); }
`;

const counts = () => list({ type: "sem" }).filter(({ kind }) => kind === "guard");

test("guard(object, { shared }) removes it when the last user is gone, however it went", async () => {
  for (const last of ["SIGKILL", "end", "leave"]) {
    const name = freshName();
    const pair = [runtime, otherRuntime];
    const children = pair.map((runtime) => run(sharer, { runtime, args: [name] }));
    await using _children = ending(...children);
    const ids = [];
    for (const child of children) ids.push(Number(await child.hear()));
    const [id] = ids;
    assertEquals(new Set(ids).size, 1);
    assertEquals(counts().map(({ meaning }) => meaning), ["2 users of an object"]);
    const [first, second] = children as [Child, Child];
    const [watchdog] = watchdogsOf(first.pid);
    await first.kill();
    await until(() => !isRunning(watchdog!));
    assert(isThere("queue", id!));
    if (last === "SIGKILL") await second.kill();
    else if (last === "end") await told(second);
    else {
      second.say("leave");
      await second.hear();
    }
    await until(() => !isThere("queue", id!) && counts().length === 0);
  }
});

test("guard(object, { shared }) refuses whoever comes when the last user is gone", async () => {
  const name = freshName();
  using queue = MessageQueue.openOrCreate(name);
  using _cleanup = removing(queue);
  await using child = run(sharer, { args: [name] });
  await child.hear();
  const [watchdog] = watchdogsOf(child.pid);
  // Its watchdog does not come to remove the queue.
  process.kill(watchdog!, "SIGKILL");
  await child.kill();
  assertEquals(counts().map(({ meaning }) => meaning), ["0 users of an object"]);
  const error = assertIpcError(() => guard(queue, { shared: true }), "EIDRM", "semop");
  assertMatch(error.message, /its last user is gone: open or create it again/);
  assertEquals([isThere("queue", queue.id), counts()], [false, []]);
  {
    using again = MessageQueue.openOrCreate(name);
    using _gone = guard(again, { shared: true });
    assertEquals(counts().length, 1);
  }
  assertEquals([counts(), watchdogsOf(process.pid)], [[], []]);
});

/** How many programs are killed. */
const kills = process.env.IPC_TEST_SOAK === "1" ? 100 : 8;

const everything = () => list().map(({ type, id }) => `${type} ${id}`);

for (const runtime of runtimes) {
  test(`guard() leaves nothing when programs are killed at random (${runtime})`, async () => {
    const before = everything();
    const outcomes: Killed[] = [];
    for (let i = 0; i < kills; i += 4) {
      outcomes.push(...await Promise.all([1, 2, 3, 4].map(() => killAtRandom(runtime))));
    }
    await until(() => !outcomes.some(({ watchdog }) => isRunning(watchdog)));
    const left = everything().filter((object) => !before.includes(object));
    const guarded = outcomes.flatMap(({ guarded }) => guarded);
    assert(guarded.length > 0);
    assertEquals(left.filter((object) => guarded.includes(object)), []);
    // Only what a program had created when it died and was about to guard: a queue, and its count.
    assert(left.length <= 2 * kills, left.join());
    for (const object of left) {
      const [type, id] = object.split(" ");
      spawnSync("ipcrm", [type === "queue" ? "-q" : "-s", id!]);
    }
    assertEquals(before.filter((object) => !everything().includes(object)), []);
  });
}

/** A program that was killed. */
interface Killed {
  readonly watchdog: number;
  /** What it had guarded by then. */
  readonly guarded: string[];
}

/** Kills a program that creates and guards queues, at some moment. */
async function killAtRandom(runtime: Runtime): Promise<Killed> {
  const program = `
    import { writeSync } from "node:fs";
    const { guard } = ipc;
    guard();
    say("ready");
    await hear();
    for (let i = 0; i < 400; i++) {
      const queue = MessageQueue.create();
      if (i % 15 === 0) guard(queue, { shared: true });
      else guard(queue);
      if (i % 2 === 0) queue.remove();
      else writeSync(1, "queue " + queue.id + "\\n");
    }
    await hear();
  `;
  await using child = run(program, { runtime });
  await child.hear();
  const [watchdog] = watchdogsOf(child.pid);
  child.say("go");
  const guarded = [await child.hear()];
  await passed(Math.random() * 20);
  await child.kill();
  for (;;) {
    const line = await child.hear().catch(() => undefined);
    if (line === undefined) return { watchdog: watchdog!, guarded };
    guarded.push(line);
  }
}
