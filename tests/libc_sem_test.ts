import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import {
  GETNCNT,
  GETPID,
  GETVAL,
  GETZCNT,
  IPC_CREAT,
  IPC_EXCL,
  IPC_INFO,
  IPC_NOWAIT,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
  SEM_INFO,
  SEM_STAT,
  SEM_STAT_ANY,
  SEM_UNDO,
  semctl,
  semget,
  semop,
  semtimedop,
  SETALL,
  SETVAL,
} from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { onlyRoot, onlyUnshared, privileges } from "./support/privilege.ts";
import { until } from "./support/time.ts";

import { freshKey, indexOf, limits, newSet, proc, values } from "./support/libc.ts";

test("semget() makes a different private set each time, of zeros, with key 0", () => {
  using one = newSet(10);
  using other = newSet();
  assertNotEquals(one.id, other.id);
  assertEquals(values(one.id), Array(10).fill(0));
  assertEquals(semctl(one.id, 0, IPC_STAT).sem_perm.__key, 0);
});

test("semget() finds a key, signed or unsigned", () => {
  const key = freshKey() | -0x80000000;
  using set = newSet(2, key);
  assertEquals([semget(key, 0, 0), semget(key >>> 0, 2, 0o600)], [set.id, set.id]);
  assertEquals(semctl(set.id, 0, IPC_STAT).sem_perm.__key, key);
});

test("semget() fails by code", () => {
  const key = freshKey();
  const missing = assertIpcError(() => semget(key, 1, 0o600), "ENOENT", "semget");
  assertEquals([missing.key, missing.id], [key, undefined]);
  using _ = newSet(2, key);
  assertIpcError(() => semget(key, 2, IPC_CREAT | IPC_EXCL | 0o600), "EEXIST", "semget");
  assertIpcError(() => semget(key, 3, 0o600), "EINVAL", "semget");
  assertIpcError(() => semget(key, -1, IPC_CREAT), "EINVAL", "semget");
  assertIpcError(() => semget(IPC_PRIVATE, 0, 0o600), "EINVAL", "semget");
  assertIpcError(() => semget(IPC_PRIVATE, limits("sem")[0]! + 1, 0o600), "EINVAL", "semget");
});

test("semget() gives the mode asked for, whatever the umask, and no more than nine bits", () => {
  using set = newSet(1, IPC_PRIVATE, 0o666);
  assertEquals(semctl(set.id, 0, IPC_STAT).sem_perm.mode, 0o666);
});

test("semget() makes a new set with a new identifier once the old one is removed", () => {
  const key = freshKey();
  using first = newSet(1, key);
  semctl(first.id, 0, IPC_RMID);
  using second = newSet(1, key);
  assertNotEquals(second.id, first.id);
  assertIpcError(() => semctl(first.id, 0, GETVAL), "EINVAL", "semctl");
});

test("semop() performs operations in order, all of them or none", () => {
  using set = newSet(4);
  semop(set.id, [[0, 10], [1, 2], [2, 3], [0, -5], [2, 2]]);
  assertEquals(values(set.id), [5, 2, 5, 0]);
  assertIpcError(
    () => semop(set.id, [[3, -5, IPC_NOWAIT], [3, 10, IPC_NOWAIT]]),
    "EAGAIN",
    "semop",
  );
  assertIpcError(
    () => semop(set.id, [[0, -5, IPC_NOWAIT], [3, -1, IPC_NOWAIT]]),
    "EAGAIN",
    "semop",
  );
  assertEquals(values(set.id), [5, 2, 5, 0]);
  semop(set.id, [[3, 0], [0, -5], [0, 0], [0, 1]]);
  assertEquals(values(set.id), [1, 2, 5, 0]);
});

test("semop() adds and takes any amount", () => {
  using set = newSet();
  for (
    const [delta, value] of [[32767, 32767], [-32767, 0], [42, 42], [-10, 32], [5, 37]] as const
  ) {
    semop(set.id, [[0, delta]]);
    assertEquals(semctl(set.id, 0, GETVAL), value);
  }
});

test("semop() takes as many operations as the system does, and no more", () => {
  using set = newSet();
  const most = limits("sem")[2]!;
  semop(set.id, Array.from({ length: most }, () => [0, 1]));
  assertEquals(semctl(set.id, 0, GETVAL), most);
  assertIpcError(
    () => semop(set.id, Array.from({ length: most + 1 }, () => [0, 1])),
    "E2BIG",
    "semop",
  );
});

