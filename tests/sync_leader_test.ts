import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { SemaphoreSet } from "@sysv/ipc";
import { Leader, type Leadership } from "@sysv/ipc/sync";
import { assertRejectsWith, wrong } from "./support/assert.ts";
import { type Child, ending, nthRuntime, otherRuntime, runtimes } from "./support/child.ts";
import {
  runSync,
  testOpening,
  testTaking,
  testWaits,
  untilWaiting,
  valuesOf,
  waitersOf,
} from "./support/sync.ts";
import { until } from "./support/time.ts";

testOpening({
  name: "Leader",
  kind: "leader",
  values: [1, 0, 0, 0],
  create: (options) => Leader.create(options),
  open: (key) => Leader.open(key),
  openOrCreate: (key) => Leader.openOrCreate(key),
  fromId: (id) => Leader.fromId(id),
});

for (const [name, low] of [["", 7], [", when the low digit is full,", 32767]] as const) {
  testWaits<Leader>({
    name: `Leader.campaign()${name}`,
    create: () => Leader.create(),
    fromId: (id) => Leader.fromId(id),
    blocked: [0, low, 1, 0],
    wait: (leader, options) => leader.campaign(options),
    waitSync: (leader, options) => leader.campaignSync(options),
    program: "Leader.fromId(id).campaignSync()",
  });
}

testTaking<Leader>({
  name: "Leader.campaign()",
  create: () => Leader.create(),
  fromId: (id) => Leader.fromId(id),
  take: (leader, options) => leader.campaign(options),
  isFree: (leader) => leader.leaderPid === undefined,
});

/** Has the next term be that number. */
function setTerm({ id }: Leader, term: number): void {
  const set = SemaphoreSet.fromId(id, { kind: "leader" });
  const before = term - 1;
  set.at(1).value = before % 32768;
  set.at(2).value = Math.floor(before / 32768);
}

/** Starts a candidate, which tells its term once it leads, and resigns when it is told to. */
function candidate({ id }: Leader, runs = otherRuntime, campaign = "campaign()"): Child {
  return runSync(
    `const leader = Leader.fromId(Number(args[0]));
    const leadership = await leader.${campaign};
    say(leadership.term);
    await hear();
    leadership.release();
    say("resigned");
    await hear();`,
    { args: [id], runtime: runs },
  );
}

const campaigns: Record<string, (leader: Leader) => Leadership | undefined | Promise<Leadership>> =
  {
    campaign: (leader) => leader.campaign(),
    campaignSync: (leader) => leader.campaignSync(),
    tryCampaign: (leader) => leader.tryCampaign(),
  };

for (const [name, campaign] of Object.entries(campaigns)) {
  test(`Leader.${name}() leads until it resigns, once, and each term is one more`, async () => {
    using leader = Leader.create();
    assertEquals(leader.leaderPid, undefined);
    for (let term = 1; term <= 3; term++) {
      const leadership = (await campaign(leader))!;
      assertEquals([leadership.term, leader.leaderPid], [term, process.pid]);
      assertEquals(Leader.fromId(leader.id).tryCampaign(), undefined);
      leadership.release();
      assertEquals(leader.leaderPid, undefined);
    }
    const former = (await campaign(leader))!;
    former.release();
    using _present = (await campaign(leader))!;
    former.release();
    assertEquals(leader.leaderPid, process.pid);
  });

  test(`Leader.${name}() counts terms across the digit at 32767`, async () => {
    using leader = Leader.create();
    for (const first of [32766, 2 * 32768 - 2]) {
      setTerm(leader, first);
      for (let term = first; term < first + 4; term++) {
        using leadership = (await campaign(leader))!;
        assertEquals(leadership.term, term);
      }
    }
  });

  test(`Leader.${name}()'s leadership stays good when the handle is disposed, and can end when the object is removed`, async () => {
    using leader = Leader.create();
    const handle = Leader.fromId(leader.id);
    const leadership = (await campaign(handle))!;
    handle[Symbol.dispose]();
    assertEquals([leader.leaderPid, leadership.term], [process.pid, 1]);
    leadership.release();
    assertEquals(leader.leaderPid, undefined);
    using _leadership = (await campaign(leader))!;
    leader.remove();
  });
}

