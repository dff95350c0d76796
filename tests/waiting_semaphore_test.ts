import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "node:test";
import { IpcError, Semaphore, SemaphoreSet, type WaitOptions } from "@sysv/ipc";
import { assertTimesOut } from "./support/assert.ts";
import { run, runtimes } from "./support/child.ts";
import { until } from "./support/time.ts";

/** A form of waiting, on the first semaphore of a set of two. */
interface Form {
  /** The values with which it waits. */
  values: number[];
  wait(set: SemaphoreSet, options?: WaitOptions): Promise<unknown>;
  /** The operations after which it can go on. */
  enough: { index?: number; delta: number }[];
  /** The values once it has. */
  after: number[];
}

const forms: Record<string, Form> = {
  "decrement()": {
    values: [1, 0],
    wait: (set, options) => set.at(0).decrement(2, options),
    enough: [{ delta: 1 }],
    after: [0, 0],
  },
  "acquire()": {
    values: [0, 0],
    wait: (set, options) => set.at(0).acquire(3, options),
    enough: [{ delta: 4 }],
    after: [1, 0],
  },
  "waitForZero()": {
    values: [2, 0],
    wait: (set, options) => set.at(0).waitForZero(options),
    enough: [{ delta: -2 }],
    after: [0, 0],
  },
  "waitForAtLeast()": {
    values: [2, 0],
    wait: (set, options) => set.at(0).waitForAtLeast(3, options),
    enough: [{ delta: 1 }],
    after: [3, 0],
  },
  "operate() that subtracts": {
    values: [0, 3],
    wait: (set, options) => set.operate([{ delta: -1 }, { index: 1, delta: -2 }], options),
    enough: [{ delta: 1 }],
    after: [0, 1],
  },
  "operate() that adds": {
    values: [0, 1],
    wait: (set, options) => set.operate([{ delta: -1 }, { index: 1, delta: 2 }], options),
    enough: [{ delta: 1 }],
    after: [0, 3],
  },
};

const create = ({ values }: Form) => SemaphoreSet.create({ values });

/** How many processes and threads wait for the first semaphore. */
function waiters(set: SemaphoreSet): number {
  const { forIncrease, forZero } = set.at(0).waiting;
  return forIncrease + forZero;
}

/** Waits until so many are in the kernel. */
const untilWaiting = (set: SemaphoreSet, count = 1) => until(() => waiters(set) === count);

/** Asserts that a wait fails as the object is gone. */
async function assertRemoved(wait: Promise<unknown>): Promise<void> {
  const error: IpcError = await assertRejects(() => wait, IpcError);
  assertEquals(error.code, "EIDRM");
}

