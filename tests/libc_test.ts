import { assert, assertEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import * as libc from "@sysv/ipc/libc";
import {
  GETVAL,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
  MSG_INFO,
  MSG_STAT,
  msgctl,
  msgget,
  SEM_INFO,
  SEM_STAT,
  SEM_UNDO,
  semctl,
  semget,
  semop,
  SHM_INFO,
  SHM_STAT,
  shmctl,
  shmget,
} from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { onlyRoot, onlyUnshared, privileges } from "./support/privilege.ts";

import { freshKey, indexOf, limits, newQueue, newSegment, newSet } from "./support/libc.ts";

test("libc counts with undo as C and Python do, line by line", () => {
  const sem = semget(IPC_PRIVATE, 1, 0o600);
  semop(sem, [[0, 1, SEM_UNDO]]);
  assertEquals(semctl(sem, 0, GETVAL), 1);
  semctl(sem, 0, IPC_RMID);
  assertIpcError(() => semctl(sem, 0, GETVAL), "EINVAL", "semctl");
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
