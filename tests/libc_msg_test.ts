import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import {
  IPC_CREAT,
  IPC_EXCL,
  IPC_INFO,
  IPC_NOWAIT,
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
} from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { untilIn } from "./support/privilege.ts";

import { bytes, freshKey, indexOf, limits, newQueue, proc, text } from "./support/libc.ts";

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
