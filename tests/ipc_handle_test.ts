import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { inspect } from "node:util";
import { test } from "node:test";
import { keyOf, MessageQueue, Semaphore, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName, removing } from "./support/objects.ts";
import { until } from "./support/time.ts";

const classes = [
  { Class: Semaphore, name: "Semaphore", noun: "semaphore", options: {} },
  { Class: SemaphoreSet, name: "SemaphoreSet", noun: "semaphore set", options: { values: [1, 2] } },
  { Class: MessageQueue, name: "MessageQueue", noun: "message queue", options: {} },
  { Class: SharedMemory, name: "SharedMemory", noun: "shared memory", options: { size: 10 } },
] as const;

const shown = (key: number) => `0x${(key >>> 0).toString(16).padStart(8, "0")}`;

for (const { Class, name, noun, options } of classes) {
  const create = Class.create as (options: object) => InstanceType<typeof Class>;
  const openOrCreate = Class.openOrCreate as (
    key: string | number,
    options: object,
  ) => InstanceType<typeof Class>;

  test(`${name}: created says which of all openOrCreate() made the object`, () => {
    const key = freshName();
    using first = openOrCreate(key, options);
    using _ = removing(first);
    using second = openOrCreate(key, options);
    using opened = Class.open(key);
    using taken = Class.fromId(first.id);
    using made = create(options);
    assertEquals(
      [first, second, opened, taken, made].map(({ created }) => created),
      [true, false, false, false, true],
    );
  });

  test(`${name} names in errors what the user named: a name, a key, or an identifier`, () => {
    const key = freshName();
    using named = create({ ...options, key });
    using byKey = Class.open(keyOf(key));
    using byId = Class.fromId(named.id);
    assertEquals([named.name, byKey.name, byId.name], [key, undefined, undefined]);
    assertEquals(byId.key, keyOf(key));
    named.remove();
    const messages = [named, byKey, byId].map((object) =>
      assertIpcError(() => object.remove(), "EIDRM", `${syscallOf(noun)}ctl`).message
    );
    assertStringIncludes(messages[0]!, `${noun} "${key}" (${shown(keyOf(key))})`);
    assertStringIncludes(messages[1]!, `${noun} ${shown(keyOf(key))}:`);
    assertStringIncludes(messages[2]!, `${noun} ${named.id}:`);
  });

  test(`console.log shows what a ${name} is, even when it is removed or disposed`, () => {
    const key = freshName();
    const object = create({ ...options, key });
    assertStringIncludes(
      inspect(object),
      `${name} { ${name === "SemaphoreSet" ? 'kind: "set", ' : ""}id: ${object.id}, `,
    );
    assertStringIncludes(inspect(object), `key: ${shown(keyOf(key))}, name: "${key}"`);
    object.remove();
    assertStringIncludes(inspect(object), `id: ${object.id}`);
    object[Symbol.dispose]();
    assertStringIncludes(inspect(object), `id: ${object.id}`);
  });

  test(`${name} cannot be constructed by users`, () => {
    const Anything = Class as never as new (...given: unknown[]) => unknown;
    assertThrows(() => new Anything(), TypeError, `${name}.create()`);
    assertThrows(() => new Anything(Symbol("internal"), {}), TypeError, `${name}.create()`);
  });

  test(`${name}.create() says of a key that is taken what opens it, and what removes it`, () => {
    const key = freshName();
    using _object = create({ ...options, key });
    const { message } = assertIpcError(
      () => create({ ...options, key }),
      "EEXIST",
      `${syscallOf(noun)}get`,
    );
    const letter = { sem: "S", msg: "Q", shm: "M" }[syscallOf(noun)];
    assertStringIncludes(message, `"ipcrm -${letter} ${shown(keyOf(key))}"`);
    assertStringIncludes(message, "openOrCreate()");
  });

  test(`${name}.create() asks whether a mode that looks octal was meant so`, () => {
    assertThrows(() => create({ ...options, mode: 600 }), RangeError, "did you mean 0o600?");
  });
}

function syscallOf(noun: string): "sem" | "msg" | "shm" {
  return noun.startsWith("semaphore") ? "sem" : noun === "message queue" ? "msg" : "shm";
}

