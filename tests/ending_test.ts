import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore } from "@sysv/ipc";
import { Channel } from "@sysv/ipc/shared";
import { Mutex } from "@sysv/ipc/sync";
import { type Exit, runtime } from "./support/child.ts";
import { runWorkers } from "./support/observe.ts";
import { settles, until } from "./support/time.ts";

/** A way in which a program ends while waits are pending. */
interface Way {
  /** What the program does first, and what ends it. */
  readonly before?: string;
  readonly end: string;
  readonly exit: Exit;
}

const code = (code: number): Exit => ({ code, signal: null });
const signal = (signal: string): Exit => ({ code: null, signal });
const raise = (name: string) => `process.kill(process.pid, "${name}");`;

/** The waits are those of the main thread. */
const ways: Record<string, Way> = {
  "process.exit() in a callback": { end: `setTimeout(() => process.exit(3));`, exit: code(3) },
  "process.exit() in a microtask": {
    end: `queueMicrotask(() => process.exit(3));`,
    exit: code(3),
  },
  "process.exit() after process.exitCode": {
    end: `process.exitCode = 4; process.exit();`,
    exit: code(4),
  },
  "an error in a callback": {
    end: `setTimeout(() => { throw new Error("an end"); });`,
    exit: code(1),
  },
  "an error after an await": { end: `throw new Error("an end");`, exit: code(1) },
  "a rejection": { end: `Promise.reject(new Error("an end"));`, exit: code(1) },
  "an error whose listener exits": {
    before: `process.on("uncaughtException", () => process.exit(6));`,
    end: `setTimeout(() => { throw new Error("an end"); });`,
    exit: code(6),
  },
  "a listener of the end that exits again": {
    before: `process.on("exit", () => process.exit(5));`,
    end: `process.exit(3);`,
    exit: code(5),
  },
  "a listener of the end that throws": {
    before: `process.on("exit", () => { throw new Error("an end"); });`,
    end: `process.exit(3);`,
    exit: code(runtime === "node" ? 3 : 1),
  },
  "a first listener of the end that exits again": {
    end:
      `process.prependListener("exit", () => process.exit(5)); setTimeout(() => process.exit(3));`,
    exit: code(5),
  },
  "SIGTERM": { end: raise("SIGTERM"), exit: signal("SIGTERM") },
  "SIGINT": { end: raise("SIGINT"), exit: signal("SIGINT") },
  "SIGHUP": { end: raise("SIGHUP"), exit: signal("SIGHUP") },
  "SIGKILL": { end: raise("SIGKILL"), exit: signal("SIGKILL") },
  "SIGTERM, with something to remove": {
    before: `const removed = Semaphore.create(); removeOnExit(removed);`,
    end: raise("SIGTERM"),
    exit: signal("SIGTERM"),
  },
  "a listener of SIGTERM that exits": {
    before: `process.on("SIGTERM", () => process.exit(7));`,
    end: raise("SIGTERM"),
    exit: code(7),
  },
};

/** The waits are those of Workers, or they block in a call. */
const waysOfWorkers: Record<string, Way> = {
  "process.exit() of the program": { end: `process.exit(3);`, exit: code(3) },
  "an error of the program": {
    end: `setTimeout(() => { throw new Error("an end"); });`,
    exit: code(1),
  },
  "SIGTERM": { end: raise("SIGTERM"), exit: signal("SIGTERM") },
  "terminate()": {
    end: `await Promise.all(all.map((worker) => worker.terminate()));`,
    exit: code(0),
  },
  "terminate() and process.exit() at once": {
    end: `for (const worker of all) worker.terminate(); process.exit(3);`,
    exit: code(3),
  },
  "the end of a program that does not wait for them": {
    end: `for (const worker of all) worker.unref();`,
    exit: code(0),
  },
};
/** The event loops of the Workers turn. */
const waysOfLoops: Record<string, Way> = {
  "process.exit() in a Worker": {
    end: `for (const worker of all) worker.postMessage("exit");`,
    exit: code(0),
  },
  "an error in a Worker": {
    end: `for (const worker of all) worker.postMessage("throw");`,
    exit: code(0),
  },
};

/** What is waited for: nothing of it comes. */
function makeObjects() {
  const semaphore = Semaphore.create();
  const empty = MessageQueue.create();
  const full = MessageQueue.create();
  while (full.trySend("x".repeat(1024)));
  const mutex = Mutex.create();
  const guard = mutex.lockSync();
  const channel = Channel.create();
  const all = [semaphore, empty, full, guard, mutex, channel];
  return {
    ...{ semaphore, empty, full, mutex, guard, channel },
    [Symbol.dispose]: () => all.forEach((object) => object[Symbol.dispose]()),
  };
}

