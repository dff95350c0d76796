import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { Broadcast, Channel, SharedMutex, SharedVariable, WorkQueue } from "@sysv/ipc/shared";
import { settles } from "./support/time.ts";

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
