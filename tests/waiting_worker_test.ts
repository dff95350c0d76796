import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { MessageQueue, Semaphore, SemaphoreSet } from "@sysv/ipc";
import { runtime } from "./support/child.ts";
import { runWorkers } from "./support/observe.ts";
import { becomes, passed, until } from "./support/time.ts";

test("Waits work in several Workers at once, and beside those of the main thread", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  using queue = MessageQueue.create();
  await using child = runWorkers(
    `
    const code = (n) => \`
      const set = SemaphoreSet.fromId(\${args[0]}), queue = MessageQueue.fromId(\${args[1]});
      await set.at(0).decrement();
      const texts = [];
      for (let i = 0; i < 20; i++) texts.push((await queue.receive({ type: \${n} })).text());
      const abort = new AbortController();
      const late = set.at(1).decrement(5, { signal: abort.signal }).catch((reason) => reason);
      const timed = await set.at(1).decrement(6, { timeout: 20 }).catch(({ name }) => name);
      abort.abort("left");
      parentPort.postMessage([texts.length, texts.every((text) => text === "\${n}"), timed, await late].join(" "));
    \`;
    const set = SemaphoreSet.fromId(Number(args[0])), queue = MessageQueue.fromId(Number(args[1]));
    const answers = [1, 2, 3].map((n) => message(start(code(n))));
    await set.at(0).decrement();
    for (let i = 0; i < 20; i++) for (const n of [1, 2, 3]) await queue.send(String(n), { type: n });
    for (const answer of answers) tell(await answer);
    await until(() => set.at(1).waiting.forIncrease === 0);
    tell("end");
  `,
    { args: [set.id, queue.id] },
  );
  child.end();
  set.at(0).increment(4);
  for (let i = 0; i < 3; i++) assertEquals(await child.hear(), "20 true TimeoutError left");
  assertEquals(await child.hear(), "end");
  assertEquals(await child.exit, { code: 0, signal: null });
  assertEquals(set.values, [0, 0]);
});

test("Aborts at random moments in Workers and on the main thread take nothing", async () => {
  using semaphore = Semaphore.create();
  await using child = runWorkers(
    `
    const abortAtRandom = async (Semaphore) => {
      const semaphore = Semaphore.fromId(ID);
      let taken = 0;
      for (let i = 0; i < 300; i++) {
        const abort = new AbortController();
        const wait = semaphore.decrement(1, { signal: abort.signal }).then(() => taken++, () => {});
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
        abort.abort();
        await wait;
      }
      return taken;
    };
    const text = String(abortAtRandom).replace("ID", args[0]);
    const answers = [1, 2, 3].map(() => message(start("parentPort.postMessage(await (" + text + ")(Semaphore));")));
    const own = (0, eval)("(" + text + ")")(Semaphore);
    tell((await Promise.all([own, ...answers])).reduce((sum, taken) => sum + taken));
  `,
    { args: [semaphore.id] },
  );
  child.end();
  let given = 0;
  const feeder = setInterval(() => {
    if (semaphore.value >= 3) return;
    semaphore.increment();
    given++;
  }, 1);
  try {
    const taken = Number(await child.hear());
    assert(taken > 0);
    assertEquals(semaphore.value, given - taken);
    assertEquals((await child.exit).code, 0);
  } finally {
    clearInterval(feeder);
  }
});

const inWorker: Record<string, string> = {
  "waits": "await semaphore.decrement(1);",
  "blocks": "semaphore.decrementSync(1);",
  "waits for more than it has threads":
    "configure({ waiterThreads: 1 }); await Promise.all([1, 2, 3].map((n) => semaphore.decrement(n)));",
};

/** Whether the thread of such a Worker ends with it. If not, it gives back what it gets in its call. */
const endsAtOnce = runtime !== "deno";

for (const [what, statement] of Object.entries(inWorker)) {
  const terminating = `
    const semaphore = Semaphore.fromId(Number(args[0]));
    const worker = start("const semaphore = Semaphore.fromId(" + semaphore.id + "); ${statement}");
    await until(() => semaphore.waiting.forIncrease >= 1);
    await worker.terminate();
    tell("terminated");
  `;

  test(`A process whose Worker was terminated while it ${what} ends by itself`, async () => {
    using semaphore = Semaphore.create();
    await using child = runWorkers(terminating, { args: [semaphore.id] });
    child.end();
    assertEquals(await child.hear(), "terminated");
    assertEquals(await child.exit, { code: 0, signal: null });
    assertEquals(semaphore.waiting.forIncrease, 0);
    semaphore.increment();
    assertEquals(semaphore.value, 1);
  });

  test(`A process that calls process.exit() while its Worker ${what} ends`, async () => {
    using semaphore = Semaphore.create();
    await using child = runWorkers(
      terminating.replace("await worker.terminate()", "process.exit(3)"),
      { args: [semaphore.id] },
    );
    assertEquals(await child.exit, { code: 3, signal: null });
    assertEquals(semaphore.waiting.forIncrease, 0);
  });

  test(
    `A Worker that is terminated while it ${what} leaves what it ${
      what === "blocks" ? "is blocked for, but once" : "waited for"
    }`,
    async () => {
      using semaphore = Semaphore.create();
      await using child = runWorkers(`${terminating} await hear();`, { args: [semaphore.id] });
      assertEquals(await child.hear(), "terminated");
      for (let round = 0; round < 2; round++) {
        semaphore.increment(10);
        await until(() => semaphore.waiting.forIncrease === 0);
        // Nobody can bring back a thread of the program that is in its own call.
        const lost = what === "blocks" && !endsAtOnce ? 1 : 0;
        await until(() => semaphore.value === 10 * (round + 1) - lost);
      }
      assertEquals(
        await becomes(() => semaphore.value % 10 < 9 && semaphore.value % 10 > 0),
        false,
      );
    },
  );
}