for (const runtime of runtimes) {
  for (const form of ["campaign()", "campaignSync()"]) {
    test(`Leader.${form} of ${runtime} leads at once when the leader is killed or resigns`, async () => {
      using leader = Leader.create();
      const first = candidate(leader);
      const second = candidate(leader, runtime, form);
      await using _ = ending(first, second);
      // Whoever came first; the other waits in the kernel.
      await untilWaiting(leader);
      const [leads, waits] = leader.leaderPid === first.pid ? [first, second] : [second, first];
      assertEquals([await leads.hear(), leader.leaderPid], ["1", leads.pid]);
      await leads.kill();
      // The kernel has given it the seat: nobody had to run for that.
      assertEquals(leader.leaderPid, waits.pid);
      assertEquals(await waits.hear(), "2");
      const own = leader.campaign();
      await untilWaiting(leader);
      waits.say("resign");
      using leadership = await own;
      assertEquals([leadership.term, leader.leaderPid], [3, process.pid]);
    });
  }
}

test("Leader: the candidate that has waited longest leads next, whoever is killed as it waits", async () => {
  using leader = Leader.create();
  const first = leader.campaignSync();
  const candidates: Child[] = [];
  for (let i = 0; i < 4; i++) {
    const form = i < 2 ? "campaignSync()" : "campaign()";
    candidates.push(candidate(leader, nthRuntime(i), form));
    await untilWaiting(leader, i + 1);
  }
  await using _ = ending(...candidates);
  await candidates.splice(1, 1)[0]!.kill();
  await untilWaiting(leader, 3);
  first.release();
  for (const [i, candidate] of candidates.entries()) {
    assertEquals([await candidate.hear(), leader.leaderPid], [String(i + 2), candidate.pid]);
    await candidate.kill();
  }
  assertEquals(valuesOf(leader), [1, 4, 0, 0]);
});

test("Leader: exactly one of 12 processes leads, and each in its term, as all are killed in turn", async () => {
  using leader = Leader.create();
  const candidates = Array.from(
    { length: 12 },
    (_, i) => candidate(leader, nthRuntime(i), i % 4 < 2 ? "campaign()" : "campaignSync()"),
  );
  await using _ = ending(...candidates);
  const byPid = new Map(candidates.map((candidate) => [candidate.pid, candidate]));
  await untilWaiting(leader, 11);
  for (let term = 1; term <= 12; term++) {
    const leads = byPid.get(leader.leaderPid!)!;
    assertEquals(await leads.hear(), String(term));
    assertEquals(waitersOf(leader), 12 - term);
    await leads.kill();
  }
  assertEquals(valuesOf(leader), [1, 12, 0, 0]);
});

test("Leader: candidates that wait when the low digit is full all lead in the end", async () => {
  using leader = Leader.create();
  setTerm(leader, 32767);
  const first = leader.campaignSync();
  assertEquals(first.term, 32767);
  const candidates = [0, 1, 2].map((i) =>
    candidate(leader, nthRuntime(i), i === 0 ? "campaign()" : "campaignSync()")
  );
  await using _ = ending(...candidates);
  await untilWaiting(leader, 3);
  first.release();
  const terms: string[] = [];
  const led = Promise.all(candidates.map(async (candidate) => {
    terms.push(await candidate.hear());
    await candidate.kill();
  }));
  await until(() => terms.length === 3, 5000);
  await led;
  assertEquals(terms, ["32768", "32769", "32770"]);
});

test("Leader: several candidates of one program lead in turn when the low digit is full", async () => {
  using leader = Leader.create();
  setTerm(leader, 32767);
  const first = leader.campaignSync();
  const terms: number[] = [];
  const candidates = [1, 2, 3].map(async () => {
    using leadership = await leader.campaign({ timeout: 3000 });
    terms.push(leadership.term);
  });
  await untilWaiting(leader);
  first.release();
  await Promise.all(candidates);
  assertEquals(terms, [32768, 32769, 32770]);
});

