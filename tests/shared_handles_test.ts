import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { test } from "node:test";
import { Broadcast, Channel, SharedMutex, SharedVariable, WorkQueue } from "@sysv/ipc/shared";
import type { WaitOptions } from "../wait/options.ts";
import { passed, settles } from "./support/time.ts";

// Several handles of one thread wait by promise at the same gate: each has a place and a mark of its own.

const members = 8;

interface Waiting {
  /** What waits, on a handle of its own each. */
  readonly waits: readonly Promise<unknown>[];
  /** Ends one of the waits, or all of them. */
  end(): void;
}

const structures: Record<string, () => Waiting & Disposable> = {
  Channel() {
    const channel = Channel.create({ members });
    const handles = [Channel.fromId(channel.id), Channel.fromId(channel.id)];
    return {
      waits: handles.map((handle) => handle.receive()),
      end: () => channel.sendSync("message"),
      [Symbol.dispose]: () => disposeAll([...handles, channel]),
    };
  },
  WorkQueue() {
    const queue = WorkQueue.create({ members });
    const handles = [WorkQueue.fromId(queue.id), WorkQueue.fromId(queue.id)];
    return {
      waits: handles.map(async (handle) => (await handle.receive()).done()),
      end: () => queue.sendSync("job"),
      [Symbol.dispose]: () => disposeAll([...handles, queue]),
    };
  },
  SharedMutex() {
    const mutex = SharedMutex.create({ members });
    const handles = [SharedMutex.fromId(mutex.id), SharedMutex.fromId(mutex.id)];
    const guard = mutex.lockSync();
    return {
      waits: handles.map(async (handle) => (await handle.lock()).release()),
      end: () => guard.release(),
      [Symbol.dispose]: () => disposeAll([...handles, mutex]),
    };
  },
  SharedVariable() {
    const variable = SharedVariable.create<number>({ members });
    const handles = [0, 1].map(() => SharedVariable.fromId<number>(variable.id));
    return {
      waits: handles.map((handle) => handle.wait({ newerThan: 1 })),
      end: () => void variable.setSync(1),
      [Symbol.dispose]: () => disposeAll([...handles, variable]),
    };
  },
  Broadcast() {
    const news = Broadcast.create<string>({ members });
    const handles = [Broadcast.fromId<string>(news.id), Broadcast.fromId<string>(news.id)];
    return {
      waits: handles.map((handle) => handle.subscribe().receive()),
      end: () => news.publishSync("message"),
      [Symbol.dispose]: () => disposeAll([...handles, news]),
    };
  },
};

/** Has promises of one handle wait, as many as there are places in a row, and lets them go on one by one. */
const rows: Readonly<Record<string, () => Row & Disposable>> = {
  "Channel.receive()"() {
    const channel = Channel.create<number>({ members });
    const handle = Channel.fromId<number>(channel.id);
    return {
      wait: (options) => handle.receive(options),
      goOn: (n) => channel.sendSync(n),
      [Symbol.dispose]: () => disposeAll([handle, channel]),
    };
  },
  "Channel.send()"() {
    const channel = Channel.create<number>({ members, capacity: 64 });
    const handle = Channel.fromId<number>(channel.id);
    while (channel.trySend(0));
    let sent = 0;
    let seen = 0;
    return {
      wait: async (options) => {
        const n = ++sent;
        await handle.send(n, options);
        return n;
      },
      async goOn() {
        // The messages have to come out in that order, too.
        const n = await channel.receive();
        if (n !== 0) assertEquals(n, ++seen);
      },
      [Symbol.dispose]: () => disposeAll([handle, channel]),
    };
  },
  "WorkQueue.receive()"() {
    const queue = WorkQueue.create<number>({ members });
    const handle = WorkQueue.fromId<number>(queue.id);
    return {
      async wait(options) {
        using job = await handle.receive(options);
        const { value } = job;
        job.done();
        return value;
      },
      goOn: (n) => queue.sendSync(n),
      [Symbol.dispose]: () => disposeAll([handle, queue]),
    };
  },
  "WorkQueue.send()"() {
    const queue = WorkQueue.create<number>({ members, capacity: 4 });
    const handle = WorkQueue.fromId<number>(queue.id);
    while (queue.trySend(0));
    let sent = 0;
    let seen = 0;
    return {
      wait: async (options) => {
        const n = ++sent;
        await handle.send(n, options);
        return n;
      },
      async goOn() {
        using job = await queue.receive();
        if (job.value !== 0) assertEquals(job.value, ++seen);
        job.done();
      },
      [Symbol.dispose]: () => disposeAll([handle, queue]),
    };
  },
  "SharedMutex.lock()"() {
    const mutex = SharedMutex.create({ members });
    const handle = SharedMutex.fromId(mutex.id);
    const guard = mutex.lockSync();
    let count = 0;
    return {
      async wait(options) {
        const own = await handle.lock(options);
        const n = ++count;
        own.release();
        return n;
      },
      goOn(n) {
        if (n > 1) return;
        guard.release();
      },
      [Symbol.dispose]: () => disposeAll([handle, mutex]),
    };
  },
  "BroadcastSubscription.receive()"() {
    const news = Broadcast.create<number>({ members });
    const handle = Broadcast.fromId<number>(news.id);
    const subscription = handle.subscribe();
    return {
      wait: async (options) => (await subscription.receive(options)).value,
      goOn: (n) => news.publishSync(n),
      [Symbol.dispose]: () => disposeAll([handle, news]),
    };
  },
};

interface Row {
  /** Waits, and returns what says when it went on. */
  wait(options: WaitOptions): Promise<number>;
  /** Lets the nth go on. */
  goOn(n: number): void | Promise<void>;
}

for (const [name, start] of Object.entries(rows)) {
  test(`Promises of ${name} of one handle go on in the order of the calls`, async () => {
    for (let round = 0; round < 10; round++) {
      using row = start();
      const waits = [row.wait({}), row.wait({}), row.wait({}), row.wait({}), row.wait({})];
      await passed(round % 4);
      for (let n = 1; n <= 5; n++) {
        await row.goOn(n);
        if (n % 2 === round % 2) await passed(round % 3);
      }
      assertEquals(await Promise.all(waits), [1, 2, 3, 4, 5]);
    }
  });

  test(`Promises of ${name} that wait for each other say what they wait for`, async () => {
    using row = start();
    const reason = new Error("enough");
    const cancel = new AbortController();
    const first = row.wait({ signal: cancel.signal });
    const second = row.wait({ signal: cancel.signal });
    const third = await assertRejects(() => row.wait({ timeout: 5 }), DOMException);
    assertMatch(third.message, /^Cannot .* shared .* within 5 ms$/);
    cancel.abort(reason);
    for (const wait of [first, second]) assertEquals(await wait.catch((error) => error), reason);
  });
}

function disposeAll(handles: readonly Disposable[]): void {
  for (const handle of handles) handle[Symbol.dispose]();
}

for (const [name, start] of Object.entries(structures)) {
  test(`Promises of two handles to one ${name} are both woken`, async () => {
    for (let round = 0; round < 20; round++) {
      using waiting = start();
      // So long that in some rounds both sleep, and in some one of them is still on its way there.
      await new Promise((resolve) => setTimeout(resolve, round % 5 * 5));
      waiting.end();
      waiting.end();
      const woken = await Promise.all(waiting.waits.map(settles));
      assertEquals(woken, [true, true]);
    }
  });
}
