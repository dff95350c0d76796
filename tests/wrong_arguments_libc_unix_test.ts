import { assert } from "@std/assert";
import { test } from "node:test";
import * as libc from "@sysv/ipc/libc";
import * as unix from "@sysv/ipc/unix";
import { type Entry, refusals, refuses, withMethods } from "./support/refuses.ts";
import {
  arrayOf,
  buffer,
  data,
  fd,
  flag,
  mode,
  object,
  type Parameter,
  path,
  signal,
  timeout,
  whole,
  word,
} from "./support/wrong.ts";

const tries = object({ timeout });
const waits = object({ timeout, signal });

const int = whole(0, 2 ** 31, -(2 ** 31) - 1, undefined);
const sembufs: Parameter = {
  right: [[0, 1]],
  wrong: [...arrayOf(int).wrong, [[]], [[0]], [[0, 1, 0, 0]], [[2 ** 16, 1]], [[0, 2 ** 15]], [{
    0: 0,
    1: 1,
  }]],
};
const keyOfC = whole(1, 2 ** 32, undefined);
/** An object of no kind, so that any system call fails. */
const nothing: Parameter = { ...int, right: -1 };
refuses("libc.", {
  ...withMethods({ ...libc }, {
    ftok: [path, int],
    semget: [keyOfC, int, int],
    semop: [nothing, sembufs],
    semtimedop: [nothing, sembufs, timeout],
    semctl: [nothing, int, { right: libc.GETVAL, wrong: int.wrong }],
    msgget: [keyOfC, int],
    msgsnd: [
      nothing,
      object({
        mtype: { right: 1, wrong: [null, "1", 1.5, NaN, {}, true, 2 ** 53, 2n ** 63n] },
        mtext: { right: new Uint8Array(1), wrong: buffer.wrong },
      }),
      { ...int, wrong: int.wrong.filter((value) => value !== undefined) },
    ],
    msgrcv: [nothing, whole(8, -1, 2 ** 31, undefined), {
      right: 0,
      wrong: [null, "1", 1.5, NaN, {}, true, 2 ** 53, 2n ** 63n],
    }],
    msgctl: [nothing, { right: libc.IPC_STAT, wrong: int.wrong }],
    shmget: [keyOfC, whole(1, -1, 2 ** 53, undefined), int],
    shmat: [nothing, { right: null, wrong: [0, 4096, "0", 0n, {}, true] }, {
      right: 0,
      wrong: [null, "0", 1.5, {}, true, 0o10000, 0o40000],
    }],
    shmdt: [{ right: null, wrong: [null, undefined, 5, "x", {}, new Uint8Array(8)] }],
    shmctl: [nothing, { right: libc.IPC_STAT, wrong: int.wrong }],
  }),
  "semctl with SETVAL": [(value) => libc.semctl(-1, 0, libc.SETVAL, value), int],
  "semctl with SETALL": [
    (array) => libc.semctl(-1, 0, libc.SETALL, array),
    arrayOf(whole(0, -1, 2 ** 16)),
  ],
  ...Object.fromEntries(
    ([
      ["semctl", "sem_perm", (buf: never) => libc.semctl(-1, 0, libc.IPC_SET, buf)],
      ["msgctl", "msg_perm", (buf: never) => libc.msgctl(-1, libc.IPC_SET, buf)],
      ["shmctl", "shm_perm", (buf: never) => libc.shmctl(-1, libc.IPC_SET, buf)],
    ] as const).map(([name, member, call]): [string, Entry] => [
      `${name} with IPC_SET`,
      [
        call,
        object({
          [member]: object({ uid: whole(0, -1), gid: whole(0, -1), mode: whole(0, -1, 2 ** 16) }),
        }),
      ],
    ]),
  ),
});

const max = whole(1, 0, -1, 2 ** 31);
const ends = unix.pipe();
const [reader, writer] = [new unix.PipeReader(ends.reader.fd), new unix.PipeWriter(ends.writer.fd)];
// Any use of them fails from now on.
ends[Symbol.dispose]();
const interest = {
  right: "readable",
  wrong: [null, 1n, "", "read", 5, {}, true, ["read"], [[]], [undefined]],
};
const requests = arrayOf(object({ fd, events: interest }));
refuses("unix.", {
  ...withMethods({ ...unix }, {
    setNonblocking: [fd, { right: true, wrong: [...flag.wrong, undefined] }],
    pipe: [object({ nonblocking: flag })],
    makeFifo: [path, object({ mode })],
    openFifo: [path, { right: "write", wrong: [...word("write").wrong, undefined] }, waits],
    poll: [requests, waits],
    pollSync: [requests, tries],
    select: [object({ read: arrayOf(fd), write: arrayOf(fd), error: arrayOf(fd) }), waits],
    selectSync: [object({ read: arrayOf(fd), write: arrayOf(fd), error: arrayOf(fd) }), tries],
    alarm: [{ right: 0, wrong: [null, undefined, "1", -1, NaN, 2 ** 31, {}, 1n, true] }],
    kill: [whole(2 ** 30, -1, 2 ** 31, undefined), {
      right: 0,
      wrong: [null, "", "TERM", 15, {}, true, ["SIGTERM"]],
    }],
    signals: [{
      right: "SIGUSR2",
      wrong: [null, undefined, 5, "", "USR2", "SIGKILL", {}, ["SIGUSR2"]],
    }],
    sigwait: [arrayOf({ right: "SIGUSR2", wrong: [null, 5, "", "USR2", "SIGKILL", {}] }), waits],
  }),
  "new PipeReader": [(fd) => new unix.PipeReader(fd), fd],
  "new PipeWriter": [(fd) => new unix.PipeWriter(fd), fd],
});
refuses(
  "PipeReader.",
  withMethods(reader, { read: [max, waits], tryRead: [max], readSync: [max, tries] }),
);
refuses(
  "PipeWriter.",
  withMethods(writer, { write: [data, waits], tryWrite: [data], writeSync: [data, tries] }),
);
const epoll = new unix.Epoll();
const watch = object({ events: interest, trigger: word("edge") });
refuses(
  "Epoll.",
  withMethods(epoll, {
    add: [fd, watch],
    modify: [fd, watch],
    remove: [fd],
    wait: [object({ timeout, signal, max })],
    waitSync: [object({ timeout, max })],
    tryWait: [max],
  }),
);

test("the wrong arguments are many", () => {
  epoll.close();
  assert(refusals() > 1500, `${refusals()}`);
});