test("Leadership.signal fires when another process removes the object", async () => {
  using leader = Leader.create();
  using leadership = leader.tryCampaign()!;
  const { signal } = leadership;
  assertEquals([signal.aborted, leadership.signal === signal], [false, true]);
  const fired = new Promise((resolve) => signal.addEventListener("abort", resolve));
  await untilWaiting(leader);
  await using child = runSync(`Leader.fromId(Number(args[0])).remove()`, { args: [leader.id] });
  await fired;
  assertEquals([signal.aborted, signal.reason.code], [true, "EIDRM"]);
  child.end();
  await child.exit;
});

test("Leadership.signal fires when the handle that owns the object is disposed", async () => {
  const leader = Leader.create();
  using leadership = leader.tryCampaign()!;
  const { signal } = leadership;
  leader[Symbol.dispose]();
  await until(() => signal.aborted);
});

test("Leadership.signal fires though it is first asked for once the object is removed", async () => {
  using leader = Leader.create();
  using leadership = leader.tryCampaign()!;
  leader.remove();
  await until(() => leadership.signal.aborted);
  assertEquals(leadership.signal.reason.code, "EIDRM");
});

test("Leadership.signal does not fire when a handle is disposed that owns nothing: the leadership stays good", async () => {
  using leader = Leader.create();
  const handle = Leader.fromId(leader.id);
  using leadership = handle.tryCampaign()!;
  const { signal } = leadership;
  await untilWaiting(leader);
  handle[Symbol.dispose]();
  assertEquals([signal.aborted, leader.leaderPid], [false, process.pid]);
  leader.remove();
  await until(() => signal.aborted);
  assertEquals(signal.reason.code, "EIDRM");
});

test("Leadership.signal does not fire when the leadership is released, and lets the program end", async () => {
  using leader = Leader.create();
  const leadership = leader.tryCampaign()!;
  const { signal } = leadership;
  await untilWaiting(leader);
  leadership.release();
  await until(() => waitersOf(leader) === 0);
  leader.remove();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(signal.aborted, false);
});

for (const order of ["signal; release", "release; signal"]) {
  for (const runtime of runtimes) {
    test(`Leadership.signal keeps no program of ${runtime} alive after the release (${order})`, async () => {
      using leader = Leader.create();
      await using child = runSync(
        `const leadership = Leader.fromId(Number(args[0])).tryCampaign();
        ${
          order.split("; ").map((step) =>
            step === "signal" ? "void leadership.signal;" : "leadership.release();"
          ).join("\n")
        }
        process.stdin.removeAllListeners("end");
        say("end");`,
        { args: [leader.id], runtime },
      );
      assertEquals(await child.hear(), "end");
      child.end();
      let exit: unknown;
      void child.exit.then((how) => exit = how);
      await until(() => exit !== undefined, 5000);
      assertEquals(exit, { code: 0, signal: null });
    });
  }
}

test("Leader.every() does it in exactly one process, and in another as soon as that one is killed", async () => {
  using leader = Leader.create();
  const children = Array.from({ length: 4 }, (_, i) =>
    runSync(
      `say("ready");
      await Leader.fromId(Number(args[0])).every(5, ({ term }) => say(term));`,
      { args: [leader.id], runtime: nthRuntime(i) },
    ));
  await using _ = ending(...children);
  for (const child of children) assertEquals(await child.hear(), "ready");
  const byPid = new Map(children.map((child) => [child.pid, child]));
  await untilWaiting(leader, 4); // three candidates, and the leader for its signal
  for (let term = 1; term <= 4; term++) {
    await until(() => byPid.has(leader.leaderPid!));
    const leads = byPid.get(leader.leaderPid!)!;
    for (let times = 0; times < 3; times++) assertEquals(await leads.hear(), String(term));
    await leads.kill();
  }
});

test("Leader.every() resolves when its signal is aborted, though the object is removed then", async () => {
  const leader = Leader.create();
  const controller = new AbortController();
  await leader.every(1, () => {
    controller.abort();
    leader.remove();
  }, { signal: controller.signal });
});

