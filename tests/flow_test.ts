import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  type Flow,
  giveBack,
  read,
  repeat,
  run,
  runSync,
  SpoiltError,
  type Target,
  tryFor,
  tryLate,
  tryStep,
  waitFor,
} from "../sync/flow.ts";
import { Bulkhead, Latch, Leader, Mutex, RwLock } from "../sync/mod.ts";
import type { Step } from "../sync/protocols.ts";

const action = (name: string) => `use ${name}`;
const step: Step = [{ index: 0, delta: 1 }];

/** What flows are driven on, which remembers what it was asked and answers as it is told. */
class Script implements Target {
  readonly asked: unknown[] = [];
  readonly #answers: unknown[];
  readonly #later: boolean;

  constructor(answers: readonly unknown[], later = false) {
    this.#answers = [...answers];
    this.#later = later;
  }

  tryStep(step: Step, _: unknown, late: boolean): boolean | Promise<boolean> {
    return this.#answerLater(["try", step, late]) as boolean;
  }

  tryStepSync(step: Step, _: unknown, late: boolean): boolean {
    return this.#answer(["try", step, late]) as boolean;
  }

  wait(step: Step, _: unknown, options: unknown): void | Promise<void> {
    return this.#answerLater(["wait", step, options]) as void;
  }

  waitSync(step: Step, _: unknown, options: unknown): void {
    this.#answer(["wait", step, options]);
  }

  read(): number[] | Promise<number[]> {
    return this.#answerLater(["read"]) as number[];
  }

  readSync(): number[] {
    return this.#answer(["read"]) as number[];
  }

  giveBack(step: Step): void {
    this.#answer(["give back", step]);
  }

  spoilt(values: readonly number[]): Error {
    return new Error(`spoilt: ${values}`);
  }

  #answer(asked: unknown): unknown {
    this.asked.push(asked);
    const answer = this.#answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  }

  #answerLater(asked: unknown): unknown {
    if (!this.#later) return this.#answer(asked);
    return Promise.resolve().then(() => this.#answer(asked));
  }
}

/** All ways to drive a flow, each on a script of its own. */
const drivers: Record<
  string,
  <Result>(flow: Flow<Result>, answers: unknown[]) => Promise<[Result | Error, unknown[]]>
> = {
  async runSync(flow, answers) {
    const script = new Script(answers);
    const result = await Promise.resolve().then(() => runSync(script, flow, action))
      .catch((error: Error) => error);
    return [result, script.asked];
  },
  async run(flow, answers) {
    const script = new Script(answers);
    return [await run(script, flow, action).catch((error: Error) => error), script.asked];
  },
  async "run, answered later,"(flow, answers) {
    const script = new Script(answers, true);
    return [await run(script, flow, action).catch((error: Error) => error), script.asked];
  },
};

/** A flow that asks for everything. */
function* everything(): Flow<unknown[]> {
  const told: unknown[] = [yield* tryStep(step)];
  told.push(yield* tryLate(step));
  told.push(yield* waitFor(step));
  told.push(yield* read(([first]) => first!));
  told.push(yield* giveBack(step));
  return told;
}

/** The same, but what fails is its result. */
function* catching(): Flow<unknown> {
  try {
    return yield* everything();
  } catch (error) {
    yield* giveBack(step);
    return error;
  }
}

for (const [name, drive] of Object.entries(drivers)) {
  test(`${name} asks for what the flow does, in order, and tells it the answers`, async () => {
    const [told, asked] = await drive(everything(), [true, false, undefined, [7, 8], undefined]);
    assertEquals(told, [true, false, undefined, 7, undefined]);
    assertEquals(asked, [
      ["try", step, false],
      ["try", step, true],
      ["wait", step, { timeout: Infinity, signal: undefined }],
      ["read"],
      ["give back", step],
    ]);
  });

  test(`${name} throws in the flow what fails, and the flow may go on`, async () => {
    for (let failing = 0; failing < 5; failing++) {
      const failure = new Error("no");
      const answers = [true, true, undefined, [7], undefined].with(failing, failure as never);
      const [told, asked] = await drive(catching(), answers);
      assertEquals([told, asked.length], [failure, failing + 2]);
      const [thrown] = await drive(everything(), answers);
      assertEquals(thrown, failure);
    }
  });

  test(`${name} tries again what others have prevented, and refuses values that are spoilt`, async () => {
    const flow = () =>
      repeat(function* (): Flow<true | undefined> {
        const values = yield* read((values) => values);
        const step = [{ index: 0, delta: -values[0]! }, { index: 1, delta: -1 }];
        return (yield* tryFor(values, step)) ? true : undefined;
      });
    const [told, asked] = await drive(flow(), [[3, 1], false, [4, 1], true]);
    assertEquals([told, asked.length], [true, 4]);
    const [spoilt, before] = await drive(flow(), [[3, 0]]);
    assertEquals([(spoilt as Error).message, before.length], ["spoilt: 3,0", 1]);
  });
}

test("run() waits for nothing that is known at once", () => {
  const script = new Script([true, true, undefined, [1], undefined]);
  run(script, everything(), action);
  assertEquals(script.asked.length, 5);
});

test("run() and runSync() give all waits of a flow one timeout", async () => {
  function* twice(): Flow<void> {
    yield* waitFor(step);
    yield* waitFor(step);
  }
  const [sync, promise] = [new Script([]), new Script([])];
  runSync(sync, twice(), action, { timeout: 1000 });
  await run(promise, twice(), action, { timeout: 1000 });
  for (const { asked } of [sync, promise]) {
    const [first, second] = asked.map((one) => (one as [0, 0, { timeout: number }])[2].timeout);
    assertEquals(first, 1000);
    assert(second! <= 1000);
  }
});

test("run() and runSync() refuse wrong options before the flow begins", async () => {
  const wrong = ["x", 5, true, null, [], { timeout: "5" }, { timeout: null }];
  for (const options of wrong) {
    const script = new Script([]);
    assertThrows(() => runSync(script, everything(), action, options as never), TypeError);
    await assertRejects(() => run(script, everything(), action, options as never), TypeError);
    assertEquals(script.asked, []);
  }
  for (const signal of ["x", {}, null, new EventTarget()]) {
    const options = { signal } as never;
    await assertRejects(() => run(new Script([]), everything(), action, options), TypeError);
  }
});

test("SpoiltError tells the values", () => {
  assertEquals(new SpoiltError([1, 2]).values, [1, 2]);
});

test("Promises of primitives that never have to wait leave timers their turn", async () => {
  using mutex = Mutex.create();
  using lock = RwLock.create();
  using leader = Leader.create();
  using bulkhead = Bulkhead.create({ tickets: 1 });
  using latch = Latch.create({ count: 0 });
  const uses = [
    () => mutex.run(() => {}),
    () => mutex.recover().then((guard) => guard.release()),
    () => lock.runRead(() => {}),
    () => lock.runWrite(() => {}),
    () => leader.run(() => {}),
    () => bulkhead.run(() => {}),
    () => latch.wait(),
  ];
  for (const use of uses) {
    let rings = false;
    setTimeout(() => rings = true, 20);
    const end = performance.now() + 20_000;
    while (!rings && performance.now() < end) await use();
    assert(rings, String(use));
  }
});
