import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { semctl, SETVAL } from "@sysv/ipc/libc";
import {
  Barrier,
  type BarrierParty,
  Bulkhead,
  Gauge,
  type Guard,
  Leader,
  Mutex,
  RwLock,
} from "@sysv/ipc/sync";
import { assertIpcError, assertTimesOut } from "./support/assert.ts";
import { otherRuntime, runtimes } from "./support/child.ts";
import { type Primitive, runSync, valuesOf, waitersOf } from "./support/sync.ts";
import { passed, until } from "./support/time.ts";

// What all guards, permits, parties and leaderships have in common.

type Held = (Guard | BarrierParty) & Disposable;

interface Holding<P extends Primitive = Primitive> {
  create(): P;
  fromId(id: number): P;
  hold(primitive: P): Held;
  /** What a process does to hold it, with `id`. */
  program: string;
}

const barrier = { parties: 1 } as const;

const holdings: Record<string, Holding> = {
  Mutex: holding({
    create: () => Mutex.create(),
    fromId: (id) => Mutex.fromId(id),
    hold: (mutex) => mutex.lockSync(),
    program: "Mutex.fromId(id).lockSync()",
  }),
  "RwLock to read": holding({
    create: () => RwLock.create(),
    fromId: (id) => RwLock.fromId(id),
    hold: (lock) => lock.readSync(),
    program: "RwLock.fromId(id).readSync()",
  }),
  "RwLock to write": holding({
    create: () => RwLock.create(),
    fromId: (id) => RwLock.fromId(id),
    hold: (lock) => lock.writeSync(),
    program: "RwLock.fromId(id).writeSync()",
  }),
  Bulkhead: holding({
    create: () => Bulkhead.create({ tickets: 1 }),
    fromId: (id) => Bulkhead.fromId(id),
    hold: (bulkhead) => bulkhead.acquireSync(),
    program: "Bulkhead.fromId(id).acquireSync()",
  }),
  Gauge: holding({
    create: () => Gauge.create(),
    fromId: (id) => Gauge.fromId(id),
    hold: (gauge) => gauge.enter(),
    program: "Gauge.fromId(id).enter()",
  }),
  Leader: holding({
    create: () => Leader.create(),
    fromId: (id) => Leader.fromId(id),
    hold: (leader) => leader.campaignSync(),
    program: "Leader.fromId(id).campaignSync()",
  }),
  Barrier: holding({
    create: () => Barrier.create(barrier),
    fromId: (id) => Barrier.fromId(id, barrier),
    hold: (made) => made.join(),
    program: "Barrier.fromId(id).join()",
  }),
};

function holding<P extends Primitive>(one: Holding<P>): Holding {
  return one as unknown as Holding;
}

for (const [name, { create, fromId, hold, program }] of Object.entries(holdings)) {
  test(`${name}: what is held is lost when another process removes the object`, async () => {
    using object = create();
    using held = hold(object);
    const { lost } = held;
    assertEquals([lost.aborted, held.lost === lost, waitersOf(object)], [false, true, 0]);
    await using child = runSync(
      `SemaphoreSet.fromId(Number(args[0]), { kind: args[1] }).remove();`,
      { args: [object.id, kindOf(object)], runtime: otherRuntime },
    );
    await until(() => lost.aborted);
    assertEquals(lost.reason.code, "EIDRM");
    child.end();
    await child.exit;
  });

  test(`${name}: what is held is lost at once when this thread removes the object, and already when it has`, () => {
    using object = create();
    using held = hold(object);
    const { lost } = held;
    fromId(object.id).remove();
    assertEquals([lost.aborted, lost.reason.code], [true, "EIDRM"]);
    using other = create();
    using late = hold(other);
    other.remove();
    assertEquals(late.lost.aborted, true);
  });

  test(`${name}: nothing is lost once it is released, nor when a handle is disposed that owns nothing`, async () => {
    using object = create();
    const handle = fromId(object.id);
    const first = hold(handle);
    const { lost } = first;
    handle[Symbol.dispose]();
    assertEquals(lost.aborted, false);
    first[Symbol.dispose]();
    const never = first.lost;
    using held = hold(object);
    object.remove();
    await until(() => held.lost.aborted);
    assertEquals([lost.aborted, never.aborted], [false, false]);
  });

  for (const runtime of runtimes) {
    test(`${name}: whoever asks whether it is lost keeps no program of ${runtime} alive`, async () => {
      using object = create();
      await using child = runSync(
        `const id = Number(args[0]);
        const held = ${program};
        held.lost.addEventListener("abort", () => {});
        process.stdin.removeAllListeners("end");
        say("end");`,
        { args: [object.id], runtime },
      );
      assertEquals(await child.hear(), "end");
      child.end();
      assertEquals(await child.exit, { code: 0, signal: null });
    });
  }

  test(`${name}: only methods construct what is held`, () => {
    using object = create();
    using held = hold(object);
    const Constructor = held.constructor as new (...args: unknown[]) => unknown;
    assertThrows(() => new Constructor(), TypeError, "Cannot construct this object");
    assertThrows(() => new Constructor(Symbol("internal"), object), TypeError);
  });
}