const waits = [
  "semaphore.decrement(1)",
  "empty.receive()",
  "full.send('y')",
  "mutex.lock()",
  "channel.receive()",
  "poll([{ fd: ends.reader.fd }])",
  "empty.receive({ type: 2 })",
  "semaphore.decrement(2)",
];
const blocking = [
  "semaphore.decrementSync(1)",
  "empty.receiveSync()",
  "full.sendSync('y')",
  "mutex.lockSync()",
  "channel.receiveSync()",
  "pollSync([{ fd: ends.reader.fd }])",
  "empty.receiveSync({ timeout: 100_000 })",
  "semaphore.decrementSync(1, { timeout: 100_000 })",
];

/** How many threads of a process wait for objects of the kernel. */
function waiting(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).filter((task) =>
      /semtimedop|msgrcv|msgsnd/.test(readFileSync(`/proc/${pid}/task/${task}/wchan`, "utf8"))
    ).length;
  } catch {
    // A thread has ended meanwhile.
    return 0;
  }
}

const file = (path: string) => JSON.stringify(new URL(`../${path}`, import.meta.url));
const imports = `
  const { Mutex } = await import(${file("sync/mod.ts")});
  const { Channel } = await import(${file("shared/mod.ts")});
  const { pipe, poll, pollSync } = await import(${file("unix/mod.ts")});
`;

/** Runs a program that ends in a way while so many waits are pending, and looks at what is left. */
async function ends({ before = "", end, exit }: Way, count: number, where: string): Promise<void> {
  using objects = makeObjects();
  const { semaphore, empty, full, mutex, guard, channel } = objects;
  const chosen = (where === "blocked" ? blocking : waits).slice(0, count);
  const prepared = `${imports}
    const ends = pipe();
    const semaphore = Semaphore.fromId(${semaphore.id}), mutex = Mutex.fromId(${mutex.id});
    const empty = MessageQueue.fromId(${empty.id}), full = MessageQueue.fromId(${full.id});
    const channel = Channel.fromId(${channel.id});
  `;
  const pending = chosen.map((wait) => `${wait}.catch(() => {});`).join("\n");
  const heard = `
    parentPort.on("message", (how) => {
      if (how === "exit") process.exit(9);
      setTimeout(() => { throw new Error("an end"); });
    });
  `;
  const parts = where === "main"
    ? { own: prepared + pending, codes: [] }
    : where === "worker"
    ? { own: "", codes: [prepared + heard + pending] }
    : { own: "", codes: chosen.map((call) => `${prepared} ${call};`) };
  const program = `
    ${before}
    ${parts.own}
    const all = ${JSON.stringify(parts.codes)}.map(start);
    tell("started");
    await hear();
    ${end}
  `;
  await using child = runWorkers(program);
  assertEquals(await child.hear(), "started");
  const kernel = chosen.filter((wait) => !wait.includes("poll")).length;
  await until(() => waiting(child.pid) === kernel);
  child.say("end");
  child.end();
  assert(await settles(child.exit), "it does not end");
  assertEquals(await child.exit, exit, child.stderr);

  const messages = full.stat().messages;
  semaphore.increment();
  empty.trySend("here");
  guard.release();
  assertEquals([semaphore.waiting.forIncrease, semaphore.value], [0, 1]);
  assertEquals([empty.tryReceive()?.text(), empty.tryReceive()], ["here", undefined]);
  assert(full.tryReceive() !== undefined);
  assertEquals(full.stat().messages, messages - 1);
  mutex.tryLock()!.release();
  assertEquals(channel.trySend("here"), true);
  assertEquals(channel.tryReceive(), "here");
}

const isSoak = process.env.IPC_TEST_SOAK === "1";
/** How many waits are pending: one number in turn, or all. */
const counts = (i: number) => isSoak ? [1, 2, 3, 4, 5, 6, 7, 8] : [1 + (i * 3) % 8];

const places: Record<string, Record<string, Way>> = {
  main: ways,
  worker: { ...waysOfWorkers, ...waysOfLoops },
  blocked: waysOfWorkers,
};
for (const [where, ways] of Object.entries(places)) {
  Object.entries(ways).forEach(([name, way], i) => {
    test(`While waits are pending (${where}), a program ends by ${name}`, async () => {
      for (const count of counts(i)) await ends(way, count, where);
    });
  });
}
