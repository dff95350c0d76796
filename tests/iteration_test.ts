import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { MessageQueue } from "@sysv/ipc";
import { Broadcast, Channel, SharedVariable, WorkQueue } from "@sysv/ipc/shared";
import { Epoll, kill, pipe, signals } from "@sysv/ipc/unix";
import process from "node:process";
import { run, runtimes } from "./support/child.ts";
import { passed, until } from "./support/time.ts";

/** Something that can be iterated over. */
interface Source extends Disposable {
  /** Begins to iterate. */
  iterate(): AsyncIterator<unknown>;
  /** Gives it one item. */
  feed(): void;
  /** Takes what is there without an iteration; undefined if there is nothing. */
  take(): unknown;
}

/** A source whose handle is disposed with it. */
function sourceOf<Handle extends Disposable>(
  handle: Handle,
  iterate: (handle: Handle) => AsyncIterator<unknown>,
  feed: (handle: Handle) => unknown,
  take: (handle: Handle) => unknown,
): Source {
  return {
    iterate: () => iterate(handle),
    feed: () => void feed(handle),
    take: () => take(handle),
    [Symbol.dispose]: () => handle[Symbol.dispose](),
  };
}

const sources: Readonly<Record<string, () => Source>> = {
  "MessageQueue.messages()": () =>
    sourceOf(
      MessageQueue.create(),
      (queue) => queue.messages(),
      (queue) => queue.sendSync("item"),
      (queue) => queue.tryReceive(),
    ),
  Channel: () =>
    sourceOf(
      Channel.create<string>(),
      (channel) => channel[Symbol.asyncIterator](),
      (channel) => channel.sendSync("item"),
      (channel) => channel.tryReceive(),
    ),
  WorkQueue: () =>
    sourceOf(
      WorkQueue.create<string>(),
      (queue) => queue[Symbol.asyncIterator](),
      (queue) => queue.sendSync("item"),
      (queue) => {
        const job = queue.tryReceive();
        job?.done();
        return job;
      },
    ),
  BroadcastSubscription: () => {
    const news = Broadcast.create<string>();
    const mine = news.subscribe();
    return sourceOf(
      news,
      () => mine[Symbol.asyncIterator](),
      () => news.publishSync("item"),
      () => mine.tryReceive(),
    );
  },
  SharedVariable: () => ofVariable((variable) => variable[Symbol.asyncIterator]()),
  "SharedVariable.changes()": () => ofVariable((variable) => variable.changes()),
  SignalWatcher: () => {
    const watcher = signals("SIGUSR2");
    return sourceOf(
      watcher,
      () => watcher[Symbol.asyncIterator](),
      () => kill(process.pid, "SIGUSR2"),
      () => watcher.tryNext(),
    );
  },
  Epoll: () => {
    const epoll = new Epoll();
    const ends = pipe();
    epoll.add(ends.reader.fd);
    const source = sourceOf(
      epoll,
      () => epoll[Symbol.asyncIterator](),
      () => ends.writer.writeSync("1"),
      () => epoll.tryWait() && ends.reader.readSync(1),
    );
    return {
      ...source,
      [Symbol.dispose]() {
        source[Symbol.dispose]();
        ends.reader.close();
        ends.writer.close();
      },
    };
  },
};

function ofVariable(
  iterate: (variable: SharedVariable<number>) => AsyncIterator<unknown>,
): Source {
  const variable = SharedVariable.create<number>();
  let seen = 0;
  return sourceOf(
    variable,
    iterate,
    () => variable.setSync(variable.version + 1),
    () => variable.version > seen ? seen = variable.version : undefined,
  );
}

const DONE = { value: undefined, done: true };

/** Waits until an item can be taken: it may need a moment to arrive. */
async function arrives(source: Source): Promise<void> {
  await until(() => source.take() !== undefined);
}

for (const [name, open] of Object.entries(sources)) {
  test(`${name}: return() ends a wait of the iteration at once, and takes nothing`, async () => {
    for (const sleeps of [false, true]) {
      using source = open();
      const iteration = source.iterate();
      const waits = [iteration.next(), iteration.next()];
      if (sleeps) await passed(10);
      assertEquals(await iteration.return!(), DONE);
      assertEquals(await Promise.all(waits), [DONE, DONE]);
      source.feed();
      assertEquals(await iteration.next(), DONE);
      await arrives(source);
    }
  });

  test(`${name}: throw() ends it too, and rejects with what it was given`, async () => {
    using source = open();
    const iteration = source.iterate();
    const wait = iteration.next();
    await assertRejects(() => iteration.throw!(new RangeError("enough")), RangeError, "enough");
    assertEquals(await wait, DONE);
    assertEquals(await iteration.next(), DONE);
  });

  test(`${name}: an item that comes as the iteration is ended is given out, or stays`, async () => {
    for (let delay = 0; delay < 4; delay++) {
      using source = open();
      const iteration = source.iterate();
      const wait = iteration.next();
      await passed(2);
      source.feed();
      for (let i = 0; i < delay; i++) await undefined;
      await iteration.return!();
      if ((await wait).done === true) await arrives(source);
    }
  });

  test(`${name}: leaving the loop leaves what comes then`, async () => {
    using source = open();
    source.feed();
    for await (const _ of { [Symbol.asyncIterator]: () => source.iterate() }) break;
    source.take();
    source.feed();
    await arrives(source);
  });
}

test("An iteration that is ended as it waits keeps no program from ending", async () => {
  const urls = ["shared/mod.ts", "unix/mod.ts"].map((path) =>
    JSON.stringify(new URL(`../${path}`, import.meta.url).href)
  );
  for (const runtime of runtimes) {
    await using child = run(
      `
      import { Broadcast, Channel, SharedVariable, WorkQueue } from ${urls[0]};
      import { Epoll, signals } from ${urls[1]};
      const handles = [MessageQueue, Broadcast, Channel, SharedVariable, WorkQueue]
        .map((kind) => kind.create());
      handles.push(new Epoll(), signals("SIGUSR2"));
      for (const handle of handles) {
        const iteration = (handle.subscribe?.() ?? handle)[Symbol.asyncIterator]();
        const wait = iteration.next();
        await new Promise((resolve) => setTimeout(resolve, 5));
        await iteration.return();
        await wait;
      }
      for (const handle of handles) if ("owned" in handle) handle.remove();
      say("ended");
    `,
      { runtime },
    );
    assertEquals(await child.hear(), "ended");
    child.end();
    assertEquals(await child.exit, { code: 0, signal: null });
  }
});
