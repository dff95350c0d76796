import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { keyOf } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import {
  GETALL,
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
  MSG_COPY,
  MSG_EXCEPT,
  MSG_INFO,
  MSG_NOERROR,
  MSG_STAT,
  MSG_STAT_ANY,
  msgctl,
  msgget,
  msgrcv,
  msgsnd,
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
  SHM_DEST,
  SHM_EXEC,
  SHM_INFO,
  SHM_LOCK,
  SHM_LOCKED,
  SHM_NORESERVE,
  SHM_STAT,
  SHM_STAT_ANY,
  SHM_UNLOCK,
  shmat,
  shmctl,
  shmdt,
  shmget,
} from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { onlyRoot, onlyUnshared, privileges, untilIn } from "./support/privilege.ts";
import { until } from "./support/time.ts";

/** An object of the kernel that goes at the end of the block. */
function kept(id: number, remove: (id: number) => void): { id: number } & Disposable {
  return {
    id,
    [Symbol.dispose]() {
      try {
        remove(id);
      } catch (error) {
        assert(error instanceof libc.IpcError && error.code === "EINVAL", String(error));
      }
    },
  };
}
const newSet = (nsems = 1, key = IPC_PRIVATE, flags = IPC_CREAT | IPC_EXCL | 0o600) =>
  kept(semget(key, nsems, flags), (id) => semctl(id, 0, IPC_RMID));
const newQueue = (key = IPC_PRIVATE, flags = IPC_CREAT | IPC_EXCL | 0o600) =>
  kept(msgget(key, flags), (id) => msgctl(id, IPC_RMID));
const newSegment = (size = 100, key = IPC_PRIVATE, flags = IPC_CREAT | IPC_EXCL | 0o600) =>
  kept(shmget(key, size, flags), (id) => shmctl(id, IPC_RMID));

const freshKey = () => keyOf(freshName());
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (message: libc.Msgbuf) => new TextDecoder().decode(message.mtext);
const values = (id: number) => semctl(id, 0, GETALL);

/** What /proc/sysvipc tells of an object, by the names there; its key is a signed number, its permissions are octal. */
function proc(kind: "sem" | "msg" | "shm", id: number): Record<string, number> | undefined {
  const [head, ...rows] = readFileSync(`/proc/sysvipc/${kind}`, "utf8").trim().split("\n").map((
    line,
  ) => line.trim().split(/ +/));
  const row = rows.find((row) => row[1] === `${id}`);
  return row && Object.fromEntries(head!.map((name, index) => {
    return [name, name === "perms" ? parseInt(row[index]!, 8) : Number(row[index])];
  }));
}

/** The numbers in a file of /proc/sys/kernel. */
const limits = (name: string) =>
  readFileSync(`/proc/sys/kernel/${name}`, "utf8").trim().split(/\s+/).map(Number);

/** Finds the index of an object in the kernel's table. */
function indexOf(id: number, last: number, stat: (index: number) => number): number {
  for (let index = 0; index <= last; index++) {
    try {
      if (stat(index) === id) return index;
    } catch (error) {
      assert(error instanceof libc.IpcError && error.code === "EINVAL", String(error));
    }
  }
  throw new Error(`${id} has no index up to ${last}`);
}

test("libc counts with undo as C and Python do, line by line", () => {
  const sem = semget(IPC_PRIVATE, 1, 0o600);
  semop(sem, [[0, 1, SEM_UNDO]]);
  assertEquals(semctl(sem, 0, GETVAL), 1);
  semctl(sem, 0, IPC_RMID);
  assertIpcError(() => semctl(sem, 0, GETVAL), "EINVAL", "semctl");
});

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

test("IPC_SET gives an object to another user, and its creator stays", onlyRoot, () => {
  using set = newSet();
  using queue = newQueue();
  using segment = newSegment();
  const change = { uid: 65534, gid: 65533 };
  semctl(set.id, 0, IPC_SET, { sem_perm: change });
  msgctl(queue.id, IPC_SET, { msg_perm: change });
  shmctl(segment.id, IPC_SET, { shm_perm: change });
  const perms = [
    semctl(set.id, 0, IPC_STAT).sem_perm,
    msgctl(queue.id, IPC_STAT).msg_perm,
    shmctl(segment.id, IPC_STAT).shm_perm,
  ];
  for (const { uid, gid, cuid, cgid, mode } of perms) {
    assertEquals([uid, gid, cuid, cgid, mode], [65534, 65533, 0, process.getegid!(), 0o600]);
  }
});

