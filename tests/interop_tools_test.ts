import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import { IpcError, keyOf, MessageQueue, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { run } from "./support/child.ts";
import { tool } from "./support/languages.ts";
import { Name, testWith } from "./support/peer.ts";
import { until } from "./support/time.ts";

const [ipcs, ipcrm, ipcmk] = [tool("ipcs"), tool("ipcrm"), tool("ipcmk")];

/** Runs a command and gives its output. */
function output(command: string, ...args: (string | number)[]): string {
  const { status, stdout, stderr } = spawnSync(command, args.map(String), { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} failed: ${stderr}`);
  return stdout;
}

/** The columns of an object in the list that ipcs gives: key, id, owner, permissions, ... */
function listed(letter: "s" | "q" | "m", id: number): string[] | undefined {
  return output("ipcs", `-${letter}`).split("\n").map((line) => line.split(/\s+/)).find((columns) =>
    columns[1] === String(id)
  );
}

/** Makes an object with ipcmk and gives its identifier. */
function make(...args: string[]): number {
  return Number(/\d+$/.exec(output("ipcmk", ...args).trim())![0]);
}

const hex = (key: number) => `0x${key.toString(16).padStart(8, "0")}`;

testWith(
  [ipcs],
  "SemaphoreSet.create() makes a set that ipcs lists with one semaphore more",
  () => {
    using name = new Name();
    using set = SemaphoreSet.create({ key: name.text, values: [4, 5], mode: 0o640 });
    const [key, , , mode, size] = listed("s", set.id)!;
    assertEquals([key, mode, size], [hex(keyOf(name.text)), "640", "3"]);
    assertMatch(output("ipcs", "-s", "-i", set.id), /^0 +4 .*\n1 +5 /m);
  },
);

testWith([ipcs], "MessageQueue.create() makes a queue that ipcs lists with its messages", () => {
  using name = new Name();
  using queue = MessageQueue.create({ key: name.text });
  queue.sendSync("hello");
  queue.sendSync("world!");
  const [key, , , mode, bytes, messages] = listed("q", queue.id)!;
  assertEquals([key, mode, bytes, messages], [hex(name.key), "600", "11", "2"]);
});

testWith(
  [ipcs],
  "SharedMemory.create() makes a segment that ipcs lists with its attachments",
  () => {
    using name = new Name();
    using memory = SharedMemory.create({ key: name.text, size: 1000 });
    using _again = SharedMemory.open(name.text);
    const [key, , , mode, bytes, attachments] = listed("m", memory.id)!;
    assertEquals([key, mode, bytes, attachments], [hex(name.key), "600", "1000", "2"]);
  },
);

testWith([ipcs, ipcmk], "SemaphoreSet.open() opens by its key what ipcmk made", () => {
  const id = make("-S", "3");
  using _removed = removing(() => output("ipcrm", "-s", id));
  using set = SemaphoreSet.open(Number(listed("s", id)![0]));
  assertEquals([set.id, set.size, set.values], [id, 3, [0, 0, 0]]);
  set.operateSync([{ index: 2, delta: 6 }]);
  assertEquals(set.values, [0, 0, 6]);
});

testWith([ipcs, ipcmk], "MessageQueue.open() opens by its key what ipcmk made", () => {
  const id = make("-Q");
  using _removed = removing(() => output("ipcrm", "-q", id));
  using queue = MessageQueue.open(Number(listed("q", id)![0]));
  queue.sendSync("hello");
  assertEquals([queue.id, listed("q", id)![5]], [id, "1"]);
});

testWith([ipcs, ipcmk], "SharedMemory.open() opens by its key what ipcmk made", () => {
  const id = make("-M", "100");
  using _removed = removing(() => output("ipcrm", "-m", id));
  using memory = SharedMemory.open(Number(listed("m", id)![0]));
  assertEquals([memory.id, memory.size, listed("m", id)![5]], [id, 100, "1"]);
});

testWith([ipcrm], "SemaphoreSet.tryOperate() throws EIDRM after ipcrm", () => {
  using set = SemaphoreSet.create({ values: [1] });
  output("ipcrm", "-s", set.id);
  const { code, syscall, id } = assertThrows(() => set.tryOperate([{ delta: 1 }]), IpcError);
  assertEquals([code, syscall, id], ["EIDRM", "semop", set.id]);
});

testWith([ipcrm], "MessageQueue.trySend() throws EIDRM after ipcrm", () => {
  using queue = MessageQueue.create();
  output("ipcrm", "-q", queue.id);
  const { code, syscall, id } = assertThrows(() => queue.trySend("hello"), IpcError);
  assertEquals([code, syscall, id], ["EIDRM", "msgsnd", queue.id]);
});

testWith(
  [ipcrm],
  "SharedMemory.open() throws ENOENT after ipcrm, and what is attached stays",
  () => {
    using name = new Name();
    using memory = SharedMemory.create({ key: name.text, size: 100 });
    memory.bytes[0] = 42;
    output("ipcrm", "-M", hex(name.key));
    const { code, syscall } = assertThrows(() => SharedMemory.open(name.text), IpcError);
    assertEquals([code, syscall], ["ENOENT", "shmget"]);
    assertEquals([memory.read(0, 1)[0], memory.stat().removed], [42, true]);
  },
);

testWith(
  [ipcrm],
  "Semaphore.acquireSync() throws EIDRM when ipcrm removes what it waits for",
  async () => {
    using set = SemaphoreSet.create({ values: [0] });
    await using child = run(
      `
    try {
      Semaphore.fromId(Number(args[0])).acquireSync();
    } catch (error) {
      say(error.code + " " + error.syscall);
    }
  `,
      { args: [set.id] },
    );
    await until(() => set.at(0).waiting.forIncrease === 1);
    output("ipcrm", "-s", set.id);
    assertEquals(await child.hear(), "EIDRM semop");
  },
);

function removing(remove: () => void): Disposable {
  return { [Symbol.dispose]: remove };
}