test("semop() fails by code, and changes nothing", () => {
  using set = newSet(2);
  assertIpcError(() => semop(set.id, []), "EINVAL", "semop");
  assertIpcError(() => semop(-1, [[0, 1]]), "EINVAL", "semop");
  assertIpcError(() => semop(set.id, [[0, 1], [2, 1]]), "EFBIG", "semop");
  assertIpcError(() => semop(set.id, [[0xffff, 1]]), "EFBIG", "semop");
  assertIpcError(() => semop(set.id, [[3, 1, SEM_UNDO]]), "EFBIG", "semop");
  assertIpcError(() => semop(set.id, [[0, 32767], [0, 1]]), "ERANGE", "semop");
  const error = assertIpcError(() => semop(set.id, [[0, -1, IPC_NOWAIT]]), "EAGAIN", "semop");
  assertEquals([error.id, error.errno], [set.id, 11]);
  assertEquals(values(set.id), [0, 0]);
  semctl(set.id, 0, IPC_RMID);
  assertIpcError(() => semop(set.id, [[0, 1]]), "EINVAL", "semop");
});

test("semop() keeps the undo of a process within its range", () => {
  using set = newSet();
  semop(set.id, [[0, 32767, SEM_UNDO]]);
  semop(set.id, [[0, -32767]]);
  semop(set.id, [[0, 1, SEM_UNDO]]);
  assertIpcError(() => semop(set.id, [[0, 1, SEM_UNDO]]), "ERANGE", "semop");
  semop(set.id, [[0, 1]]);
  assertEquals(semctl(set.id, 0, GETVAL), 2);
});

test("semop() refuses arrays with holes, and operations of another shape", () => {
  using set = newSet(2);
  // deno-lint-ignore no-sparse-arrays
  const holed = [, [0, 1]];
  const shapes = [holed, [[0]], [[0, 1, 0, 0]], [{ 0: 0, 1: 1 }], [undefined], "01", { length: 1 }];
  for (const sops of wrong(...shapes)) {
    assertThrows(() => semop(set.id, sops), TypeError);
    assertThrows(() => semtimedop(set.id, sops, 0), TypeError);
  }
  // deno-lint-ignore no-sparse-arrays
  for (const array of wrong([, 1], "11", { length: 2, 0: 1, 1: 1 }, undefined)) {
    assertThrows(() => semctl(set.id, 0, SETALL, array), TypeError);
  }
  assertThrows(() => semctl(set.id, wrong("0")[0]!, IPC_RMID), TypeError);
  assertEquals(values(set.id), [0, 0]);
});

test("semop() refuses what C would cut to 16 bits, before any call", () => {
  using set = newSet();
  for (
    const operation of [[-1, 1], [0x10000, 1], [0, 32768], [0, -32769], [0, 0.5], [NaN, 1], [
      0,
      1,
      0x10000,
    ], [0, 1, 1.5]] as const
  ) {
    assertThrows(() => semop(set.id, [[0, 1], operation]), RangeError);
    assertThrows(() => semtimedop(set.id, [[0, 1], operation], 0), RangeError);
  }
  for (const operation of wrong(5, null, undefined, ["0", 1], [0, "1"], [0, 1n], [0], {})) {
    assertThrows(() => semop(set.id, [[0, 1], operation]), TypeError);
  }
  for (const sops of wrong(undefined, null, 5, "text", {}, new Int16Array(3))) {
    assertThrows(() => semop(set.id, sops), TypeError);
  }
  for (const id of wrong(undefined, null, "1", 1n)) {
    assertThrows(() => semop(id, [[0, 1]]), TypeError);
  }
  for (const id of [1.5, NaN, 2 ** 31]) assertThrows(() => semop(id, [[0, 1]]), RangeError);
  assertEquals(semctl(set.id, 0, GETVAL), 0);
});