test("IPC_SET throws for wrong members before any call, and changes nothing", () => {
  using set = newSet();
  using queue = newQueue();
  using segment = newSegment();
  type Wrong = Record<string, never>;
  const changes = [
    (perm: Wrong) => semctl(set.id, 0, IPC_SET, { sem_perm: perm }),
    (perm: Wrong) => msgctl(queue.id, IPC_SET, { msg_perm: perm }),
    (perm: Wrong) => shmctl(segment.id, IPC_SET, { shm_perm: perm }),
    (perm: Wrong) => semctl(0x7fffffff, 0, IPC_SET, { sem_perm: perm }),
  ];
  for (const change of changes) {
    for (const member of ["uid", "gid", "mode"]) {
      for (const value of wrong(-1, 1.5, NaN, 2 ** 32 + 5)) {
        assertThrows(() => change({ [member]: value }), RangeError, member);
      }
      for (const value of wrong("x", null, 1n, {})) {
        assertThrows(() => change({ [member]: value }), TypeError, member);
      }
    }
    for (const perm of wrong(null, 5, "x")) assertThrows(() => change(perm), TypeError, "_perm");
  }
  for (const qbytes of [-1, 1.5, NaN, 2 ** 40]) {
    assertThrows(() => msgctl(queue.id, IPC_SET, { msg_qbytes: qbytes }), RangeError, "msg_qbytes");
  }
  for (const qbytes of wrong("5", null, 5n)) {
    assertThrows(() => msgctl(queue.id, IPC_SET, { msg_qbytes: qbytes }), TypeError, "msg_qbytes");
  }
  for (const buf of wrong(undefined, null, 5)) {
    assertThrows(() => semctl(set.id, 0, IPC_SET, buf), TypeError, "buf");
    assertThrows(() => msgctl(queue.id, IPC_SET, buf), TypeError, "buf");
    assertThrows(() => shmctl(segment.id, IPC_SET, buf), TypeError, "buf");
  }
  const { uid, mode } = semctl(set.id, 0, IPC_STAT).sem_perm;
  assertEquals([uid, mode], [process.geteuid!(), 0o600]);
  assertEquals(msgctl(queue.id, IPC_STAT).msg_qbytes, limits("msgmnb")[0]);
});

test("semctl() with IPC_INFO tells the limits", () => {
  const { semmsl, semmns, semopm, semmni, semvmx, semaem } = semctl(0, 0, IPC_INFO);
  assertEquals([semmsl, semmns, semopm, semmni], limits("sem"));
  assertEquals([semvmx, semaem], [32767, 32767]);
});