test("Leader.every() rejects when its task fails on another object that is removed", async () => {
  using leader = Leader.create();
  const other = SemaphoreSet.create({ values: [1] });
  other.remove();
  await assertRejectsWith("EIDRM", leader.every(1, () => other.values));
  assertEquals(leader.leaderPid, undefined);
});

test("Leader.every() does it the first time after one interval", async () => {
  using leader = Leader.create();
  const controller = new AbortController();
  const start = performance.now();
  await leader.every(30, () => controller.abort(), { signal: controller.signal });
  assert(performance.now() - start >= 29);
});

test("Leader.every() does it the first time at once, if asked to, and not again before the interval", async () => {
  using leader = Leader.create();
  const controller = new AbortController();
  const { signal } = controller;
  const start = performance.now();
  let timers = 0;
  const timer = setTimeout(() => timers++);
  const when: number[] = [];
  await leader.every(30, () => {
    if (when.push(timers) === 2) controller.abort();
  }, { immediate: true, signal });
  clearTimeout(timer);
  // The first time was before any timer.
  assertEquals(when, [0, 1]);
  assert(performance.now() - start >= 29);
});

test("Leader.every() does nothing when its signal is aborted as it leads, though it shall at once", async () => {
  using leader = Leader.create();
  const controller = new AbortController();
  let times = 0;
  const every = leader.every(1, () => times++, { immediate: true, signal: controller.signal });
  controller.abort();
  await every;
  assertEquals([times, leader.leaderPid], [0, undefined]);
});

for (const immediate of [false, true]) {
  test(`Leader.every() steps down when its task releases the leadership, and campaigns again (immediate: ${immediate})`, async () => {
    using leader = Leader.create();
    const controller = new AbortController();
    const { signal } = controller;
    const ticks: string[] = [];
    const tick = (name: string) => (leadership: Leadership) => {
      assertEquals(leader.leaderPid, process.pid);
      ticks.push(`${name}${leadership.term}`);
      leadership.release();
      if (ticks.length === 6) controller.abort();
    };
    await Promise.all(
      ["A", "B"].map((name) => leader.every(1, tick(name), { immediate, signal })),
    );
    // Each behind the other one, and in a term of its own.
    assertEquals(ticks, ["A1", "B2", "A3", "B4", "A5", "B6"]);
    assertEquals(leader.leaderPid, undefined);
  });
}

test("Leader.every() steps down at once when its leadership is released between two times", async () => {
  using leader = Leader.create();
  const controller = new AbortController();
  let leads!: (leadership: Leadership) => void;
  const led = new Promise<Leadership>((resolve) => leads = resolve);
  const { signal } = controller;
  const every = leader.every(2 ** 31 - 1, leads, { immediate: true, signal });
  const leadership = await led;
  const next = leader.campaign();
  leadership.release();
  assertEquals((await next).term, 2);
  await untilWaiting(leader);
  controller.abort();
  await every;
});

test("Leader.every() that steps down, with nobody else, does it no more often than the interval", async () => {
  using leader = Leader.create();
  const controller = new AbortController();
  const terms: number[] = [];
  const start = performance.now();
  await leader.every(20, (leadership) => {
    terms.push(leadership.term);
    leadership.release();
    if (terms.length === 3) controller.abort();
  }, { immediate: true, signal: controller.signal });
  assertEquals(terms, [1, 2, 3]);
  assert(performance.now() - start >= 39);
});

test("Leader.every() refuses an interval that is none, and what is no function, before it campaigns", async () => {
  using leader = Leader.create();
  for (const interval of [0, -1, 1.5, NaN, 2 ** 31]) {
    await assertRejects(() => leader.every(interval, () => {}), RangeError);
  }
  for (const task of wrong(7, undefined, "task", Symbol("task"))) {
    await assertRejects(() => leader.every(5, task), TypeError, "expected a function");
  }
  assertEquals(valuesOf(leader), [1, 0, 0, 0]);
  assertThrows(() => Leader.fromId(-1), RangeError);
});
