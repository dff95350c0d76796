import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { IpcError, SemaphoreSet, SharedMemory, type WaitOptions } from "@sysv/ipc";
import {
  Broadcast,
  bytes,
  Channel,
  SharedMutex,
  SharedVariable,
  WorkQueue,
} from "@sysv/ipc/shared";
import { ready, table, vacant } from "../shared/jobs.ts";
import { type Gate, header, type Lock } from "../shared/layout.ts";
import { Protocol } from "../shared/protocol.ts";
import { consumers, filled } from "../shared/ring_flows.ts";
import { unlock } from "../shared/unlock.ts";
import { passed, until } from "./support/time.ts";

/** What a channel and a queue of jobs have in common. */
interface Line extends Disposable {
  readonly id: number;
  send(item: string, options: WaitOptions): Promise<unknown>;
  receive(options: WaitOptions): Promise<unknown>;
  sendSync(item: string): void;
  /** Receives what is there, and is done with it. */
  finish(): void;
}

type Wake = (line: Line) => void;

interface Kind {
  create(): Line;
  fromId(id: number): Line;
}

const channels: Kind = {
  create: () => withFinish(Channel.create<string>({ members: 8 })),
  fromId: (id) => withFinish(Channel.fromId<string>(id)),
};
const queues: Kind = {
  create: () => withFinish(WorkQueue.create<string>({ members: 8, capacity: 1 })),
  fromId: (id) => withFinish(WorkQueue.fromId<string>(id)),
};

function withFinish(line: Channel<string> | WorkQueue<string>): Line {
  const finish = () => {
    const got = line.tryReceive();
    if (typeof got === "object") got.done();
  };
  return Object.assign(line, { finish });
}

for (
  const [title, kind, lock, gate, wait, wake] of [
    [
      "Channel.receive()",
      channels,
      consumers,
      filled,
      (line, signal) => line.receive({ signal }),
      (line) => line.sendSync("something"),
    ],
    [
      "WorkQueue.receive()",
      queues,
      table,
      ready,
      (line, signal) => line.receive({ signal }),
      (line) => line.sendSync("something"),
    ],
    [
      "WorkQueue.send()",
      queues,
      table,
      vacant,
      (line, signal) => line.send("more", { signal }),
      (line) => line.finish(),
    ],
  ] as [string, Kind, Lock, Gate, (line: Line, signal: AbortSignal) => Promise<unknown>, Wake][]
) {
  test(`${title}: who is woken and gives up as another has the lock leaves it to the next`, async () => {
    using owner = kind.create();
    using memory = SharedMemory.fromId(owner.id);
    const words = new Int32Array(memory.buffer);
    using set = SemaphoreSet.fromId(words[header.semaphores]!, { kind: "members" });
    // Who takes a place wakes one, too: so the owner does before.
    owner.sendSync("first");
    if (gate !== vacant) owner.finish();
    const sleepers = [];
    for (let marks = 0; sleepers.length < 2; marks = words[gate.word]!) {
      const line = kind.fromId(owner.id);
      const controller = new AbortController();
      const waited = wait(line, controller.signal);
      // Who takes a place has another look again, which then sleeps again.
      await until(() => words[gate.word] !== marks && (words[gate.word]! & marks) === marks);
      sleepers.push({ line, controller, waited, mark: words[gate.word]! ^ marks });
    }
    using _ = sleepers[0]!.line;
    using __ = sleepers[1]!.line;
    wake(owner);
    const woken = sleepers.find(({ mark }) => (words[gate.word]! & mark) === 0)!;
    const asleep = sleepers.find((sleeper) => sleeper !== woken)!;
    assertEquals(words[gate.word], asleep.mark);

    // The lock is taken by one who lives: at the place where the other's promises sleep, which takes no locks.
    const me = 32 - Math.clz32(asleep.mark);
    Atomics.or(words, lock.word, me);
    await until(() => words[lock.gate] !== 0);
    woken.controller.abort(new Error("enough"));
    await assertRejects(() => woken.waited, Error, "enough");
    await until(() => words[gate.word] === 0);

    const protocol = new Protocol(8, [lock], lock.opens);
    const ringFor = (place: number) => set.tryOperate(protocol.ring(place));
    const ringForAll = (places: readonly number[]) => void set.tryOperate(protocol.ringAll(places));
    await until(() => words[lock.gate] !== 0);
    unlock({ place: me, words, ringFor, ringForAll }, protocol, lock);
    await asleep.waited;
  });
}

test("A promise rejects with the reason of its signal, even an error of the same kind as its own", async () => {
  using mutex = SharedMutex.create();
  using held = mutex.lockSync();
  using gone = SharedVariable.create();
  using variable = SharedVariable.create();
  using channel = Channel.create();
  gone.remove();
  const reason = await assertRejects(() => gone.set(1));
  assert(reason instanceof IpcError && held.abandoned === 0);
  for (
    const wait of [
      (options: WaitOptions) => mutex.lock(options),
      (options: WaitOptions) => variable.wait(options),
      (options: WaitOptions) => channel.receive(options),
    ]
  ) {
    for (const timeout of [undefined, 10_000]) {
      for (const why of [reason, new DOMException("late", "TimeoutError")]) {
        const controller = new AbortController();
        const waited = wait({ signal: controller.signal, timeout });
        waited.catch(() => {});
        await passed(5);
        controller.abort(why);
        assert(await assertRejects(() => waited) === why);
      }
    }
  }
});

test("A promise that slept while its thread blocked rejects as its handle is disposed right after", async () => {
  using owner = Channel.create();
  using memory = SharedMemory.fromId(owner.id);
  const words = new Int32Array(memory.buffer);
  const handle = Channel.fromId(owner.id);
  const waited = handle.receive();
  await until(() => words[filled.word] !== 0);
  assertThrows(() => handle.receiveSync({ timeout: 1 }), DOMException);
  handle[Symbol.dispose]();
  await assertRejects(() => waited, ReferenceError, "the handle is disposed");
});

test("Promises read their options once", async () => {
  using mutex = SharedMutex.create();
  using channel = Channel.create({ capacity: 64, codec: bytes });
  using queue = WorkQueue.create();
  using variable = SharedVariable.create();
  using broadcast = Broadcast.create();
  const held = mutex.lockSync();
  const message = new Uint8Array(24);
  const waits: ((options: WaitOptions) => Promise<unknown>)[] = [
    (options) => mutex.lock(options),
    (options) => channel.receive(options),
    (options) => channel.receiveInto(message, options),
    (options) => queue.receive(options),
    (options) => variable.wait(options),
    (options) => variable.set(1, options),
    (options) => variable.update(() => 2, options),
    (options) => broadcast.publish(3, options),
    (options) => broadcast.subscribe().receive(options),
    (options) => queue.send(4, options),
    (options) => {
      while (channel.trySend(message));
      return channel.send(message, options);
    },
  ];
  for (const wait of waits) {
    const read: string[] = [];
    const options = {
      get timeout() {
        read.push("timeout");
        return 5;
      },
      get signal() {
        return void read.push("signal");
      },
    };
    await wait(options).catch((error) => assertEquals(error.name, "TimeoutError"));
    assertEquals(read, ["timeout", "signal"], String(wait));
  }
  held.release();
});
