/**
 * What tests of the primitives need: processes that know their names, a look into the kernel, and
 * the tests that all primitives have to pass.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { inspect as inspectOfNode } from "node:util";
import {
  type IpcError,
  type Key,
  keyOf,
  type PermissionOptions,
  type SemaphoreInfo,
  SemaphoreSet,
  type SetKind,
  type WaitOptions,
} from "@sysv/ipc";
import { assertIpcError, assertRejectsWith, assertTimeout, assertTimesOut } from "./assert.ts";
import { type Child, otherRuntime, run, type RunOptions } from "./child.ts";
import { freshName, removing } from "./objects.ts";
import { until } from "./time.ts";

const names = ["Barrier", "Bulkhead", "Event", "Gauge", "Latch", "Leader", "Mutex", "RwLock"];
const module = new URL("../../sync/mod.ts", import.meta.url).href;

const prelude = `
import { ${names.join(", ")} } from ${JSON.stringify(module)};
void [${names.join(", ")}];
// Nobody will tell it anything more: it must not outlive a test that was killed.
process.stdin.on("end", () => process.exit());
`;

/** Runs a program that knows the primitives too, until it ends or the test does. */
export function runSync(program: string, options?: RunOptions): Child {
  return run(prelude + program, options);
}

/** What console.log shows. */
const inspect: (shown: unknown) => string =
  (globalThis as { Deno?: { inspect(shown: unknown): string } }).Deno?.inspect ?? inspectOfNode;

/** What all primitives have. */
export interface Primitive extends Disposable {
  readonly id: number;
  readonly key: number | undefined;
  readonly name: string | undefined;
  readonly created: boolean;
  stat(): SemaphoreInfo;
  setPermissions(permissions: PermissionOptions): void;
  remove(): void;
}

const kinds: readonly SetKind[] = [
  "barrier",
  "bulkhead",
  "event",
  "gauge",
  "latch",
  "leader",
  "mutex",
  "rwlock",
  "set",
];

/** The semaphores of a primitive. */
export function semaphoresOf({ id }: Primitive): SemaphoreSet {
  for (const kind of kinds) {
    try {
      return SemaphoreSet.fromId(id, { kind });
    } catch (error) {
      if ((error as IpcError).code !== "EINVAL") throw error;
    }
  }
  throw new Error(`Set ${id} is of no kind`);
}

/** The values of its semaphores. */
export function valuesOf(primitive: Primitive): number[] {
  return semaphoresOf(primitive).values;
}

/** How many processes and threads wait for any of its semaphores. */
export function waitersOf(primitive: Primitive): number {
  const set = semaphoresOf(primitive);
  let waiters = 0;
  for (let index = 0; index < set.size; index++) {
    const { forIncrease, forZero } = set.at(index).waiting;
    waiters += forIncrease + forZero;
  }
  return waiters;
}

/** Waits until so many wait in the kernel. */
export function untilWaiting(primitive: Primitive, count = 1): Promise<void> {
  return until(() => waitersOf(primitive) === count);
}

/** How a class makes and finds its primitives. */
export interface Opening<P extends Primitive> {
  name: string;
  kind: SetKind;
  create(options: { key?: Key; owner?: boolean; mode?: number }): P;
  open(key: Key): P;
  openOrCreate(key: Key): P;
  fromId(id: number): P;
  /** The values with which it starts. */
  values: number[];
}

const withArticle = (kind: SetKind) => kind === "event" ? "an event" : `a ${kind}`;