test(
  "Workers that are terminated just before what they wait for comes take nothing, and leave no timer",
  { skip: runtime === "bun" ? "Bun loses what it takes while it ends a Worker" : false },
  async () => {
    using semaphore = Semaphore.create();
    using queue = MessageQueue.create();
    await using child = runWorkers(
      `
      const code = \`
        const semaphore = Semaphore.fromId(\${args[0]}), queue = MessageQueue.fromId(\${args[1]});
        semaphore.decrement();
        queue.receive();
        queue.receive({ type: 2, timeout: 100_000 });
      \`;
      const semaphore = Semaphore.fromId(Number(args[0])), queue = MessageQueue.fromId(Number(args[1]));
      for (let i = 0; i < 3; i++) {
        const worker = start(code);
        await until(() => semaphore.waiting.forIncrease === 1);
        const ended = worker.terminate();
        semaphore.increment();
        queue.trySend("one");
        await ended;
        await until(() => semaphore.value === 1 && queue.stat().messages === 1);
        semaphore.tryDecrement();
        queue.tryReceive();
      }
      tell(readFileSync("/proc/self/timers", "utf8") === "");
    `,
      { args: [semaphore.id, queue.id] },
    );
    child.end();
    assertEquals(await child.hear(), "true");
    assertEquals((await child.exit).code, 0);
    assertEquals([semaphore.value, queue.stat().messages], [0, 0]);
  },
);

test("A Worker that is terminated while it receives leaves the messages", async () => {
  using queue = MessageQueue.create();
  await using child = runWorkers(
    `
    const worker = start("const queue = MessageQueue.fromId(" + args[0] + "); parentPort.postMessage('waits'); await queue.receive();");
    await message(worker);
    await until(() => readdirSync("/proc/self/task").some((task) => {
      try { return readFileSync("/proc/self/task/" + task + "/wchan", "utf8") === "do_msgrcv"; } catch { return false; }
    }));
    await worker.terminate();
    tell("terminated");
    await hear();
  `,
    { args: [queue.id] },
  );
  assertEquals(await child.hear(), "terminated");
  const before = queue.stat().lastReceivePid;
  for (const text of ["one", "two", "three"]) queue.trySend(text, { type: 7 });
  // Given back, it is the last.
  if (!endsAtOnce) await until(() => queue.stat().lastReceivePid !== before);
  await until(() => queue.stat().messages === 3);
  const received = [queue.tryReceive(), queue.tryReceive(), queue.tryReceive()];
  assertEquals(received.map((message) => message!.text()).sort(), ["one", "three", "two"]);
  assertEquals(received.map((message) => message!.type), [7, 7, 7]);
});

test("A wait in a Worker keeps its place in the kernel's line, and a call that blocks it goes on", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  await using child = runWorkers(
    `
    const waits = "const set = SemaphoreSet.fromId(" + args[0] + "); await set.at(0).decrement();";
    const blocks = "const set = SemaphoreSet.fromId(" + args[0] + "); set.at(1).decrementSync();";
    const answers = [waits, blocks].map((code) => message(start(code + "parentPort.postMessage('served');")));
    for (const answer of answers) tell(await answer);
  `,
    { args: [set.id] },
  );
  child.end();
  await until(() => set.at(0).waiting.forIncrease === 1 && set.at(1).waiting.forIncrease === 1);
  const later = set.at(0).decrement();
  await until(() => set.at(0).waiting.forIncrease === 2);
  // Longer than anything is left alone that Node could not end.
  await passed(1200);
  set.at(0).increment();
  assertEquals(await child.hear(), "served");
  set.at(1).increment();
  assertEquals(await child.hear(), "served");
  set.at(0).increment();
  await later;
  assertEquals((await child.exit).code, 0);
  assertEquals(set.values, [0, 0]);
});

test("Workers that have waited leave no thread behind, however they end", async () => {
  await using child = runWorkers(`
    const semaphore = Semaphore.create();
    removeOnExit(semaphore);
    const code = (end) => \`
      const semaphore = Semaphore.fromId(\${semaphore.id});
      const wait = semaphore.decrement();
      setTimeout(() => semaphore.increment(), 1);
      await wait;
      parentPort.postMessage("served");
      \${end}
    \`;
    for (const end of ["", "process.exit();", "setInterval(() => {}, 1000);"]) {
      for (let i = 0; i < 3; i++) {
        const worker = start(code(end));
        await message(worker);
        if (end.startsWith("set")) await worker.terminate();
      }
    }
    await until(() => workers() === 0);
    tell("gone");
  `);
  child.end();
  assertEquals(await child.hear(), "gone");
  assertEquals((await child.exit).code, 0);
});

test("Waits that end early in a Worker that goes on leave its thread to later waits", async () => {
  using semaphore = Semaphore.create();
  await using child = runWorkers(
    `
    const worker = start(\`
      const semaphore = Semaphore.fromId(\${args[0]});
      for (let i = 0; i < 20; i++) await semaphore.decrement(1, { timeout: 1 }).catch(() => {});
      await semaphore.decrement(1, { timeout: 10000 });
      parentPort.postMessage("served");
    \`);
    tell(await message(worker));
  `,
    { args: [semaphore.id] },
  );
  child.end();
  await until(() => semaphore.waiting.forIncrease === 1);
  await becomes(() => false);
  semaphore.increment();
  assertEquals(await child.hear(), "served");
  assertEquals((await child.exit).code, 0);
});