for (const [name, form] of Object.entries(forms)) {
  test(`${name} goes on when it can, and not before`, async () => {
    using set = create(form);
    let over = false;
    const wait = form.wait(set).then(() => over = true);
    await untilWaiting(set);
    assert(!over);
    assertEquals(set.values, form.values);
    set.operateSync(form.enough);
    await wait;
    assertEquals(set.values, form.after);
  });

  test(`${name} goes on at once where it can`, async () => {
    using set = create(form);
    set.operateSync(form.enough);
    const wait = form.wait(set);
    assertEquals(set.values, form.after);
    await wait;
    assertEquals(set.values, form.after);
  });

  test(`${name} gives up when the time is up, not earlier, with nothing changed`, async () => {
    using set = create(form);
    const start = performance.now();
    await assertTimesOut(form.wait(set, { timeout: 20 }));
    assert(performance.now() - start >= 20);
    await until(() => waiters(set) === 0);
    assertEquals(set.values, form.values);
  });

  test(`${name} with a timeout of 0 tries once`, async () => {
    using set = create(form);
    const wait = form.wait(set, { timeout: 0 });
    set.operateSync(form.enough);
    await assertTimesOut(wait);
    await form.wait(set, { timeout: 0 });
    assertEquals(set.values, form.after);
  });

  test(`${name} takes huge timeouts for what they are`, async () => {
    using set = create(form);
    const timeouts = [Infinity, undefined, 1e12, 2 ** 31, 2 ** 31 - 1, Number.MAX_VALUE];
    const settled: unknown[] = [];
    for (const timeout of timeouts) {
      const abort = new AbortController();
      form.wait(set, { signal: abort.signal, timeout }).then(
        () => settled.push("over"),
        (error) => settled.push(error),
      );
      await untilWaiting(set);
      assertEquals(settled.length, 0);
      abort.abort(timeout);
      await until(() => settled.length === 1);
      assertStrictEquals(settled.pop(), timeout ?? abort.signal.reason);
    }
    assertEquals(set.values, form.values);
  });

  test(`${name} refuses wrong timeouts before it changes anything`, async () => {
    using set = create(form);
    set.operateSync(form.enough);
    const values = set.values;
    for (const timeout of [-1, -Infinity, NaN, -Number.MIN_VALUE]) {
      await assertRejects(() => form.wait(set, { timeout }), RangeError, "milliseconds");
    }
    const text = "1000" as unknown as number;
    await assertRejects(() => form.wait(set, { timeout: text }), TypeError, "milliseconds");
    assertEquals(set.values, values);
  });

  test(`${name} rejects with the very reason of its signal, with nothing changed`, async () => {
    using set = create(form);
    for (const reason of [new Error("enough"), "enough", null, 0, undefined]) {
      const abort = new AbortController();
      const wait = form.wait(set, { signal: abort.signal });
      await untilWaiting(set);
      abort.abort(reason);
      const given = await wait.then(() => "over", (error) => error);
      assertStrictEquals(given, abort.signal.reason);
      assertEquals(set.values, form.values);
      await untilWaiting(set, 0);
    }
  });

  test(`${name} tries nothing if its signal is aborted before`, async () => {
    using set = create(form);
    set.operateSync(form.enough);
    const values = set.values;
    const reason = { no: "error" };
    const signal = AbortSignal.abort(reason);
    for (const timeout of [undefined, 0, 10]) {
      const given = await form.wait(set, { signal, timeout }).then(() => "over", (error) => error);
      assertStrictEquals(given, reason);
    }
    assertEquals(set.values, values);
  });

  test(`${name} ends with the signal of AbortSignal.timeout()`, async () => {
    using set = create(form);
    await assertTimesOut(form.wait(set, { signal: AbortSignal.timeout(10) }));
    assertEquals(set.values, form.values);
  });

  test(`${name} rejects with a ReferenceError when its handle is disposed, with nothing changed`, async () => {
    using set = create(form);
    const handle = SemaphoreSet.fromId(set.id);
    const wait = form.wait(handle);
    await untilWaiting(set);
    handle[Symbol.dispose]();
    await assertRejects(() => wait, ReferenceError, "disposed");
    await untilWaiting(set, 0);
    assertEquals(set.values, form.values);
    set.operateSync(form.enough);
    await form.wait(set);
    assertEquals(set.values, form.after);
  });

  test(`${name} rejects with a ReferenceError when its owner is disposed, and the set is gone`, async () => {
    const set = create(form);
    const other = SemaphoreSet.fromId(set.id);
    const waits = [form.wait(set), form.wait(other)];
    const [own, others] = waits.map((wait) => wait.then(() => "over", (error) => error));
    await untilWaiting(set);
    set[Symbol.dispose]();
    assertInstanceOf(await own, ReferenceError);
    const error = await others;
    assertInstanceOf(error, IpcError);
    assertEquals(error.code, "EIDRM");
  });

  test(`${name} fails with EIDRM when this or another handle removes the set`, async () => {
    for (const removeBy of ["this", "another"]) {
      const set = create(form);
      const remover = removeBy === "this" ? set : SemaphoreSet.fromId(set.id);
      const wait = form.wait(set);
      await untilWaiting(set);
      remover.remove();
      await assertRemoved(wait);
      await assertRemoved((async () => await form.wait(set))());
    }
  });
}

for (const runtime of runtimes) {
  test(`Every form goes on when a process of ${runtime} makes it possible, and ends with EIDRM when it removes the set`, async () => {
    const sets = Object.values(forms).map(create);
    const removed = Object.values(forms).map(create);
    const all = [...sets, ...removed];
    const operations = Object.values(forms).map(({ enough }) => enough);
    await using child = run(
      `
      const { ids, removed, operations } = JSON.parse(args[0]);
      say("ready");
      await hear();
      ids.forEach((id, index) => SemaphoreSet.fromId(id).operateSync(operations[index]));
      removed.forEach((id) => SemaphoreSet.fromId(id).remove());
      say("done");
    `,
      {
        runtime,
        args: [
          JSON.stringify({
            ids: sets.map(({ id }) => id),
            removed: removed.map(({ id }) => id),
            operations,
          }),
        ],
      },
    );
    try {
      const start = (set: SemaphoreSet, index: number) => Object.values(forms)[index]!.wait(set);
      const ends = sets.map(start);
      const failures = removed.map(start).map((wait) => wait.then(() => "over", (error) => error));
      await child.hear();
      child.say("go");
      await Promise.all(ends);
      assertEquals(sets.map((set) => set.values), Object.values(forms).map(({ after }) => after));
      for (const error of await Promise.all(failures)) {
        assertInstanceOf(error, IpcError);
        assertEquals([error.code, error.syscall], ["EIDRM", "semop"]);
      }
      assertEquals(await child.hear(), "done");
    } finally {
      for (const set of all) set[Symbol.dispose]();
    }
  });
}

