import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore } from "@sysv/ipc";
import { type Child, projectFile, runtime } from "./support/child.ts";
import { temporaryFolder } from "./support/folder.ts";
import { runObserved } from "./support/observe.ts";
import { passed, until } from "./support/time.ts";

/** A call that blocks, and what ends it. */
interface Blocking {
  readonly call: string;
  serve(child: Child, objects: Objects): void;
}

interface Objects {
  readonly semaphore: Semaphore;
  readonly empty: MessageQueue;
  readonly full: MessageQueue;
}

const blocking: readonly Blocking[] = [
  { call: "semaphore.decrementSync()", serve: (_, { semaphore }) => semaphore.increment() },
  {
    call: "semaphore.decrementSync(1, { timeout: 100_000 })",
    serve: (_, { semaphore }) => semaphore.increment(),
  },
  { call: "empty.receiveSync()", serve: (_, { empty }) => void empty.trySend("") },
  {
    call: "empty.receiveSync({ timeout: 100_000 })",
    serve: (_, { empty }) => void empty.trySend(""),
  },
  { call: "full.sendSync('')", serve: (_, { full }) => void full.tryReceive() },
  { call: "pollSync([{ fd: 0 }])", serve: (child) => child.say("") },
  { call: "epoll.waitSync()", serve: (child) => child.say("") },
];

function makeObjects(): Objects & Disposable {
  const semaphore = Semaphore.create();
  const empty = MessageQueue.create();
  const full = MessageQueue.create();
  while (full.trySend("x".repeat(64)));
  while (full.trySend(""));
  const dispose = () => [semaphore, empty, full].forEach((object) => object[Symbol.dispose]());
  return { semaphore, empty, full, [Symbol.dispose]: dispose };
}

/** Starts a program that blocks in a call and tells how that ends. */
function runBlocking(call: string, { semaphore, empty, full }: Objects, within: string[]): Child {
  return runObserved(
    `
    const { Epoll, pollSync } = await import(${JSON.stringify(projectFile("unix/mod.ts"))});
    const semaphore = Semaphore.fromId(${semaphore.id});
    const empty = MessageQueue.fromId(${empty.id}), full = MessageQueue.fromId(${full.id});
    const epoll = new Epoll();
    epoll.add(0);
    tell("blocking");
    try {
      ${call};
      tell("served");
    } catch (error) {
      tell(error.message);
    }
    process.exit();
  `,
    { within },
  );
}

const field = (pid: number, name: string) => {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)![1];
};
const isIn = (pid: number) =>
  /semtimedop|msgrcv|msgsnd|poll/.test(readFileSync(`/proc/${pid}/wchan`, "utf8"));

for (const { call, serve } of blocking) {
  test(`${call} goes on when the process is stopped and continued`, async () => {
    using objects = makeObjects();
    await using child = runBlocking(call, objects, []);
    assertEquals(await child.hear(), "blocking");
    await until(() => isIn(child.pid));
    for (let round = 0; round < 3; round++) {
      process.kill(child.pid, "SIGSTOP");
      await until(() => field(child.pid, "State") === "T");
      process.kill(child.pid, "SIGCONT");
      await until(() => field(child.pid, "State") !== "T");
      await passed(5);
    }
    serve(child, objects);
    const outcome = await child.hear();
    // Deno handles some signals itself, once it runs for a while.
    const isRight = outcome === "served" ||
      runtime === "deno" && /the program handled/.test(outcome);
    assert(isRight, outcome);
    assertEquals((await child.exit).code, 0);
  });

  test(
    `${call} goes on while Node takes a profile by signals`,
    { skip: runtime === "node" ? false : "this is not Node" },
    async () => {
      using objects = makeObjects();
      using folder = temporaryFolder();
      const options = `NODE_OPTIONS=${process.env.NODE_OPTIONS} --cpu-prof --cpu-prof-interval=500`;
      const within = ["env", `--chdir=${folder.path}`, options];
      await using child = runBlocking(call, objects, within);
      assertEquals(await child.hear(), "blocking");
      await until(() => isIn(child.pid));
      await passed(50);
      serve(child, objects);
      assertEquals(await child.hear(), "served");
      assertEquals((await child.exit).code, 0);
    },
  );
}