function kindOf(object: Primitive): string {
  return object.constructor.name.toLowerCase();
}

/** What is run with something held: how, and whether that is held. */
const runs: Record<
  string,
  () => {
    object: Primitive;
    run: (task: (held: Guard) => unknown, options?: { timeout: number }) => Promise<unknown>;
    isHeld: () => boolean;
  }
> = {
  "Mutex.run()"() {
    const object = Mutex.create();
    return { object, run: (...given) => object.run(...given), isHeld: () => object.locked };
  },
  "RwLock.runRead()"() {
    const object = RwLock.create();
    const isHeld = () => object.state().readers === 1;
    return { object, run: (...given) => object.runRead(...given), isHeld };
  },
  "RwLock.runWrite()"() {
    const object = RwLock.create();
    const isHeld = () => object.state().writing;
    return { object, run: (...given) => object.runWrite(...given), isHeld };
  },
  "Leader.run()"() {
    const object = Leader.create();
    const isHeld = () => object.leaderPid !== undefined;
    return { object, run: (...given) => object.run(...given), isHeld };
  },
  "Bulkhead.run()"() {
    const object = Bulkhead.create({ tickets: 1 });
    const isHeld = () => object.state().inUse === 1;
    return { object, run: (...given) => object.run(...given), isHeld };
  },
};

for (const [name, begin] of Object.entries(runs)) {
  test(`${name} runs a function with what is held, and releases it whatever becomes of that`, async () => {
    const { object, run, isHeld } = begin();
    using _ = object;
    const result = await run(async (held) => {
      assert(isHeld());
      assert(!held.lost.aborted);
      await passed(1);
      return 42;
    });
    assertEquals([result, isHeld()], [42, false]);
    const failure = new Error("failure");
    const fails = () => {
      throw failure;
    };
    assertEquals(await assertRejects(() => run(fails)), failure);
    assertEquals(await assertRejects(() => run(() => Promise.reject(failure))), failure);
    await run((held) => held.release());
    assertEquals(isHeld(), false);
  });

  test(`${name} runs nothing if it cannot have it in time, and refuses what is no function`, async () => {
    const { object, run } = begin();
    using _ = object;
    if (name !== "RwLock.runRead()") {
      let ran = 0;
      await run(() => assertTimesOut(run(() => ran++, { timeout: 5 }) as Promise<unknown>));
      assertEquals(ran, 0);
    }
    const before = valuesOf(object);
    await assertRejects(() => run("task" as never), TypeError);
    await assertRejects(() => run(() => {}, 5 as never), TypeError);
    assertEquals(valuesOf(object), before);
  });
}

test("A guard that could not give back says so, and can be released again", () => {
  using mutex = Mutex.create();
  const guard = mutex.lockSync();
  // Somebody says that nobody has taken it.
  semctl(mutex.id, 1, SETVAL, 0);
  for (let time = 0; time < 2; time++) {
    const { message } = assertIpcError(() => guard.release(), "EAGAIN", "semop");
    assertStringIncludes(message, "unlock");
    assertStringIncludes(message, "nothing is given back");
  }
  assertIpcError(() => mutex.lockSync(), "EDEADLK", "semop");
  semctl(mutex.id, 1, SETVAL, 1);
  guard.release();
  mutex.lockSync().release();
});

test("A permit that could not be given back says so, and can be released again", () => {
  using gauge = Gauge.create();
  const entry = gauge.enter(2);
  semctl(gauge.id, 0, SETVAL, 1);
  assertIpcError(() => entry.release(), "EAGAIN", "semop");
  semctl(gauge.id, 0, SETVAL, 2);
  entry.release();
  assertEquals(gauge.value, 0);
});