/** The tests of how primitives of a class are made, found and removed. */
export function testOpening<P extends Primitive>(opening: Opening<P>): void {
  const { name, kind, create, open, openOrCreate, fromId, values } = opening;

  test(`${name}.create() makes a private one, which fromId() takes`, () => {
    using made = create({});
    assertEquals([made.key, valuesOf(made)], [undefined, values]);
    using taken = fromId(made.id);
    assertEquals([taken.id, valuesOf(taken)], [made.id, values]);
  });

  test(`${name}.open() opens by key or name what create() made`, () => {
    const key = freshName();
    assertIpcError(() => open(key), "ENOENT", "semget");
    using made = create({ key, mode: 0o640 });
    assertEquals(made.key, keyOf(key));
    assertEquals([open(key).id, open(keyOf(key)).id], [made.id, made.id]);
    assertEquals(semaphoresOf(made).stat().mode, 0o640);
    assertIpcError(() => create({ key }), "EEXIST", "semget");
  });

  test(`${name}.openOrCreate() makes one and leaves one that is there as it is`, () => {
    const key = freshName();
    using made = openOrCreate(key);
    using _ = removing(made);
    assertEquals(valuesOf(made), values);
    semaphoresOf(made).operateSync([{ index: 0, delta: 1 }]);
    const changed = values.with(0, values[0]! + 1);
    using opened = openOrCreate(key);
    assertEquals([opened.id, valuesOf(opened)], [made.id, changed]);
  });

  test(`${name}: only the handle that created it removes it when disposed`, () => {
    const key = freshName();
    const made = create({ key });
    for (const handle of [open(key), openOrCreate(key), fromId(made.id)]) {
      handle[Symbol.dispose]();
    }
    assertEquals(valuesOf(made), values);
    made[Symbol.dispose]();
    made[Symbol.dispose]();
    assertIpcError(() => open(key), "ENOENT", "semget");

    const kept = create({ owner: false });
    kept[Symbol.dispose]();
    using taken = fromId(kept.id);
    assertEquals(valuesOf(taken), values);
    taken.remove();
  });

  test(`${name}: what is of another kind cannot be opened, and the error says what it is`, () => {
    for (const other of kinds.filter((other) => other !== kind)) {
      const key = freshName();
      // As large as any, so that it is the kind that counts.
      using set = SemaphoreSet.create({ key, kind: other, values: [1, 1, 1, 1, 1, 1] });
      for (const found of [() => open(key), () => openOrCreate(key), () => fromId(set.id)]) {
        const { message } = assertIpcError(found, "EINVAL", "semget");
        assert(message.includes(`as ${withArticle(kind)}: it is ${withArticle(other)}`), message);
      }
      assertEquals(set.values, [1, 1, 1, 1, 1, 1]);
    }
    using made = create({});
    assertIpcError(() => SemaphoreSet.fromId(made.id), "EINVAL", "semget");
  });

  test(`${name}: using it once it is disposed throws a ReferenceError`, () => {
    using made = create({ owner: false });
    using _ = removing(fromId(made.id));
    made[Symbol.dispose]();
    assertThrows(() => made.remove(), ReferenceError);
  });

  test(`${name}.stat() describes it, and setPermissions() changes who may use it`, () => {
    using made = create({ mode: 0o640 });
    const info = made.stat();
    assertEquals([info.id, info.key, info.mode], [made.id, undefined, 0o640]);
    assertEquals(info.size, values.length);
    fromId(made.id).setPermissions({ mode: 0o600 });
    assertEquals(made.stat().mode, 0o600);
    made.remove();
    assertIpcError(() => made.stat(), "EIDRM", "semctl");
    assertIpcError(() => made.setPermissions({ mode: 0o600 }), "EIDRM", "semctl");
  });

  test(`${name}.created tells by which call it came to be`, () => {
    const key = freshName();
    using first = openOrCreate(key);
    using _ = removing(first);
    using second = openOrCreate(key);
    using opened = open(key);
    using taken = fromId(first.id);
    const handles = [first, second, opened, taken];
    assertEquals(handles.map(({ created }) => created), [true, false, false, false]);
    assertEquals(handles.map(({ name }) => name), [key, key, key, undefined]);
    using made = create({});
    assertEquals([made.created, made.name], [true, undefined]);
  });

  test(`${name} is called by its kind, name and key in errors`, () => {
    const key = freshName();
    const called = `${kind} "${key}" (0x${(keyOf(key) >>> 0).toString(16).padStart(8, "0")})`;
    assertStringIncludes(assertIpcError(() => open(key), "ENOENT", "semget").message, called);
    const made = create({ key });
    made.remove();
    assertStringIncludes(assertIpcError(() => made.stat(), "EIDRM", "semctl").message, called);
    made[Symbol.dispose]();
    assertThrows(() => made.stat(), ReferenceError, called);
  });

  test(`${name} shows itself to console.log, whatever became of it`, () => {
    using made = create({ key: freshName() });
    const hex = `0x${(made.key! >>> 0).toString(16).padStart(8, "0")}`;
    const shown = `${name} { id: ${made.id}, key: ${hex}, name: "${made.name}"`;
    assertStringIncludes(inspect(made), shown);
    assertMatch(inspect({ made }), /made: \w+ \{ id: /);
    made.remove();
    assertStringIncludes(inspect(made), "<removed>");
    made[Symbol.dispose]();
    assertStringIncludes(inspect(made), "<disposed>");
  });

  test(`${name}.remove() removes it, whoever made it`, () => {
    using made = create({});
    fromId(made.id).remove();
    assertIpcError(() => fromId(made.id), "EIDRM", "semctl");
    assertIpcError(() => made.remove(), "EIDRM", "semctl");
  });
}

/** A way to wait, of a primitive on which one has to. */
export interface Form<P extends Primitive> {
  /** What is waited with, such as "Mutex.lock()". */
  name: string;
  create(): P;
  fromId(id: number): P;
  /** The values with which one has to wait. */
  blocked: number[];
  wait(primitive: P, options?: WaitOptions): Promise<unknown>;
  waitSync(primitive: P, options?: { timeout?: number }): unknown;
  /** What another process does to wait, with `id`. */
  program: string;
}

/** The tests of how waits end that do not get what they wait for. */
export function testWaits<P extends Primitive>(form: Form<P>): void {
  const { name, blocked, wait, waitSync, program } = form;
  const create = () => {
    const primitive = form.create();
    semaphoresOf(primitive).values = blocked;
    return primitive;
  };

  test(`${name} rejects when its time is up, and has changed nothing`, async () => {
    using primitive = create();
    await assertTimesOut(wait(primitive, { timeout: 0 }));
    await assertTimesOut(wait(primitive, { timeout: 5 }));
    assertEquals([valuesOf(primitive), waitersOf(primitive)], [blocked, 0]);
  });

  test(`${name}, blocking, throws when its time is up, and has changed nothing`, () => {
    using primitive = create();
    for (const timeout of [0, 5]) {
      assertTimeout(() => waitSync(primitive, { timeout }));
    }
    assertEquals(valuesOf(primitive), blocked);
  });

  test(`${name} rejects with the reason of its signal, and has changed nothing`, async () => {
    using primitive = create();
    const reason = new Error("enough");
    const aborted = await assertRejects(() =>
      wait(primitive, { signal: AbortSignal.abort(reason) })
    );
    assertEquals(aborted, reason);
    const controller = new AbortController();
    const waiting = assertRejects(() => wait(primitive, { signal: controller.signal }));
    await untilWaiting(primitive);
    controller.abort(reason);
    assertEquals(await waiting, reason);
    assertEquals([valuesOf(primitive), waitersOf(primitive)], [blocked, 0]);
  });

  test(`${name} refuses a timeout that is none, before anything happens`, async () => {
    using primitive = create();
    for (const timeout of [-1, NaN]) {
      await assertRejects(() => wait(primitive, { timeout }), RangeError);
      assertThrows(() => waitSync(primitive, { timeout }), RangeError);
    }
    assertEquals(valuesOf(primitive), blocked);
  });

  test(`${name} rejects with EIDRM when another handle removes it`, async () => {
    using primitive = create();
    const waiting = assertRejectsWith("EIDRM", wait(primitive));
    await untilWaiting(primitive);
    form.fromId(primitive.id).remove();
    await waiting;
  });

  test(`${name}, blocking in a process of ${otherRuntime}, throws EIDRM when it is removed`, async () => {
    using primitive = create();
    await using child = runSync(
      `const id = Number(args[0]);
      try { ${program} } catch (error) { say(error.code); }`,
      { args: [primitive.id], runtime: otherRuntime },
    );
    await untilWaiting(primitive);
    primitive.remove();
    assertEquals(await child.hear(), "EIDRM");
  });

  test(`${name} rejects when the handle is disposed, and has changed nothing`, async () => {
    using primitive = create();
    using set = semaphoresOf(primitive);
    const handle = form.fromId(primitive.id);
    const waiting = assertRejects(() => wait(handle), ReferenceError);
    await untilWaiting(primitive);
    handle[Symbol.dispose]();
    await waiting;
    await until(() => waitersOf(primitive) === 0);
    assertEquals(set.values, blocked);
  });
}

/** A way to take something of a primitive that has it to give. */
export interface Taking<P extends Primitive> {
  /** What it is taken with, such as "Mutex.lock()". */
  name: string;
  create(): P;
  fromId(id: number): P;
  take(primitive: P, options?: WaitOptions): Promise<Disposable>;
  /** Tells whether nothing is taken. */
  isFree(primitive: P): boolean;
}

const ends: Record<string, (handle: Primitive, controller: AbortController) => void> = {
  "the handle is disposed": (handle) => handle[Symbol.dispose](),
  "the signal is aborted": (_, controller) => controller.abort(),
};

/** The tests that what is taken is had by the caller or by nobody, whenever the wait ends. */
export function testTaking<P extends Primitive>(taking: Taking<P>): void {
  const { name, create, fromId, take, isFree } = taking;
  for (const [happens, end] of Object.entries(ends)) {
    test(`${name} fails and takes nothing, or does not fail, at whatever moment ${happens}`, async () => {
      using primitive = create();
      for (let turns = 0; turns < 12; turns++) {
        const handle = fromId(primitive.id);
        const controller = new AbortController();
        const taken = take(handle, { signal: controller.signal });
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        end(handle, controller);
        await taken.then((guard) => guard[Symbol.dispose](), () => {});
        assert(isFree(primitive), `${valuesOf(primitive)} after ${turns} turns`);
      }
    });
  }
}
