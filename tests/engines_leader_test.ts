import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Leadership } from "@sysv/ipc/sync";
import { assertRejectsWith } from "./support/assert.ts";
import { type Child, ending, nthRuntime, type Runtime, runtimes } from "./support/child.ts";
import { type Engine, runAt, testEngines, untilIs, untilWaiting } from "./support/engines.ts";
import { passed } from "./support/time.ts";

/** Starts a process that leads as soon as it can, until it is told to resign. */
async function candidate(engine: Engine, name: string, runs: Runtime): Promise<Child> {
  return await runAt(
    engine,
    name,
    `const leadership = await (await at.leader(name)).campaign();
    say(String(leadership.term));
    await hear();
    await leadership.release();
    await hear();`,
    runs,
  );
}

for (const how of ["campaign", "tryCampaign"] as const) {
  testEngines(`Leader.${how}() leads until it resigns, once, and terms grow`, async (at, name) => {
    const leader = await at.leader(name);
    let term = 0;
    for (let time = 0; time < 3; time++) {
      const leadership = (await leader[how]())!;
      assert(leadership.term > term, `${leadership.term} after ${term}`);
      ({ term } = leadership);
      assertEquals(await (await at.leader(name)).tryCampaign(), undefined);
      await leadership.release();
    }
    const former = (await leader[how]())!;
    await former.release();
    const present = (await leader[how]())!;
    await former.release();
    assertEquals(await leader.tryCampaign(), undefined);
    const { lost } = present;
    leader[Symbol.dispose]();
    assertEquals(lost.aborted, false);
    const other = await at.leader(name);
    assertEquals(await other.tryCampaign(), undefined);
    await other.remove();
    await untilIs(() => Promise.resolve(lost.aborted));
    assertEquals((lost.reason as { code: string }).code, "EIDRM");
    await present.release();
  });
}

testEngines(
  "Leader: the candidate that has waited longest leads next, whoever is killed as it waits",
  async (at, name, engine) => {
    const leader = await at.leader(name);
    const first = await leader.campaign();
    const candidates: Child[] = [];
    for (let i = 0; i < 4; i++) {
      candidates.push(await candidate(engine, name, nthRuntime(i)));
      await untilWaiting(engine, leader, i + 1);
    }
    await using _ = ending(...candidates);
    await candidates.splice(1, 1)[0]!.kill();
    await first.release();
    let { term } = first;
    for (const [i, candidate] of candidates.entries()) {
      const next = Number(await candidate.hear());
      assert(next > term, `${next} after ${term}`);
      term = next;
      if (i === 1) candidate.say("resign");
      else await candidate.kill();
    }
    const last = await leader.campaign();
    assert(last.term > term);
    await last.release();
  },
);

testEngines("Leader.run() leads while its function runs", async (at, name) => {
  const leader = await at.leader(name);
  const term = await leader.run(async ({ term, lost }: Leadership) => {
    assertEquals([await leader.tryCampaign(), lost.aborted], [undefined, false]);
    return term;
  });
  assert(term > 0);
  await (await leader.campaign({ timeout: 0 })).release();
});

testEngines(
  "Leader.every() does it in one process, and in another as soon as that one is killed",
  async (at, name, engine) => {
    const program = `say("ready");
    await (await at.leader(name)).every(5, ({ term }) => say(name + term));`;
    const children = await Promise.all(
      runtimes.map((runtime) => runAt(engine, name, program, runtime)),
    );
    await using _ = ending(...children);
    for (const child of children) assertEquals(await child.hear(), "ready");
    const leader = await at.leader(name);
    await untilWaiting(engine, leader, children.length - 1);
    const heard: string[] = [];
    const next = new Map(children.map((child) => [child, child.hear()]));
    while (next.size > 0) {
      const [child, line] = await Promise.race(
        [...next].map(([child, line]) => line.then((line) => [child, line] as const)),
      );
      heard.push(line);
      // Nobody else says anything meanwhile.
      assertEquals([await child.hear(), await child.hear()], [line, line]);
      next.delete(child);
      await child.kill();
    }
    assertEquals(new Set(heard).size, children.length);
  },
);

testEngines(
  "Leader.every() resolves when its signal is aborted, leading, waiting or before",
  async (at, name, engine) => {
    const leader = await at.leader(name);
    let times = 0;
    await leader.every(1, () => times++, { signal: AbortSignal.abort() });
    assertEquals(times, 0);
    const controllers = [new AbortController(), new AbortController()];
    const [leading, waiting] = controllers.map(({ signal }) =>
      leader.every(1, () => times++, { signal })
    );
    await untilIs(() => Promise.resolve(times >= 3));
    await untilWaiting(engine, leader);
    controllers[1]!.abort();
    await waiting;
    controllers[0]!.abort();
    await leading;
    const after = times;
    await passed(10);
    assertEquals(times, after);
    await (await leader.campaign({ timeout: 0 })).release();
  },
);

testEngines(
  "Leader.every() rejects when it is removed, or its task fails, and has resigned",
  async (at, name, engine) => {
    const leader = await at.leader(name);
    const failure = new Error("failure");
    for (
      const task of [() => Promise.reject(failure), () => {
        throw failure;
      }]
    ) {
      assertEquals(await assertRejects(() => leader.every(1, task)), failure);
      await (await leader.campaign({ timeout: 0 })).release();
    }
    for (const interval of [0, -1, 1.5, NaN, 2 ** 31]) {
      await assertRejects(() => leader.every(interval, () => {}), RangeError);
    }
    await assertRejects(() => leader.every(5, 7 as never), TypeError);
    let times = 0;
    const all = [leader.every(1, () => times++), leader.every(1, () => times++)];
    const rejected = all.map((every) => assertRejectsWith("EIDRM", every));
    await untilIs(() => Promise.resolve(times > 0));
    await untilWaiting(engine, leader);
    await (await at.leader(name)).remove();
    await Promise.all(rejected);
  },
);

testEngines(
  "Leader.every() does nothing twice at once, and the first time when it is told to",
  async (at, name) => {
    const leader = await at.leader(name);
    for (const immediate of [false, true]) {
      const controller = new AbortController();
      const { signal } = controller;
      let running = 0;
      let times = 0;
      const start = performance.now();
      let first: number | undefined;
      await leader.every(30, async () => {
        first ??= performance.now() - start;
        assertEquals(++running, 1);
        await passed(5);
        running--;
        if (++times === 2) controller.abort();
      }, { signal, immediate });
      assertEquals([running, times], [0, 2]);
      assert(performance.now() - start >= (immediate ? 29 : 59));
      if (!immediate) assert(first! >= 29, `${first}`);
    }
  },
);

for (const immediate of [false, true]) {
  testEngines(
    `Leader.every() steps down when its task releases the leadership, and campaigns again (immediate: ${immediate})`,
    async (at, name) => {
      const leader = await at.leader(name);
      const controller = new AbortController();
      const { signal } = controller;
      const ticks: string[] = [];
      const terms: number[] = [];
      const tick = (what: string) => async (leadership: Leadership) => {
        ticks.push(what);
        terms.push(leadership.term);
        await leadership.release();
        if (ticks.length === 6) controller.abort();
      };
      await Promise.all(
        ["A", "B"].map((what) => leader.every(1, tick(what), { immediate, signal })),
      );
      // Each behind the other one, and in a term of its own.
      assertEquals(
        ticks,
        ticks[0] === "A" ? ["A", "B", "A", "B", "A", "B"] : ["B", "A", "B", "A", "B", "A"],
      );
      assertEquals(terms, [...new Set(terms)].sort((a, b) => a - b));
    },
  );
}
