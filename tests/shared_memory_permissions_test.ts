import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { run } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { onlyRoot, onlyUnshared, privileges } from "./support/privilege.ts";
import { text } from "./support/segments.ts";

test("SharedMemory.stat() describes the segment", () => {
  // The kernel tells whole seconds of a clock that lags a little.
  const start = Math.floor(Date.now() / 1000) * 1000 - 1000;
  using memory = SharedMemory.create({ size: 100, mode: 0o640 });
  const fresh = memory.stat();
  assertEquals([fresh.id, fresh.key, fresh.size, fresh.mode], [memory.id, undefined, 100, 0o640]);
  assertEquals([fresh.uid, fresh.creatorUid], [process.geteuid!(), process.geteuid!()]);
  assertEquals([fresh.gid, fresh.creatorGid], [process.getegid!(), process.getegid!()]);
  assertEquals([fresh.attachments, fresh.creatorPid, fresh.lastPid], [1, process.pid, process.pid]);
  assertEquals([fresh.removed, fresh.locked, fresh.lastDetach], [false, false, undefined]);
  assert(fresh.lastAttach!.getTime() >= start && fresh.lastChange.getTime() >= start);
  SharedMemory.fromId(memory.id)[Symbol.dispose]();
  assert(memory.stat().lastDetach!.getTime() >= start);
  assertEquals(fresh.lastDetach, undefined, "a snapshot does not change");
  assert(Object.isFrozen(fresh));
});

test("SharedMemory.lock() and unlock() set the mark, and may be repeated", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.lock();
  memory.lock();
  assertEquals([memory.stat().locked, memory.stat().mode], [true, 0o600]);
  memory.unlock();
  memory.unlock();
  assertEquals(memory.stat().locked, false);
});

test("SharedMemory.setPermissions() changes what is given, and leaves the rest", () => {
  using memory = SharedMemory.create({ size: 100 });
  memory.lock();
  memory.setPermissions({ mode: 0o664 });
  assertEquals([memory.stat().mode, memory.stat().locked], [0o664, true]);
  memory.setPermissions({});
  assertEquals([memory.stat().mode, memory.stat().uid], [0o664, process.geteuid!()]);
  for (const permissions of [{ mode: 0o1000 }, { uid: -1 }, { gid: 0xffffffff }, { mode: 0.5 }]) {
    assertThrows(() => memory.setPermissions({ mode: 0o600, ...permissions }), RangeError);
  }
  assertEquals(memory.stat().mode, 0o664);
});

test(
  "SharedMemory.setPermissions() gives the segment to another user, and the creator stays",
  onlyRoot,
  () => {
    using memory = SharedMemory.create({ size: 100 });
    memory.setPermissions({ uid: 65534, gid: 65533 });
    const { uid, gid, creatorUid, mode } = memory.stat();
    assertEquals([uid, gid, creatorUid, mode], [65534, 65533, 0, 0o600]);
  },
);

test(
  "SharedMemory obeys its mode: another user may do what it permits, and nothing more",
  onlyRoot,
  async () => {
    using secret = SharedMemory.create({ key: freshName(), size: 100 });
    using readable = SharedMemory.create({ key: freshName(), size: 100, mode: 0o604 });
    using shared = SharedMemory.create({ key: freshName(), size: 100, mode: 0o606 });
    readable.write("readable");
    await using child = run(
      `${privileges}
    becomeNobody();
    const [secret, readable, shared] = args.map(Number);
    say(failure(() => SharedMemory.open(secret)));
    say(failure(() => SharedMemory.open(secret, { readonly: true })));
    say(failure(() => SharedMemory.open(readable)));
    const reader = SharedMemory.open(readable, { readonly: true });
    say(new TextDecoder().decode(reader.read(0, 8)));
    say(failure(() => reader.setPermissions({ mode: 0o666 })));
    say(failure(() => reader.remove()));
    say(failure(() => SharedMemory.fromId(reader.id)));
    say(failure(() => SharedMemory.openOrCreate(shared, { size: 100 })));
    SharedMemory.openOrCreate(shared, { size: 100, allowForeign: true }).write("shared");
    say("done");
    say(failure(() => SharedMemory.create({ size: 100, mode: 0 })));
  `,
      { args: [secret.key!, readable.key!, shared.key!], permissions: ["--allow-all"] },
    );
    const answers = [
      "EACCES shmget",
      "EACCES shmget",
      "EACCES shmget",
      "readable",
      "EPERM shmctl",
      "EPERM shmctl",
      "EACCES shmat",
      "EPERM shmget",
      "done",
    ];
    for (const answer of answers) assertEquals(await child.hear(), answer);
    assertEquals(text(shared.read(0, 6)), "shared");
    assertStringIncludes(await child.hear(), "EACCES");
  },
);

test("SharedMemory tells which limit of the system is reached", onlyUnshared, async () => {
  await using child = run(
    `${privileges}
    leaveNamespace();
    const tell = (size) => {
      try {
        SharedMemory.create({ size });
      } catch (error) {
        say(error.code + " " + error.syscall + " " + error.message);
      }
    };
    limit("shmmax", 8192);
    tell(8193);
    limit("shmall", 2);
    using memory = SharedMemory.create({ size: 4096 });
    tell(8192);
    limit("shmmni", 1);
    tell(1);
  `,
    { permissions: ["--allow-all"] },
  );
  const told = [await child.hear(), await child.hear(), await child.hear()];
  const wanted = [["EINVAL shmget", "SHMMAX", "8192"], ["ENOSPC shmget", "SHMALL"], [
    "ENOSPC shmget",
    "SHMMNI",
    "1 of at most 1 segments",
    "ipcs -m",
  ]];
  for (const [index, words] of wanted.entries()) {
    for (const word of words) assertStringIncludes(told[index]!, word);
  }
});

test("SharedMemory tells what keeps huge pages and locks from a process", onlyRoot, async () => {
  await using child = run(
    `${privileges}
    const tell = (action) => {
      try {
        action();
      } catch (error) {
        say(error.code + " " + error.syscall + " " + error.message);
      }
    };
    tell(() => SharedMemory.create({ size: 2 ** 40, hugePages: true }));
    const { setrlimit } = openLibc({ setrlimit: { parameters: ["i32", "buffer"], result: "i32" } });
    const RLIMIT_MEMLOCK = 8;
    const limitLocks = (bytes) =>
      setrlimit(RLIMIT_MEMLOCK, new Uint8Array(BigUint64Array.of(bytes, bytes).buffer));
    limitLocks(4096n);
    becomeNobody();
    tell(() => SharedMemory.create({ size: 4096, hugePages: true }));
    using memory = SharedMemory.create({ size: 8192 });
    tell(() => memory.lock());
    limitLocks(0n);
    tell(() => memory.lock());
  `,
    { permissions: ["--allow-all"] },
  );
  const wanted = [
    ["ENOMEM shmget", "vm.nr_hugepages"],
    ["EPERM shmget", "CAP_IPC_LOCK"],
    ["ENOMEM shmctl", "RLIMIT_MEMLOCK"],
    ["EPERM shmctl", "RLIMIT_MEMLOCK"],
  ];
  for (const words of wanted) {
    const told = await child.hear();
    for (const word of words) assertStringIncludes(told, word);
  }
  assertEquals((await child.exit).code, 0, child.stderr);
});