test("Of many processes that openOrCreate() at once, one created the object", async () => {
  const key = freshName();
  const program = `
    await hear();
    say(Semaphore.openOrCreate(args[0], { value: 3 }).created);
    await hear();
  `;
  const children = Array.from({ length: 6 }, () => run(program, { args: [key] }));
  for (const child of children) child.say("go");
  const answers = await Promise.all(children.map((child) => child.hear()));
  for (const child of children) await child[Symbol.asyncDispose]();
  using semaphore = Semaphore.open(key);
  using _ = removing(semaphore);
  assertEquals(answers.filter((answer) => answer === "true").length, 1);
  assertEquals(semaphore.value, 3);
});

test("console.log shows the values, and no error where this user may not read them", () => {
  using semaphore = Semaphore.create({ value: 3 });
  using set = SemaphoreSet.create({ values: [4, 5], kind: "set" });
  using queue = MessageQueue.create();
  queue.trySend("one");
  assertStringIncludes(inspect(semaphore), "value: 3");
  assertStringIncludes(inspect(set), "values: [4, 5]");
  assertStringIncludes(inspect(queue), "messages: 1");
  assertEquals(inspect(semaphore.acquireSync()), "Permit { count: 1, released: false }");
});

test("A set of a kind is named by it", () => {
  const key = freshName();
  using _set = SemaphoreSet.create({ key, kind: "mutex", values: [1, 0] });
  using mutex = SemaphoreSet.open(key, { kind: "mutex" });
  assertEquals(`${mutex}`, `mutex "${key}" (${shown(keyOf(key))})`);
  const { message } = assertIpcError(() => Semaphore.open(key), "EINVAL", "semget");
  assertEquals(
    message,
    `Cannot open semaphore set "${key}" (${shown(keyOf(key))}) as a semaphore: it is a mutex`,
  );
});

test("Semaphore.run() holds what it acquires until its function is done", async () => {
  using semaphore = Semaphore.create({ value: 3 });
  const value = await semaphore.run(async (permit) => {
    await Promise.resolve();
    return [semaphore.value, permit.count];
  }, { count: 2 });
  assertEquals([value, semaphore.value], [[1, 2], 3]);
  await assertRejects(
    () =>
      semaphore.run(() => {
        throw new RangeError("mine");
      }),
    RangeError,
    "mine",
  );
  assertEquals(semaphore.value, 3);
  let called = false;
  const late = semaphore.run(() => called = true, { count: 4, timeout: 1 });
  assertEquals((await assertRejects(() => late, DOMException)).name, "TimeoutError");
  assertEquals([called, semaphore.value], [false, 3]);
});

test("Semaphore.tryWaitForZero() and tryWaitForAtLeast() test and change nothing", () => {
  using semaphore = Semaphore.create();
  assertEquals([semaphore.tryWaitForZero(), semaphore.tryWaitForAtLeast(1)], [true, false]);
  semaphore.value = 2;
  assertEquals([semaphore.tryWaitForZero(), semaphore.tryWaitForAtLeast(2)], [false, true]);
  assertEquals([semaphore.tryWaitForAtLeast(3), semaphore.value], [false, 2]);
  assertThrows(() => semaphore.tryWaitForAtLeast(0), RangeError);
  semaphore.remove();
  assertIpcError(() => semaphore.tryWaitForZero(), "EIDRM", "semctl");
});

test("Permit.lost fires when the semaphore is removed, by this process or another", async () => {
  using semaphore = Semaphore.create({ value: 2 });
  const permit = semaphore.acquireSync();
  const released = semaphore.acquireSync();
  const { lost } = permit;
  const never = released.lost;
  released.release();
  assert(permit.lost === lost && !lost.aborted);
  Semaphore.fromId(semaphore.id).remove();
  await until(() => lost.aborted);
  assertEquals([lost.reason.code, never.aborted], ["EIDRM", false]);
  permit.release();
});

test("Errors and timeouts say the amount", async () => {
  using semaphore = Semaphore.create({ value: 1 });
  const name = `semaphore ${semaphore.id}`;
  const late = await assertRejects(() => semaphore.acquire(3, { timeout: 5 }), DOMException);
  assertEquals(late.message, `Cannot acquire 3 from ${name} within 5 ms`);
  const blocked = assertThrows(() => semaphore.decrementSync(2, { timeout: 1 }), DOMException);
  assertEquals(blocked.message, `Cannot decrement ${name} by 2 within 1 ms`);
});