test("the ..._INFO commands count what is in use", onlyUnshared, async () => {
  await using child = run(
    `${privileges}
    leaveNamespace();
    const tell = () => {
      const { index: sets, semusz, semaem } = libc.semctl(0, 0, libc.SEM_INFO);
      const { index: queues, msgpool, msgmap, msgtql } = libc.msgctl(0, libc.MSG_INFO);
      const { index: segments, used_ids, shm_tot, shm_rss, shm_swp } = libc.shmctl(0, libc.SHM_INFO);
      say([sets, semusz, semaem, queues, msgpool, msgmap, msgtql, segments, used_ids, shm_tot, shm_rss, shm_swp].join());
    };
    tell();
    const set = libc.semget(libc.IPC_PRIVATE, 2, 0o600);
    libc.semget(libc.IPC_PRIVATE, 3, 0o600);
    const queue = libc.msgget(libc.IPC_PRIVATE, 0o600);
    libc.msgsnd(queue, { mtype: 1, mtext: new Uint8Array(10) });
    libc.msgsnd(queue, { mtype: 1, mtext: new Uint8Array(5) });
    const segment = libc.shmget(libc.IPC_PRIVATE, 4097, 0o600);
    new Uint8Array(libc.shmat(segment))[0] = 1;
    tell();
    libc.semop(set, [[0, 1]]);
    say([set, queue, segment, libc.semctl(0, 0, libc.GETVAL), libc.msgrcv(0, 10).mtext.length].join());
  `,
    { permissions: ["--allow-all"] },
  );
  assertEquals(await child.hear(), "0,0,0,0,0,0,0,0,0,0,0,0");
  const page = 4096;
  const pages = Math.ceil(4097 / page);
  assertEquals(await child.hear(), `1,2,5,0,1,2,15,0,1,${pages},1,0`);
  assertEquals(await child.hear(), "0,0,0,1,10", "0 is an identifier like any other");
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

test(
  "the commands obey the mode: another user is refused, but for ..._STAT_ANY",
  onlyRoot,
  async () => {
    using set = newSet(1, freshKey());
    using queue = newQueue(freshKey());
    using segment = newSegment(100, freshKey());
    const key = semctl(set.id, 0, IPC_STAT).sem_perm.__key;
    const indexes = [
      indexOf(set.id, semctl(0, 0, SEM_INFO).index, (index) => semctl(index, 0, SEM_STAT).semid),
      indexOf(queue.id, msgctl(0, MSG_INFO).index, (index) => msgctl(index, MSG_STAT).msqid),
      indexOf(segment.id, shmctl(0, SHM_INFO).index, (index) => shmctl(index, SHM_STAT).shmid),
    ];
    await using child = run(
      `${privileges}
    becomeNobody();
    const [key, set, queue, segment, setIndex, queueIndex, segmentIndex] = args.map(Number);
    const { IPC_CREAT, IPC_EXCL, IPC_RMID, IPC_SET, IPC_STAT, semctl, msgctl, shmctl } = libc;
    say([
      failure(() => libc.semget(key, 1, 0o600)),
      failure(() => libc.semget(key, 9, 0o600)),
      failure(() => libc.semget(key, 9, IPC_CREAT | IPC_EXCL | 0o600)),
      failure(() => libc.semget(key, 0, 0)) === set,
      failure(() => libc.semop(set, [[0, 1]])),
      failure(() => semctl(set, 0, libc.GETVAL)),
      failure(() => semctl(set, 0, IPC_STAT)),
      failure(() => semctl(setIndex, 0, libc.SEM_STAT)),
      failure(() => semctl(setIndex, 0, libc.SEM_STAT_ANY).semid) === set,
      failure(() => semctl(set, 0, IPC_RMID)),
    ].join());
    say([
      failure(() => libc.msgsnd(queue, { mtype: 1, mtext: new Uint8Array(1) }, libc.IPC_NOWAIT)),
      failure(() => libc.msgrcv(queue, 10, 0, libc.IPC_NOWAIT)),
      failure(() => msgctl(queue, IPC_STAT)),
      failure(() => msgctl(queueIndex, libc.MSG_STAT)),
      failure(() => msgctl(queueIndex, libc.MSG_STAT_ANY).msqid) === queue,
      failure(() => msgctl(queue, IPC_RMID)),
    ].join());
    say([
      failure(() => libc.shmat(segment)),
      failure(() => shmctl(segment, IPC_STAT)),
      failure(() => shmctl(segmentIndex, libc.SHM_STAT)),
      failure(() => shmctl(segmentIndex, libc.SHM_STAT_ANY).shmid) === segment,
      failure(() => shmctl(segment, libc.SHM_LOCK)),
      failure(() => shmctl(segment, IPC_RMID)),
    ].join());
  `,
      { args: [key, set.id, queue.id, segment.id, ...indexes], permissions: ["--allow-all"] },
    );
    assertEquals((await child.hear()).split(","), [
      "EACCES semget",
      "EINVAL semget",
      "EEXIST semget",
      "true",
      "EACCES semop",
      "EACCES semctl",
      "EACCES semctl",
      "EACCES semctl",
      "true",
      "EPERM semctl",
    ]);
    assertEquals((await child.hear()).split(","), [
      "EACCES msgsnd",
      "EACCES msgrcv",
      "EACCES msgctl",
      "EACCES msgctl",
      "true",
      "EPERM msgctl",
    ]);
    assertEquals((await child.hear()).split(","), [
      "EACCES shmat",
      "EACCES shmctl",
      "EACCES shmctl",
      "true",
      "EPERM shmctl",
      "EPERM shmctl",
    ]);
  },
);

test(
  "IPC_SET by the owner works whatever the mode, as in C, when all members are given",
  onlyRoot,
  async () => {
    await using child = run(
      `${privileges}
    becomeNobody();
    const { IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_CREAT } = libc;
    const all = { uid: 65534, gid: 65534, mode: 0o600 };
    const set = libc.semget(IPC_PRIVATE, 1, IPC_CREAT);
    say(String(failure(() => libc.semctl(set, 0, IPC_SET, { sem_perm: all }))));
    libc.semctl(set, 0, IPC_RMID);
    const queue = libc.msgget(IPC_PRIVATE, IPC_CREAT);
    say(String(failure(() => libc.msgctl(queue, IPC_SET, { msg_perm: all, msg_qbytes: 100 }))));
    libc.msgctl(queue, IPC_RMID);
    const segment = libc.shmget(IPC_PRIVATE, 1, IPC_CREAT);
    say(String(failure(() => libc.shmctl(segment, IPC_SET, { shm_perm: all }))));
    libc.shmctl(segment, IPC_RMID);
  `,
      { permissions: ["--allow-all"] },
    );
    const told = [await child.hear(), await child.hear(), await child.hear()];
    assertEquals(told, ["undefined", "undefined", "undefined"]);
    assertEquals((await child.exit).code, 0);
  },
);

test("msgget() makes private queues, finds keys, and fails by code", () => {
  const key = freshKey();
  const missing = assertIpcError(() => msgget(key, 0), "ENOENT", "msgget");
  assertEquals(missing.key, key);
  assertIpcError(() => msgget(key, IPC_EXCL), "ENOENT", "msgget");
  using queue = newQueue(key);
  assertEquals([msgget(key, 0), msgget(key, IPC_CREAT | 0o600)], [queue.id, queue.id]);
  assertIpcError(() => msgget(key, IPC_CREAT | IPC_EXCL), "EEXIST", "msgget");
  using one = newQueue();
  using other = newQueue();
  assertNotEquals(one.id, other.id);
});

test("msgsnd() and msgrcv() carry type and bytes", () => {
  using queue = newQueue();
  const all = Uint8Array.from({ length: 256 }, (_, index) => index);
  msgsnd(queue.id, { mtype: 1, mtext: all });
  assertEquals(msgrcv(queue.id, 256), { mtype: 1, mtext: all });
  msgsnd(queue.id, { mtype: 2 ** 53 - 1, mtext: new Uint8Array(0) });
  assertEquals(msgrcv(queue.id, 1 << 20), { mtype: 2 ** 53 - 1, mtext: new Uint8Array(0) });
  msgsnd(queue.id, { mtype: 3, mtext: all.subarray(65, 68) });
  const message = msgrcv(queue.id, 3);
  assertEquals([text(message), message.mtext.buffer.byteLength], ["ABC", 3]);
});

test("msgrcv() selects: the oldest, a type, the lowest up to one, any but one", () => {
  using queue = newQueue();
  [4, 3, 2, 3, 1, 2 ** 40].forEach((mtype, index) =>
    msgsnd(queue.id, { mtype, mtext: bytes(`${index}`) })
  );
  assertEquals(text(msgrcv(queue.id, 9, 3)), "1");
  assertEquals(text(msgrcv(queue.id, 9, -2)), "4");
  assertEquals(text(msgrcv(queue.id, 9, 4, MSG_EXCEPT)), "2");
  assertEquals(text(msgrcv(queue.id, 9, 2 ** 40)), "5");
  assertIpcError(() => msgrcv(queue.id, 9, -2, IPC_NOWAIT), "ENOMSG", "msgrcv");
  assertEquals(text(msgrcv(queue.id, 9)), "0");
  assertEquals(text(msgrcv(queue.id, 9, -(2 ** 40), MSG_EXCEPT)), "3");
  assertIpcError(() => msgrcv(queue.id, 9, 0, IPC_NOWAIT), "ENOMSG", "msgrcv");
});

test("msgrcv() leaves what is longer than asked for, or cuts it with MSG_NOERROR", () => {
  using queue = newQueue();
  msgsnd(queue.id, { mtype: 1, mtext: bytes("0123456789") });
  const error = assertIpcError(() => msgrcv(queue.id, 9), "E2BIG", "msgrcv");
  assertEquals(error.id, queue.id);
  assertEquals(text(msgrcv(queue.id, 4, 0, MSG_NOERROR)), "0123");
  assertIpcError(() => msgrcv(queue.id, 9, 0, IPC_NOWAIT), "ENOMSG", "msgrcv");
});

test("msgrcv() copies with MSG_COPY the message at a position, and leaves it", () => {
  using queue = newQueue();
  for (const mtype of [5, 4]) msgsnd(queue.id, { mtype, mtext: bytes(`of ${mtype}`) });
  const copy = (position: number) => msgrcv(queue.id, 9, position, MSG_COPY | IPC_NOWAIT);
  assertEquals([text(copy(1)), copy(0).mtype], ["of 4", 5]);
  assertIpcError(() => copy(2), "ENOMSG", "msgrcv");
  assertIpcError(() => msgrcv(queue.id, 9, 0, MSG_COPY), "EINVAL", "msgrcv");
  assertIpcError(
    () => msgrcv(queue.id, 9, 0, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT),
    "EINVAL",
    "msgrcv",
  );
  const { msg_qnum, msg_lrpid, msg_rtime } = msgctl(queue.id, IPC_STAT);
  assertEquals([msg_qnum, msg_lrpid, msg_rtime], [2, 0, 0]);
});

test("msgsnd() and msgrcv() carry all 64 bits of a type", () => {
  using queue = newQueue();
  const types = [2 ** 53 - 1, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n];
  for (const mtype of types) msgsnd(queue.id, { mtype, mtext: bytes("") });
  const [safe, even, odd, last] = types as [number, bigint, bigint, bigint];
  assertEquals(msgrcv(queue.id, 0, odd, IPC_NOWAIT).mtype, odd);
  assertEquals(msgrcv(queue.id, 0, last, IPC_NOWAIT).mtype, last);
  assertEquals(msgrcv(queue.id, 0, -even, IPC_NOWAIT).mtype, safe);
  assertEquals(msgrcv(queue.id, 0, -last, IPC_NOWAIT).mtype, even);
  msgsnd(queue.id, { mtype: 7n, mtext: bytes("small") });
  assertEquals(msgrcv(queue.id, 9, 7n, IPC_NOWAIT), { mtype: 7, mtext: bytes("small") });
  for (const mtype of [2n ** 63n, -(2n ** 63n) - 1n, 2 ** 53]) {
    assertThrows(() => msgsnd(queue.id, { mtype, mtext: bytes("") }), RangeError);
    assertThrows(() => msgrcv(queue.id, 0, mtype, IPC_NOWAIT), RangeError);
  }
  assertEquals(msgctl(queue.id, IPC_STAT).msg_qnum, 0);
});

test("msgsnd() fails by code, and sends nothing", () => {
  using queue = newQueue();
  const { msgmax } = msgctl(0, IPC_INFO);
  for (const mtype of [0, -1, -(2 ** 40)]) {
    assertIpcError(() => msgsnd(queue.id, { mtype, mtext: bytes("x") }), "EINVAL", "msgsnd");
  }
  const long = new Uint8Array(msgmax + 1);
  const error = assertIpcError(
    () => msgsnd(queue.id, { mtype: 1, mtext: long }, IPC_NOWAIT),
    "EINVAL",
    "msgsnd",
  );
  assertEquals(error.id, queue.id);
  assertIpcError(() => msgsnd(-1, { mtype: 1, mtext: bytes("x") }), "EINVAL", "msgsnd");
  msgctl(queue.id, IPC_SET, { msg_qbytes: 10 });
  assertIpcError(
    () => msgsnd(queue.id, { mtype: 1, mtext: new Uint8Array(11) }, IPC_NOWAIT),
    "EAGAIN",
    "msgsnd",
  );
  assertEquals(msgctl(queue.id, IPC_STAT).msg_qnum, 0);
  msgctl(queue.id, IPC_RMID);
  assertIpcError(() => msgsnd(queue.id, { mtype: 1, mtext: bytes("x") }), "EINVAL", "msgsnd");
  assertIpcError(() => msgrcv(queue.id, 9), "EINVAL", "msgrcv");
});

test("msgsnd() and msgrcv() throw for wrong arguments, and send and take nothing", () => {
  using queue = newQueue();
  msgsnd(queue.id, { mtype: 1, mtext: bytes("kept") });
  for (const mtype of [1.5, NaN, 2 ** 53]) {
    assertThrows(() => msgsnd(queue.id, { mtype, mtext: bytes("x") }), RangeError);
    assertThrows(() => msgrcv(queue.id, 9, mtype), RangeError);
  }
  for (const mtype of wrong(undefined, "1", true, null)) {
    assertThrows(() => msgsnd(queue.id, { mtype, mtext: bytes("x") }), TypeError);
  }
  for (const msgsz of [-1, 1.5, NaN, 2 ** 31]) {
    assertThrows(() => msgrcv(queue.id, msgsz), RangeError);
  }
  for (const value of wrong("9", null, true)) {
    assertThrows(() => msgrcv(queue.id, 9, value), TypeError);
  }
  for (const value of wrong("9", null, 9n)) {
    assertThrows(() => msgrcv(queue.id, value), TypeError);
    assertThrows(() => msgrcv(queue.id, 9, 0, value), TypeError);
    assertThrows(() => msgsnd(queue.id, { mtype: 1, mtext: bytes("x") }, value), TypeError);
  }
  const { msg_qnum, msg_cbytes } = msgctl(queue.id, IPC_STAT);
  assertEquals([msg_qnum, msg_cbytes], [1, 4]);
});

test("msgsnd() takes bytes and nothing else, so that nothing wrong is sent", () => {
  using queue = newQueue();
  for (const mtext of wrong("text", bytes("x").buffer, [1, 2], undefined, Uint16Array.of(0x4142))) {
    assertThrows(() => msgsnd(queue.id, { mtype: 1, mtext }), TypeError);
  }
  assertEquals(msgctl(queue.id, IPC_STAT).msg_qnum, 0);
});

test("msgsnd() and msgrcv() wait, and end with EIDRM when the queue is removed", async () => {
  using full = newQueue();
  using empty = newQueue();
  msgctl(full.id, IPC_SET, { msg_qbytes: 4 });
  msgsnd(full.id, { mtype: 1, mtext: bytes("full") });
  const program = `
    const id = Number(args[0]);
    const wait = () => args[1] === "send"
      ? libc.msgsnd(id, { mtype: 2, mtext: new Uint8Array(1) })
      : libc.msgrcv(id, 9, 2);
    say("went on as type " + (wait()?.mtype ?? "none"));
    try {
      wait();
    } catch (error) {
      say(error.code + " " + error.syscall);
    }
  `;
  await using sender = run(program, { args: [full.id, "send"] });
  await using receiver = run(program, { args: [empty.id, "receive"] });
  await untilIn(sender.pid, "msgsnd");
  await untilIn(receiver.pid, "msgrcv");
  msgsnd(empty.id, { mtype: 1, mtext: bytes("no") });
  msgsnd(empty.id, { mtype: 2, mtext: bytes("yes") });
  msgctl(full.id, IPC_SET, { msg_qbytes: 1 });
  msgrcv(full.id, 4);
  assertEquals(await sender.hear(), "went on as type none");
  assertEquals(await receiver.hear(), "went on as type 2");
  await untilIn(sender.pid, "msgsnd");
  await untilIn(receiver.pid, "msgrcv");
  msgctl(full.id, IPC_RMID);
  msgctl(empty.id, IPC_RMID);
  assertEquals(await sender.hear(), "EIDRM msgsnd");
  assertEquals(await receiver.hear(), "EIDRM msgrcv");
});

test("msgctl() with IPC_STAT and MSG_STAT tells what /proc tells", () => {
  const key = freshKey();
  using queue = newQueue(key, IPC_CREAT | 0o640);
  msgsnd(queue.id, { mtype: 1, mtext: bytes("one") });
  msgsnd(queue.id, { mtype: 1, mtext: bytes("three") });
  msgrcv(queue.id, 9);
  const stat = msgctl(queue.id, IPC_STAT);
  const { msqid, msg_perm: perm } = stat;
  assertEquals([perm.__key, perm.mode, stat.msg_qnum, stat.msg_cbytes], [key, 0o640, 1, 5]);
  assertEquals([stat.msg_lspid, stat.msg_lrpid], [process.pid, process.pid]);
  assertEquals(stat.msg_qbytes, limits("msgmnb")[0]);
  assertEquals(proc("msg", queue.id), {
    key: perm.__key,
    msqid,
    perms: perm.mode,
    cbytes: stat.msg_cbytes,
    qnum: stat.msg_qnum,
    lspid: stat.msg_lspid,
    lrpid: stat.msg_lrpid,
    uid: perm.uid,
    gid: perm.gid,
    cuid: perm.cuid,
    cgid: perm.cgid,
    stime: stat.msg_stime,
    rtime: stat.msg_rtime,
    ctime: stat.msg_ctime,
  });
  const { index } = msgctl(0, MSG_INFO);
  const at = indexOf(queue.id, index, (index) => msgctl(index, MSG_STAT_ANY).msqid);
  assertEquals(msgctl(at, MSG_STAT), stat);
  assertEquals(msgctl(at, MSG_STAT_ANY), stat);
});

test("msgctl() with IPC_SET changes what is given", () => {
  using queue = newQueue();
  const before = msgctl(queue.id, IPC_STAT);
  msgctl(queue.id, IPC_SET, { msg_qbytes: 100 });
  assertEquals(msgctl(queue.id, IPC_STAT).msg_qbytes, 100);
  msgctl(queue.id, IPC_SET, { msg_perm: { mode: 0o6640 } });
  const after = msgctl(queue.id, IPC_STAT);
  assertEquals(after.msg_perm, { ...before.msg_perm, mode: 0o640 });
  assertEquals(after.msg_qbytes, 100);
});

test("msgctl() with IPC_INFO tells the limits, and fails by code", () => {
  const { msgmax, msgmnb, msgmni } = msgctl(0, IPC_INFO);
  const wanted = ["msgmax", "msgmnb", "msgmni"].flatMap(limits);
  assertEquals([msgmax, msgmnb, msgmni], wanted);
  using queue = newQueue();
  assertIpcError(() => msgctl(queue.id, 999 as never), "EINVAL", "msgctl");
  assertIpcError(() => msgctl(-1, IPC_STAT), "EINVAL", "msgctl");
  assertIpcError(() => msgctl(-1, IPC_RMID), "EINVAL", "msgctl");
  msgctl(queue.id, IPC_RMID);
  assertIpcError(() => msgctl(queue.id, IPC_STAT), "EINVAL", "msgctl");
  assertIpcError(() => msgctl(queue.id, IPC_SET, {}), "EINVAL", "msgctl");
});

test("shmget() makes private segments, finds keys, and fails by code", () => {
  const key = freshKey();
  const missing = assertIpcError(() => shmget(key, 100, 0o600), "ENOENT", "shmget");
  assertEquals(missing.key, key);
  using segment = newSegment(100, key);
  assertEquals([shmget(key, 0, 0), shmget(key, 100, 0o600)], [segment.id, segment.id]);
  assertIpcError(() => shmget(key, 101, 0), "EINVAL", "shmget");
  assertIpcError(() => shmget(key, 100, IPC_CREAT | IPC_EXCL), "EEXIST", "shmget");
  assertIpcError(() => shmget(IPC_PRIVATE, 0, 0o600), "EINVAL", "shmget");
  using least = newSegment(1);
  assertEquals(shmctl(least.id, IPC_STAT).shm_segsz, 1);
});

test("shmget() takes sizes above 32 bits whole", () => {
  using segment = newSegment(2 ** 32 + 5, IPC_PRIVATE, 0o600 | SHM_NORESERVE);
  assertEquals(shmctl(segment.id, IPC_STAT).shm_segsz, 2 ** 32 + 5);
});

test("the ...get() functions throw for wrong arguments", () => {
  const calls = [
    (key: number) => semget(key, 1, 0o600),
    (key: number) => msgget(key, 0o600),
    (key: number) => shmget(key, 1, 0o600),
    (flags: number) => semget(IPC_PRIVATE, 1, flags),
    (flags: number) => msgget(IPC_PRIVATE, flags),
    (flags: number) => shmget(IPC_PRIVATE, 1, flags),
    (count: number) => semget(IPC_PRIVATE, count, 0o600),
    (size: number) => shmget(IPC_PRIVATE, size, 0o600),
  ];
  for (const call of calls) {
    for (const value of [1.5, NaN, Infinity, -(2 ** 31) - 1]) {
      assertThrows(() => call(value), RangeError);
    }
    for (const value of wrong(undefined, null, "1", 1n)) assertThrows(() => call(value), TypeError);
  }
  for (const call of calls.slice(0, 3)) assertThrows(() => call(2 ** 32), RangeError);
  assertThrows(() => shmget(IPC_PRIVATE, 2 ** 53, 0o600), RangeError);
  assertThrows(() => shmget(IPC_PRIVATE, -1, 0o600), RangeError);
});

test("shmat() gives the memory itself, of the segment's size, and shmdt() ends it", () => {
  using segment = newSegment(100);
  const one = shmat(segment.id);
  const other = shmat(segment.id, null, 0);
  assertEquals([one.byteLength, other.byteLength], [100, 100]);
  const view = new Uint8Array(one);
  view[99] = 7;
  assertEquals(new Uint8Array(other)[99], 7);
  assertEquals(shmctl(segment.id, IPC_STAT).shm_nattch, 2);
  shmdt(one);
  assertEquals([one.byteLength, view.length, view[99]], [0, 0, undefined]);
  assertEquals(shmctl(segment.id, IPC_STAT).shm_nattch, 1);
  assertEquals(new Uint8Array(other)[99], 7);
  shmdt(other);
  assertEquals(shmctl(segment.id, IPC_STAT).shm_nattch, 0);
});

test("shmat() with SHM_EXEC maps memory that may be executed", () => {
  using segment = newSegment(100, IPC_PRIVATE, 0o700);
  const memory = shmat(segment.id, null, SHM_EXEC);
  const line = readFileSync("/proc/self/maps", "utf8").split("\n").find((line) =>
    line.includes("/SYSV") && line.includes(` ${segment.id} `)
  );
  shmdt(memory);
  assertStringIncludes(line!, "rwxs");
});

test("shmat() refuses to hand out memory that kills whoever writes to it, and addresses", () => {
  using segment = newSegment(100);
  const SHM_RDONLY = 0o10000, SHM_REMAP = 0o40000;
  for (const flags of [SHM_RDONLY, SHM_REMAP, SHM_RDONLY | SHM_EXEC]) {
    assertThrows(() => shmat(segment.id, null, flags), TypeError);
  }
  for (const address of wrong(0, 4096, 0n, "0")) {
    assertThrows(() => shmat(segment.id, address), TypeError);
  }
  for (const value of wrong("0", null, 0n)) {
    assertThrows(() => shmat(segment.id, null, value), TypeError);
    assertThrows(() => shmat(value), TypeError);
  }
  assertEquals(shmctl(segment.id, IPC_STAT).shm_nattch, 0);
});

test("shmat() fails by code", () => {
  using segment = newSegment(100);
  assertIpcError(() => shmat(-1), "EINVAL", "shmat");
  shmctl(segment.id, IPC_RMID);
  const error = assertIpcError(() => shmat(segment.id), "EINVAL", "shmat");
  assertEquals(error.id, segment.id);
});

test("shmdt() fails for what is not attached, any more or at all", () => {
  using segment = newSegment(100);
  const memory = shmat(segment.id);
  shmdt(memory);
  assertIpcError(() => shmdt(memory), "EINVAL", "shmdt");
  assertIpcError(() => shmdt(new ArrayBuffer(100)), "EINVAL", "shmdt");
  for (const value of wrong(undefined, null, 5, new Uint8Array(100))) {
    assertThrows(() => shmdt(value), TypeError);
  }
});

test("shmdt() detaches memory whose buffer was transferred, which shares nothing then", () => {
  using segment = newSegment(100);
  const memory = shmat(segment.id);
  const taken = new Uint8Array(memory.transfer());
  taken.fill(7);
  shmdt(memory);
  assertEquals(shmctl(segment.id, IPC_STAT).shm_nattch, 0);
  taken.fill(8);
  const other = shmat(segment.id);
  assertEquals(new Uint8Array(other)[50], 7);
  shmdt(other);
  assertIpcError(() => shmdt(memory), "EINVAL", "shmdt");
});

test("shmdt() leaves calls of the runtime that are under way something to read", async () => {
  await using child = run(
    `
    import crypto from "node:crypto";
    import zlib from "node:zlib";
    const id = libc.shmget(libc.IPC_PRIVATE, 2 ** 24, 0o600);
    const memory = libc.shmat(id);
    libc.shmctl(id, libc.IPC_RMID);
    const view = new Uint8Array(memory).fill(1);
    const gzip = new Promise((resolve) => zlib.gzip(view, resolve));
    const scrypt = new Promise((resolve) => crypto.scrypt(view, "salt", 32, resolve));
    libc.shmdt(memory);
    say(String(view[2 ** 20] ?? 0));
    await Promise.all([gzip, scrypt]);
    say("finished");
  `,
    { permissions: ["--allow-all"] },
  );
  assertEquals(await child.hear(), "0");
  assertEquals(await child.hear(), "finished");
  assertEquals((await child.exit).code, 0, child.stderr);
});

test("shmdt() gives back what calls under way write where a segment was", async () => {
  await using child = run(
    `
    import { openSync, read, readFileSync } from "node:fs";
    const file = openSync(process.execPath);
    const resident = () =>
      Number(readFileSync("/proc/self/status", "utf8").match(/^VmRSS:\\s*(\\d+) kB$/m)[1]) / 1024;
    const SIZE = 2 ** 24;
    let before = 0;
    for (let round = 0; round < 40; round++) {
      if (round === 10) before = resident();
      const id = libc.shmget(libc.IPC_PRIVATE, SIZE, 0o600);
      const memory = libc.shmat(id);
      libc.shmctl(id, libc.IPC_RMID);
      const filled = new Promise((resolve) =>
        read(file, new Uint8Array(memory), 0, SIZE, 0, resolve));
      libc.shmdt(memory);
      await filled;
    }
    say(String(Math.round(resident() - before)));
  `,
    { permissions: ["--allow-all"] },
  );
  const grown = Number(await child.hear());
  assert(grown < 160, `${grown} MiB of 480 are kept`);
});

test("shmdt() gives addresses back before they run out", () => {
  const GiB = 2 ** 30;
  const mapped = () =>
    Number(readFileSync("/proc/self/status", "utf8").match(/^VmSize:\s*(\d+) kB$/m)![1]) * 1024;
  using segment = newSegment(GiB, IPC_PRIVATE, 0o600 | SHM_NORESERVE);
  const before = mapped();
  for (let round = 0; round < 100; round++) shmdt(shmat(segment.id));
  const grown = mapped() - before;
  assert(grown < 32 * GiB, `${grown} bytes of addresses are taken`);
});

test("shmctl() with IPC_STAT and SHM_STAT tells what /proc tells", () => {
  const key = freshKey();
  using segment = newSegment(5000, key, IPC_CREAT | 0o640);
  const fresh = shmctl(segment.id, IPC_STAT);
  assertEquals([fresh.shm_nattch, fresh.shm_atime, fresh.shm_dtime, fresh.shm_lpid], [0, 0, 0, 0]);
  shmdt(shmat(segment.id));
  const memory = shmat(segment.id);
  shmctl(segment.id, SHM_LOCK);
  const stat = shmctl(segment.id, IPC_STAT);
  const { shmid, shm_perm: perm } = stat;
  assertEquals([perm.__key, perm.mode, stat.shm_segsz], [key, 0o640 | SHM_LOCKED, 5000]);
  assertEquals([stat.shm_nattch, stat.shm_cpid, stat.shm_lpid], [1, process.pid, process.pid]);
  const { rss: _, swap: __, ...row } = proc("shm", segment.id)!;
  assertEquals(row, {
    key: perm.__key,
    shmid,
    perms: perm.mode,
    size: stat.shm_segsz,
    cpid: stat.shm_cpid,
    lpid: stat.shm_lpid,
    nattch: stat.shm_nattch,
    uid: perm.uid,
    gid: perm.gid,
    cuid: perm.cuid,
    cgid: perm.cgid,
    atime: stat.shm_atime,
    dtime: stat.shm_dtime,
    ctime: stat.shm_ctime,
  });
  const { index } = shmctl(0, SHM_INFO);
  const at = indexOf(segment.id, index, (index) => shmctl(index, SHM_STAT_ANY).shmid);
  assertEquals(shmctl(at, SHM_STAT), stat);
  assertEquals(shmctl(at, SHM_STAT_ANY), stat);
  shmdt(memory);
});

test("shmctl() locks and unlocks, as often as asked", () => {
  using segment = newSegment(100);
  const mode = () => shmctl(segment.id, IPC_STAT).shm_perm.mode;
  for (const _ of [1, 2]) {
    shmctl(segment.id, SHM_LOCK);
    assertEquals(mode(), 0o600 | SHM_LOCKED);
  }
  for (const _ of [1, 2]) {
    shmctl(segment.id, SHM_UNLOCK);
    assertEquals(mode(), 0o600);
  }
});

test("shmctl() with IPC_RMID leaves the memory to those who have it", () => {
  const key = freshKey();
  using segment = newSegment(100, key);
  const memory = shmat(segment.id);
  shmctl(segment.id, IPC_RMID);
  const { shm_perm } = shmctl(segment.id, IPC_STAT);
  assertEquals([shm_perm.__key, shm_perm.mode], [0, 0o600 | SHM_DEST]);
  assertIpcError(() => shmget(key, 0, 0), "ENOENT", "shmget");
  const again = shmat(segment.id);
  new Uint8Array(memory)[0] = 1;
  assertEquals(new Uint8Array(again)[0], 1);
  shmdt(memory);
  shmdt(again);
  assertIpcError(() => shmctl(segment.id, IPC_STAT), "EINVAL", "shmctl");
});

test("shmctl() with IPC_SET changes what is given", () => {
  using segment = newSegment(100);
  const before = shmctl(segment.id, IPC_STAT);
  shmctl(segment.id, IPC_SET, { shm_perm: { mode: 0o640 } });
  const after = shmctl(segment.id, IPC_STAT);
  assertEquals(after.shm_perm, { ...before.shm_perm, mode: 0o640 });
});

test("shmctl() with IPC_INFO tells the limits, and fails by code", () => {
  const { shmmax, shmmin, shmmni, shmall } = shmctl(0, IPC_INFO);
  assertEquals([shmmin, ...[shmmax, shmmni, shmall]], [
    1,
    ...["shmmax", "shmmni", "shmall"].flatMap(limits),
  ]);
  using segment = newSegment(100);
  assertIpcError(() => shmctl(segment.id, 999 as never), "EINVAL", "shmctl");
  assertIpcError(() => shmctl(-1, IPC_STAT), "EINVAL", "shmctl");
  shmctl(segment.id, IPC_RMID);
  for (const command of [IPC_STAT, IPC_RMID, SHM_LOCK, SHM_UNLOCK] as const) {
    assertIpcError(() => shmctl(segment.id, command as typeof IPC_STAT), "EINVAL", "shmctl");
  }
});

test("the ...ctl() functions throw for identifiers and commands that are no numbers of 32 bits", () => {
  const calls = [
    (id: number, command: never) => semctl(id, 0, command),
    (id: number, command: never) => msgctl(id, command),
    (id: number, command: never) => shmctl(id, command),
  ];
  for (const call of calls) {
    for (const value of [1.5, NaN, 2 ** 31]) {
      assertThrows(() => call(value, IPC_STAT as never), RangeError);
      assertThrows(() => call(0, value as never), RangeError);
    }
    for (const value of wrong(undefined, null, "0", 0n)) {
      assertThrows(() => call(value, IPC_STAT as never), TypeError);
      assertThrows(() => call(0, value), TypeError);
    }
  }
});

test("ftok() takes any number, of which eight bits count", () => {
  for (const number of [1, 257, 255, -1, 0, 2 ** 31 - 1, -(2 ** 31)]) {
    assertEquals(libc.ftok("/", number) >>> 24, number & 0xff);
  }
  assertEquals(libc.ftok("/", 257), libc.ftok("/", 1));
  for (const number of [2 ** 31, 1.5, NaN]) assertThrows(() => libc.ftok("/", number), RangeError);
  for (const value of wrong("1", 1n, null, undefined)) {
    assertThrows(() => libc.ftok("/", value), TypeError);
    assertThrows(() => libc.ftok(value === "1" ? wrong(1)[0]! : value, 1), TypeError);
  }
});

test("libc has the constants of C that a call takes or returns, and no others", () => {
  assertEquals([libc.SHM_R | libc.SHM_W, libc.SHMLBA % 4096], [0o600, 0]);
  for (const name of ["SHM_RDONLY", "SHM_RND", "SHM_REMAP"]) assert(!(name in libc), name);
  using segment = newSegment(1, IPC_PRIVATE, libc.SHM_R | libc.SHM_W);
  assertEquals(shmctl(segment.id, IPC_STAT).shm_perm.mode, 0o600);
});