test("semop() waits until all can go on, and counts as a waiter of the first that cannot", async () => {
  using set = newSet(2);
  await using child = run(
    `
    libc.semop(Number(args[0]), [[0, -3], [1, 0]]);
    say("done");
  `,
    { args: [set.id] },
  );
  const waiting = () =>
    [0, 1].flatMap((n) => [semctl(set.id, n, GETNCNT), semctl(set.id, n, GETZCNT)]).join();
  await until(() => waiting() === "1,0,0,0");
  semop(set.id, [[1, 1]]);
  semop(set.id, [[0, 3]]);
  await until(() => waiting() === "0,0,0,1");
  semctl(set.id, 1, SETVAL, 0);
  assertEquals(await child.hear(), "done");
  assertEquals([waiting(), ...values(set.id)], ["0,0,0,0", 0, 0]);
  assertEquals([semctl(set.id, 0, GETPID), semctl(set.id, 1, GETPID)], [child.pid, child.pid]);
});

test("semop() and semtimedop() that wait end with EIDRM when the set is removed, and EINTR at a signal", async () => {
  for (
    const call of [
      "semop(id, [[0, -1]])",
      "semtimedop(id, [[0, -1]], 60_000)",
      "semtimedop(id, [[0, -1]])",
    ]
  ) {
    using set = newSet();
    await using child = run(
      `
      process.on("SIGHUP", () => {});
      const id = Number(args[0]);
      for (let times = 0; times < 2; times++) {
        try {
          libc.${call};
        } catch (error) {
          say(error.code + " " + error.syscall);
        }
      }
    `,
      { args: [set.id] },
    );
    const syscall = call.slice(0, call.indexOf("("));
    await until(() => semctl(set.id, 0, GETNCNT) === 1);
    process.kill(child.pid, "SIGHUP");
    assertEquals(await child.hear(), `EINTR ${syscall}`);
    await until(() => semctl(set.id, 0, GETNCNT) === 1);
    semctl(set.id, 0, IPC_RMID);
    assertEquals(await child.hear(), `EIDRM ${syscall}`);
  }
});

test("SEM_UNDO is reversed when the process is killed, and stops at zero", async () => {
  using set = newSet(2);
  semctl(set.id, 0, SETALL, [10, 0]);
  await using child = run(
    `
    const id = Number(args[0]);
    for (const delta of [-3, -2, 1]) libc.semop(id, [[0, delta, libc.SEM_UNDO]]);
    libc.semop(id, [[0, -1], [1, 5, libc.SEM_UNDO]]);
    say("ready");
    await hear();
  `,
    { args: [set.id] },
  );
  assertEquals(await child.hear(), "ready");
  assertEquals(values(set.id), [5, 5]);
  semop(set.id, [[1, -3]]);
  await child.kill();
  assertEquals(values(set.id), [9, 0]);
});

test("semtimedop() gives up after its milliseconds, and leaves no waiter", () => {
  using set = newSet();
  for (const timeout of [0, 0.5, 30]) {
    const start = performance.now();
    const error = assertIpcError(
      () => semtimedop(set.id, [[0, -1]], timeout),
      "EAGAIN",
      "semtimedop",
    );
    const took = performance.now() - start;
    assert(took >= timeout, `${timeout} ms took ${took}`);
    assertEquals(error.id, set.id);
  }
  assertEquals(semctl(set.id, 0, GETNCNT), 0);
});

test("semtimedop() does at once what it can, whatever the timeout", () => {
  using set = newSet();
  for (const timeout of [0, 1, 2 ** 53, Number.MAX_VALUE, Infinity, undefined]) {
    semtimedop(set.id, [[0, 1]], timeout);
    semtimedop(set.id, [[0, -1], [0, 0]], timeout);
  }
  assertEquals(semctl(set.id, 0, GETVAL), 0);
});

test("semtimedop() is woken before its time, however long that is", async () => {
  using set = newSet();
  await using child = run(
    `
    libc.semtimedop(Number(args[0]), [[0, -1]], Number.MAX_SAFE_INTEGER);
    say("done");
  `,
    { args: [set.id] },
  );
  await until(() => semctl(set.id, 0, GETNCNT) === 1);
  semop(set.id, [[0, 1]]);
  assertEquals(await child.hear(), "done");
});

test("semtimedop() throws for a timeout that is none", () => {
  using set = newSet();
  for (const timeout of [-1, -0.1, NaN, -Infinity]) {
    assertThrows(() => semtimedop(set.id, [[0, 1]], timeout), RangeError);
  }
  for (const timeout of wrong("5", 5n, {}, null)) {
    assertThrows(() => semtimedop(set.id, [[0, 1]], timeout), TypeError);
  }
  assertEquals(semctl(set.id, 0, GETVAL), 0);
});

