import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { SharedMemory, type WaitOptions } from "@sysv/ipc";
import { Broadcast, bytes, Channel, SharedVariable, WorkQueue } from "@sysv/ipc/shared";
import { changed } from "../shared/cells.ts";
import { ready, vacant } from "../shared/jobs.ts";
import type { Gate } from "../shared/layout.ts";
import { appended } from "../shared/log.ts";
import { drained, filled } from "../shared/ring_flows.ts";
import { passed, until } from "./support/time.ts";

type Idle = (options: WaitOptions) => Promise<unknown>;

/** What waits in a handle. */
interface Waiting extends Disposable {
  readonly id: number;
  readonly idle: Idle;
}

const waiting = <Handle extends Disposable & { readonly id: number }>(
  handle: Handle,
  idle: (handle: Handle, options: WaitOptions) => Promise<unknown>,
): Waiting => Object.assign(handle, { idle: (options: WaitOptions) => idle(handle, options) });

const message = new Uint8Array(24);
const channels = { codec: bytes, capacity: 64 };

for (
  const [what, gate, create, open] of [
    [
      "Channel.receive()",
      filled,
      () => Channel.create(channels),
      (id) => waiting(Channel.fromId(id, channels), (channel, options) => channel.receive(options)),
    ],
    [
      "Channel.send() to a full one",
      drained,
      () => {
        const channel = Channel.create(channels);
        while (channel.trySend(message));
        return channel;
      },
      (id) =>
        waiting(Channel.fromId(id, channels), (channel, options) => channel.send(message, options)),
    ],
    [
      "WorkQueue.receive()",
      ready,
      () => WorkQueue.create(),
      (id) => waiting(WorkQueue.fromId(id), (queue, options) => queue.receive(options)),
    ],
    ["WorkQueue.send() to a full one", vacant, () => {
      const queue = WorkQueue.create({ capacity: 1 });
      queue.sendSync(1);
      return queue;
    }, (id) => waiting(WorkQueue.fromId(id), (queue, options) => queue.send(2, options))],
    [
      "SharedVariable.wait()",
      changed,
      () => SharedVariable.create(),
      (id) => waiting(SharedVariable.fromId(id), (variable, options) => variable.wait(options)),
    ],
    [
      "BroadcastSubscription.receive()",
      appended,
      () => Broadcast.create(),
      (id) =>
        waiting(
          Broadcast.fromId(id),
          (broadcast, options) => broadcast.subscribe().receive(options),
        ),
    ],
  ] as [string, Gate, () => Disposable & { readonly id: number }, (id: number) => Waiting][]
) {
  test(`${what}: those who wait for the same leave each other asleep`, async () => {
    using owner = create();
    using memory = SharedMemory.fromId(owner.id);
    const words = new Int32Array(memory.buffer);
    const marks = () => words[gate.word]! | words[gate.word + 1]!;
    const controller = new AbortController();
    const handles: Waiting[] = [];
    const waits: Promise<unknown>[] = [];
    for (let before = 0; handles.length < 3; before = marks()) {
      const handle = open(owner.id);
      handles.push(handle);
      waits.push(handle.idle({ signal: controller.signal }).catch((error) => error));
      await until(() => marks() !== before && (marks() & before) === before);
    }
    const all = marks();
    for (let i = 0; i < 100; i++) {
      await passed(1);
      assertEquals(marks(), all);
    }
    controller.abort("enough");
    assertEquals(await Promise.all(waits), ["enough", "enough", "enough"]);
    for (const handle of handles) handle[Symbol.dispose]();
  });
}