test("Semaphore.acquire() gives a permit for what it waited for, with undo unless told otherwise", async () => {
  using semaphore = Semaphore.create();
  await using child = run(
    `
    const semaphore = Semaphore.fromId(Number(args[0]));
    const permits = [semaphore.acquire(3), semaphore.acquire(2, { undo: false })];
    await Promise.all(permits);
    const third = await semaphore.acquire(4);
    say(third.count);
    third.release();
    say("holds");
    await hear();
  `,
    { args: [semaphore.id] },
  );
  await until(() => semaphore.waiting.forIncrease === 2);
  semaphore.increment(9);
  assertEquals(await child.hear(), "4");
  assertEquals(await child.hear(), "holds");
  assertEquals(semaphore.value, 4);
  await child.kill();
  assertEquals(semaphore.value, 7);
});

test("Equal waits are served in the order in which they came", async () => {
  using semaphore = Semaphore.create();
  const served: number[] = [];
  const waits = Array.from(
    { length: 20 },
    (_, i) => semaphore.decrement().then(() => served.push(i)),
  );
  for (let i = 1; i <= 20; i++) {
    await until(() => semaphore.waiting.forIncrease === 1);
    semaphore.increment();
    await until(() => served.length === i);
  }
  await Promise.all(waits);
  assertEquals(served, Array.from({ length: 20 }, (_, i) => i));
  assertEquals(semaphore.value, 0);
});

test("A new wait queues behind its equals, though it could go on at once", async () => {
  using semaphore = Semaphore.create();
  const served: string[] = [];
  const first = semaphore.decrement(1).then(() => served.push("first"));
  const second = semaphore.decrement(1).then(() => served.push("second"));
  await until(() => semaphore.waiting.forIncrease === 1);
  semaphore.increment(2);
  const third = semaphore.decrement(1).then(() => served.push("third"));
  await until(() => served.length === 2);
  assertEquals(served, ["first", "second"]);
  semaphore.increment();
  await Promise.all([first, second, third]);
  assertEquals(served, ["first", "second", "third"]);
  assertEquals(semaphore.value, 0);
});

test("A smaller wait passes a larger one that came earlier", async () => {
  using semaphore = Semaphore.create();
  const large = semaphore.decrement(3);
  const small = semaphore.decrement(1);
  await until(() => semaphore.waiting.forIncrease === 2);
  semaphore.increment();
  await small;
  assertEquals(semaphore.value, 0);
  semaphore.increment(3);
  await large;
  assertEquals(semaphore.value, 0);
});

test("Equal waits with different timeouts in one line end each in its time, the others in order", async () => {
  using semaphore = Semaphore.create();
  const timeouts = [undefined, 30, 10, Infinity, 1, 1e12, 20, undefined, 10, 2 ** 31];
  const served: number[] = [];
  const late: number[] = [];
  const waits = timeouts.map((timeout, i) =>
    semaphore.decrement(1, { timeout }).then(() => served.push(i), (error: DOMException) => {
      assertEquals(error.name, "TimeoutError");
      late.push(i);
    })
  );
  await until(() => late.length === 5);
  assertEquals(late, [4, 2, 8, 6, 1]);
  semaphore.increment(5);
  await Promise.all(waits);
  assertEquals(served, [0, 3, 5, 7, 9]);
  assertEquals(semaphore.value, 0);
});

test("A wait that joins as the only other leaves is served", async () => {
  using semaphore = Semaphore.create();
  for (let i = 0; i < 50; i++) {
    const abort = new AbortController();
    const leaving = semaphore.decrement(1, { signal: abort.signal }).then(
      () => "over",
      () => "left",
    );
    if (i % 2 === 0) await until(() => semaphore.waiting.forIncrease === 1);
    abort.abort();
    const joining = semaphore.decrement();
    if (i % 3 === 0) await leaving;
    semaphore.increment();
    await joining;
    assertEquals(await leaving, "left");
    assertEquals(semaphore.value, 0);
  }
});

test("An increment that comes just before the abort goes to the next equal wait", async () => {
  using semaphore = Semaphore.create();
  for (let i = 0; i < 20; i++) {
    const abort = new AbortController();
    const leaving = semaphore.decrement(1, { signal: abort.signal }).then(
      () => "over",
      () => "left",
    );
    const staying = semaphore.decrement();
    await until(() => semaphore.waiting.forIncrease === 1);
    semaphore.increment();
    abort.abort();
    await staying;
    assertEquals(await leaving, "left");
    assertEquals(semaphore.value, 0);
  }
});