test("semctl() sets and gets one value, and who did", () => {
  using set = newSet(3);
  assertEquals(semctl(set.id, 1, GETPID), 0);
  for (const value of [2, 0, 32767]) {
    semctl(set.id, 1, SETVAL, value);
    assertEquals(semctl(set.id, 1, GETVAL), value);
  }
  assertEquals(values(set.id), [0, 32767, 0]);
  assertEquals([0, 1, 2].map((n) => semctl(set.id, n, GETPID)), [0, process.pid, 0]);
});

test("semctl() sets and gets all values", () => {
  using set = newSet(3);
  semctl(set.id, 0, SETALL, [1, 32767, 0]);
  assertEquals(values(set.id), [1, 32767, 0]);
  assertEquals(semctl(set.id, 2, GETPID), process.pid);
  using large = newSet(1000);
  const many = Array.from({ length: 1000 }, (_, index) => index);
  semctl(large.id, 0, SETALL, many);
  assertEquals(values(large.id), many);
});

test(
  "semctl() sets all values without permission to read, and no more or fewer",
  onlyRoot,
  async () => {
    using set = newSet(3);
    semctl(set.id, 0, IPC_SET, { sem_perm: { mode: 0o602 } });
    await using child = run(
      `${privileges}
    becomeNobody();
    const id = Number(args[0]);
    say(failure(() => libc.semctl(id, 0, libc.GETALL)));
    say(failure(() => libc.semctl(id, 0, libc.SETALL, [4, 5])));
    say(String(failure(() => libc.semctl(id, 0, libc.SETALL, [4, 5, 6]))));
    await hear();
    say(failure(() => libc.semctl(id, 0, libc.SETALL, [1, 1, 1])));`,
      { args: [set.id], permissions: ["-A"] },
    );
    assertEquals(await child.hear(), "EACCES semctl");
    assertEquals(await child.hear(), "ERANGE semctl");
    assertEquals(await child.hear(), "undefined", child.stderr);
    assertEquals(values(set.id), [4, 5, 6]);
    semctl(set.id, 0, IPC_SET, { sem_perm: { mode: 0o604 } });
    child.say("go");
    assertEquals(await child.hear(), "EACCES semctl");
    assertEquals(values(set.id), [4, 5, 6]);
  },
);

test("semctl() with SETVAL or SETALL wipes the undo", async () => {
  using set = newSet(2);
  await using child = run(
    `
    libc.semop(Number(args[0]), [[0, 1, libc.SEM_UNDO], [1, 1, libc.SEM_UNDO]]);
    say("ready");
    await hear();
  `,
    { args: [set.id] },
  );
  assertEquals(await child.hear(), "ready");
  semctl(set.id, 0, SETVAL, 7);
  await child.kill();
  assertEquals(values(set.id), [7, 0]);
});

test("semctl() fails by code", () => {
  using set = newSet(2);
  for (const command of [GETVAL, GETPID, GETNCNT, GETZCNT] as const) {
    for (const index of [-1, 2]) {
      assertIpcError(() => semctl(set.id, index, command), "EINVAL", "semctl");
    }
    assertIpcError(() => semctl(-1, 0, command), "EINVAL", "semctl");
  }
  assertIpcError(() => semctl(set.id, 2, SETVAL, 1), "EINVAL", "semctl");
  for (const value of [-1, 32768]) {
    const error = assertIpcError(() => semctl(set.id, 0, SETVAL, value), "ERANGE", "semctl");
    assertEquals(error.id, set.id);
  }
  assertIpcError(() => semctl(set.id, 0, SETALL, [1, 32768]), "ERANGE", "semctl");
  assertIpcError(() => semctl(set.id, 0, -1 as never), "EINVAL", "semctl");
  assertIpcError(() => semctl(set.id, 0, 999 as never), "EINVAL", "semctl");
  assertEquals(values(set.id), [0, 0]);
  semctl(set.id, 99, IPC_RMID);
  assertIpcError(() => semctl(set.id, 0, IPC_RMID), "EINVAL", "semctl");
  assertIpcError(() => semctl(set.id, 0, IPC_STAT), "EINVAL", "semctl");
  assertIpcError(() => semctl(-1, 0, IPC_RMID), "EINVAL", "semctl");
});

