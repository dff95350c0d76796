import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { SemaphoreSet } from "@sysv/ipc";
import { errors } from "../ffi/constants.ts";
import { addressOf, runtime } from "../ffi/memory.ts";
import { abi } from "../ffi/platforms.ts";
import { gate, keeper, parts as keeperParts } from "../wait/keeper.ts";
import { threadNumber } from "../wait/interrupt.ts";
import { cancels, mailbox, MAX_ARGUMENTS, orders, STARTED } from "../wait/mailbox.ts";
import { textOfThreads } from "../wait/text.ts";
import { giveBack, isGone } from "../wait/reversal.ts";
import { Thread } from "../wait/thread.ts";
import {
  blockingCalls,
  callNames,
  linuxThreadCalls,
  thread,
  threadCalls,
  threadText,
} from "../wait/worker.ts";
import { passed, until } from "./support/time.ts";

const zeros = (size: number) => SemaphoreSet.create({ values: Array<number>(size).fill(0) });

test("The text of a thread names nothing outside itself, and does all it is asked for", () => {
  using set = zeros(3);
  const { integers: at, floats: floatAt } = mailbox;
  const memory = new SharedArrayBuffer(mailbox.size);
  const own = new Int32Array(memory);
  const numbers = new Float64Array(memory);
  // struct sembuf { unsigned short sem_num; short sem_op; short sem_flg; }
  const operations = new Int16Array([1, 3, 0, 2, 1, 0]);
  const address = addressOf(new Uint8Array(operations.buffer));
  const ask = (what: number) => {
    own[at.call] = what;
    own[at.asked]!++;
  };
  const operate = (cancel: number) => {
    own[at.count] = 3;
    own[at.cancel] = cancel;
    own[at.reversal] = callNames.indexOf("semop");
    own[at.reversalCount] = 3;
    numbers.set([set.id, address, 1], floatAt.arguments);
    numbers.set([set.id, address + 6, 1], floatAt.reversal);
    ask(callNames.indexOf("semop"));
  };
  const text = threadText(runtime(), {
    libraries: abi.libraries,
    table: {
      ...blockingCalls,
      ...threadCalls,
      ...linuxThreadCalls,
      errnoLocation: { name: abi.errnoLocation, parameters: [], result: "address" },
    },
    callNames,
    mailbox,
    orders,
    cancels,
    eintr: errors.EINTR,
    esrch: errors.ESRCH,
    tgkill: abi.tgkill,
    idleCheckMs: 1000,
    pendingCheckMs: 10,
  });
  let owner = threadNumber();
  own[at.reversal] = orders.none;
  /** Runs it: each step is what its owner does when it is idle. */
  const run = (...steps: (() => string | void)[]) => {
    own[at.asked] = STARTED;
    const thread = runInNewContext(text, {
      Deno: Reflect.get(globalThis, "Deno"),
      SharedArrayBuffer,
      process: { getBuiltinModule: (name: string) => process.getBuiltinModule(name) },
      Atomics: {
        add: Atomics.add,
        load: Atomics.load,
        store: Atomics.store,
        notify: () => 0,
        wait: () => steps.shift()!() ?? "ok",
      },
    });
    thread({ memory, offset: 0, owner });
    assertEquals([own[at.failed], steps.length], [0, 0]);
  };

  run(
    () => "timed-out",
    () => operate(0),
    () => "timed-out",
    () => {
      assertEquals(own[at.result], 0);
      operate(1);
    },
    () => {
      assertEquals([own[at.result], own[at.errno]], [-1, errors.EINTR]);
      ask(orders.leave);
    },
  );
  assertEquals(own[at.answered], STARTED + 3);
  assertEquals(set.values, [0, 3, 0]);

  // No thread of this process has the number of the process that started it.
  owner = process.ppid;
  run(() => operate(0), () => "timed-out");
  assertEquals(set.values, [0, 6, 1]);
  // What its owner has taken it does not give back.
  run(() => operate(0), () => {
    own[at.reversal] = orders.none;
    return "timed-out";
  });
  assertEquals(set.values, [0, 9, 1]);
});

test("No function in the text of a thread has a name that a bundler could keep", () => {
  const { open, view, startWorker } = runtime();
  const parts = [open, view, startWorker, thread, isGone, giveBack];
  for (const part of [...parts, gate, keeper, ...Object.values(keeperParts)]) {
    const body = String(part).replace(/^[^{]*/, "");
    const named =
      /\bfunction\b(?!")|\bclass\b|\b(?:(?:const|let|var) \w+ =|\w+:) (?:async )?(?:\([^()]*\)|\w+) =>/;
    assertEquals(named.exec(body)?.[0], undefined, part.name);
  }
});

test("The fields of a mailbox do not overlap, and have room for every call", () => {
  const lists: readonly string[] = ["arguments", "reversal"];
  const spans = [
    ...Object.entries(mailbox.integers).map(([name, at]) => ({ name, from: 4 * at, size: 4 })),
    ...Object.entries(mailbox.floats).map(([name, at]) => ({
      name,
      from: 8 * at,
      size: lists.includes(name) ? 8 * MAX_ARGUMENTS : 8,
    })),
  ].sort((one, other) => one.from - other.from);
  let end = 0;
  for (const { name, from, size } of spans) {
    assert(from >= end, `${name} begins at ${from}, before ${end}`);
    end = from + size;
  }
  assert(end <= mailbox.size);
  for (const { parameters } of Object.values(blockingCalls)) {
    assert(parameters.length <= MAX_ARGUMENTS);
  }
});

test("The counter of what a thread was asked passes every number, -1 too", async () => {
  const memory = new SharedArrayBuffer(mailbox.size);
  const thread = new Thread({ memory, offset: 0 });
  const settings = { owner: threadNumber(), memory, offset: 0 };
  const worker = runtime().startWorker(textOfThreads(), settings, () => thread.fail());
  const answered = () => new Promise<void>((resolve) => thread.whenAnswered(resolve));
  await answered();
  const { integers: at } = mailbox;
  const own = new Int32Array(memory);
  const semop = (delta: number) => {
    thread.memory.reserve(6);
    new Int16Array(thread.memory.bytes.buffer, 0, 3).set([0, delta, 0]);
    const request = { arguments: [set.id, thread.memory.address, 1] };
    return new Promise<number>((resolve) => thread.run("semop", request, 1, resolve));
  };
  using set = zeros(1);
  for (const begin of [-3, 0x7fffffff - 1]) {
    // The thread is idle: both sides count on from here.
    own[at.asked] = own[at.answered] = begin;
    for (let i = 0; i < 5; i++) {
      const before = set.values[0]!;
      assertEquals(await semop(1), 0);
      assertEquals(set.values[0], before + 1);
    }
    const blocked = semop(-100);
    await until(() => set.at(0).waiting.forIncrease === 1);
    assertEquals(await Promise.race([blocked, passed(20)]), undefined);
    thread.cancel();
    assertEquals(await blocked, -errors.EINTR);
    assertEquals(thread.failed, false);
  }
  thread.leave();
  worker.unref();
});

test("A thread that cannot start is told, and what waits is served all the same", async () => {
  const memory = new SharedArrayBuffer(mailbox.size);
  const thread = new Thread({ memory, offset: 0 });
  const text = textOfThreads().replace("calls.getpid", "missing(calls).getpid");
  const worker = runtime().startWorker(
    text,
    { owner: threadNumber(), memory, offset: 0 },
    () => {},
  );
  await new Promise<void>((resolve) => thread.whenAnswered(resolve));
  assert(thread.failed);
  worker.unref();
});