test("An increment that comes just before the abort of the only wait is given back", async () => {
  using semaphore = Semaphore.create();
  for (let i = 0; i < 20; i++) {
    const abort = new AbortController();
    const leaving = semaphore.acquire(2, { signal: abort.signal }).then(() => "over", () => "left");
    await until(() => semaphore.waiting.forIncrease === 1);
    semaphore.increment(2);
    abort.abort();
    assertEquals(await leaving, "left");
    assertEquals(semaphore.value, 2);
    assert(semaphore.tryDecrement(2));
  }
});

test("SemaphoreSet.operate() that added before its abort resolves, as that happened", async () => {
  using set = SemaphoreSet.create({ values: [0, 0] });
  const abort = new AbortController();
  const wait = set.operate([{ delta: -1 }, { index: 1, delta: 1 }], { signal: abort.signal });
  await untilWaiting(set);
  set.at(0).increment();
  abort.abort();
  await wait;
  assertEquals(set.values, [0, 1]);
});

test("Semaphore.acquire() gives nothing when its owner is disposed, though it was served just before", async () => {
  for (let i = 0; i < 10; i++) {
    const semaphore = Semaphore.create();
    const wait = semaphore.acquire().then(() => "over", (error) => error);
    await until(() => semaphore.waiting.forIncrease === 1);
    semaphore.increment();
    semaphore[Symbol.dispose]();
    assertInstanceOf(await wait, ReferenceError);
  }
});

test("Of two handles that wait for one semaphore each ends alone", async () => {
  using semaphore = Semaphore.create();
  for (const disposed of [0, 1]) {
    const handles = [Semaphore.fromId(semaphore.id), Semaphore.fromId(semaphore.id)];
    const waits = handles.map((handle) => handle.decrement().then(() => "over", (error) => error));
    await until(() => semaphore.waiting.forIncrease === 1);
    handles[disposed]![Symbol.dispose]();
    assertInstanceOf(await waits[disposed], ReferenceError);
    semaphore.increment();
    assertEquals(await waits[1 - disposed], "over");
    assertEquals(semaphore.value, 0);
    await assertRejects(() => handles[disposed]!.decrement(), ReferenceError);
  }
});

test("One signal ends any number of different waits, and the rest go on", async () => {
  using set = SemaphoreSet.create({ values: Array(12).fill(0) });
  const abort = new AbortController();
  const ended = set.values.map((_, i) => set.at(i).decrement(1, { signal: abort.signal }));
  const results = ended.map((wait) => wait.then(() => "over", (error) => error));
  const staying = set.values.map((_, i) => set.at(i).decrement(1));
  abort.abort("enough");
  assertEquals(await Promise.all(results), Array(12).fill("enough"));
  set.values = Array(12).fill(1);
  await Promise.all(staying);
  assertEquals(set.values, Array(12).fill(0));
});

test("Wrong amounts reject before anything is tried, and nothing waits", async () => {
  using semaphore = Semaphore.create({ value: 3 });
  using set = SemaphoreSet.create({ values: [1] });
  for (const amount of [0, -1, 1.5, 32768, NaN]) {
    await assertRejects(() => semaphore.decrement(amount), RangeError);
    await assertRejects(() => semaphore.acquire(amount), RangeError);
    await assertRejects(() => semaphore.waitForAtLeast(amount), RangeError);
  }
  await assertRejects(() => set.operate([]), TypeError);
  await assertRejects(() => set.operate([{ index: 1, delta: -1 }]), RangeError);
  await assertRejects(() => set.operate([{ delta: 32768 }]), RangeError);
  assertEquals([semaphore.value, set.values], [3, [1]]);
  assertEquals(semaphore.waiting, { forIncrease: 0, forZero: 0 });
});

test("SemaphoreSet.operate() that would pass 32767 by the time it can go on fails with ERANGE, with nothing changed", async () => {
  using set = SemaphoreSet.create({ values: [0, 32767] });
  const wait = set.operate([{ delta: -1 }, { index: 1, delta: 1 }]).then(
    () => "over",
    (error) => error,
  );
  await untilWaiting(set);
  set.at(0).increment();
  const error = await wait;
  assertInstanceOf(error, IpcError);
  assertEquals([error.code, error.syscall], ["ERANGE", "semop"]);
  assertEquals(set.values, [1, 32767]);
});