test("semctl() throws for wrong values, and changes nothing", () => {
  using set = newSet(2);
  assertThrows(() => semctl(set.id, 0, SETVAL, 2 ** 32 + 5), RangeError);
  assertThrows(() => semctl(set.id, 0, SETVAL, 1.5), RangeError);
  assertThrows(() => semctl(set.id, 0, SETALL, [1]), RangeError, "expected 2 numbers, got 1");
  assertThrows(() => semctl(set.id, 0, SETALL, [1, 2, 3]), RangeError);
  assertThrows(() => semctl(set.id, 0, SETALL, [1, 0x10000]), RangeError);
  assertThrows(() => semctl(set.id, 0, SETALL, [1, -1]), RangeError);
  assertThrows(() => semctl(set.id, 0.5, SETVAL, 1), RangeError);
  for (const value of wrong(undefined, "1", null, 1n)) {
    assertThrows(() => semctl(set.id, 0, SETVAL, value), TypeError);
    assertThrows(() => semctl(set.id, 0, SETALL, [1, value] as never), TypeError);
    assertThrows(() => semctl(set.id, value, SETVAL, 1), TypeError);
  }
  assertEquals(values(set.id), [0, 0]);
});

test("semctl() with IPC_STAT and SEM_STAT tells what /proc tells", () => {
  const key = freshKey();
  using set = newSet(3, key, IPC_CREAT | 0o640);
  const fresh = semctl(set.id, 0, IPC_STAT);
  assertEquals(fresh.sem_otime, 0);
  semop(set.id, [[0, 1]]);
  const stat = semctl(set.id, 0, IPC_STAT);
  const { semid, sem_perm: perm, sem_nsems, sem_otime, sem_ctime } = stat;
  assertEquals([perm.__key, perm.mode, sem_nsems], [key, 0o640, 3]);
  assertAlmostEquals(sem_otime, Date.now() / 1000, 5);
  assertEquals(proc("sem", set.id), {
    key: perm.__key,
    semid,
    perms: perm.mode,
    nsems: sem_nsems,
    uid: perm.uid,
    gid: perm.gid,
    cuid: perm.cuid,
    cgid: perm.cgid,
    otime: sem_otime,
    ctime: sem_ctime,
  });
  const { index } = semctl(0, 0, SEM_INFO);
  const at = indexOf(set.id, index, (index) => semctl(index, 0, SEM_STAT_ANY).semid);
  assertEquals(semctl(at, 0, SEM_STAT), stat);
  assertEquals(semctl(at, 0, SEM_STAT_ANY), stat);
});

test("semctl() with IPC_SET changes what is given: owner, group and nine bits of the mode", () => {
  using set = newSet();
  const before = semctl(set.id, 0, IPC_STAT);
  semctl(set.id, 99, IPC_SET, { sem_perm: { mode: 0o6640 } });
  const { sem_perm } = semctl(set.id, 0, IPC_STAT);
  assertEquals(sem_perm, { ...before.sem_perm, mode: 0o640 });
  semctl(set.id, 0, IPC_SET, { sem_perm: {} });
  assertEquals(semctl(set.id, 0, IPC_STAT).sem_perm, sem_perm);
  assertThrows(() => semctl(set.id, 0, IPC_SET, undefined as never), TypeError);
});

test("semctl() with IPC_INFO tells the limits", () => {
  const { semmsl, semmns, semopm, semmni, semvmx, semaem } = semctl(0, 0, IPC_INFO);
  assertEquals([semmsl, semmns, semopm, semmni], limits("sem"));
  assertEquals([semvmx, semaem], [32767, 32767]);
});

test(
  "semget() fails with ENOSPC when the system has no more semaphores",
  onlyUnshared,
  async () => {
    await using child = run(
      `${privileges}
    leaveNamespace();
    limit("sem", "32000 10 500 32000");
    for (const count of [8, 3, 2]) say(String(failure(() => libc.semget(libc.IPC_PRIVATE, count, 0o600) >= 0)));
  `,
      { permissions: ["--allow-all"] },
    );
    for (const answer of ["true", "ENOSPC semget", "true"]) {
      assertEquals(await child.hear(), answer);
    }
  },
);
