import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import * as commonConstants from "../ffi/constants.ts";
import { errors, SEMVMX } from "../ffi/constants.ts";
import { abi, msginfo, seminfo, shm_info, shminfo } from "../ffi/platforms.ts";
import {
  type Field,
  type Layout,
  readField,
  readStruct,
  writeField,
  writeStruct,
} from "../ffi/struct.ts";
import { tool } from "./support/languages.ts";
import { testWhere, testWith } from "./support/peer.ts";
import { temporaryFolder } from "./support/folder.ts";

/** The structs by their names in C. */
const structs: Record<string, Layout> = {
  ipc_perm: abi.layouts.ipcPerm,
  semid_ds: abi.layouts.semid,
  msqid_ds: abi.layouts.msqid,
  shmid_ds: abi.layouts.shmid,
  ...(abi.isLinux ? { seminfo, msginfo, shminfo, shm_info } : {}),
};

const shared = Object.entries(commonConstants).flatMap(([name, value]): [string, number][] =>
  typeof value === "number" && /^(IPC|SEM|MSG|SHM)_/.test(name) ? [[name, value]] : []
);
const linuxOnly = /^SHM_(REMAP|EXEC|HUGETLB|NORESERVE|DEST|LOCKED)$/;
const constants: Record<string, number> = Object.fromEntries([
  ...shared.filter(([name]) => abi.isLinux || !linuxOnly.test(name)),
  ...Object.entries(abi.constants).filter(([, value]) => value !== -1),
  ...Object.entries(abi.signals),
]);

const compiler = ["cc", "gcc"].find((command) => spawnSync(command, ["--version"]).status === 0);

/** Compiles and runs the statements of a C program, and gives what it prints as words in lines. */
function runC(statements: readonly string[]): string[][] {
  using folder = temporaryFolder();
  const [source, program] = [join(folder.path, "layout.c"), join(folder.path, "layout")];
  writeFileSync(
    source,
    `#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
int main(void) {
${statements.join("\n")}
return 0;
}
`,
  );
  // macOS spells the private members of ipc_perm with one underscore.
  const names = abi.isLinux ? [] : ["-D__key=_key", "-D__seq=_seq"];
  const compiled = spawnSync(compiler!, ["-w", ...names, "-o", program, source]);
  assertEquals(compiled.status, 0, `${compiled.stderr}`);
  const { stdout } = spawnSync(program);
  return `${stdout}`.trim().split("\n").map((line) => line.split(" "));
}

const testC = (name: string, body: () => void) =>
  testWhere(compiler === undefined ? "no C compiler" : undefined, name, body);

testC("the layouts of platforms.ts are those of the C compiler", () => {
  const statements = Object.entries(structs).flatMap((
    [struct, { fields }],
  ) => [
    `printf("${struct} size %zu 0 0\\n", sizeof(struct ${struct}));`,
    ...Object.keys(fields).map((member) =>
      `{ struct ${struct} s; printf("${struct} ${member} %zu %zu %d\\n", offsetof(struct ${struct}, ${member}),
        sizeof(s.${member}), (__typeof__(s.${member})) -1 < 0); }`
    ),
  ]);
  const inC = runC(statements);
  const here = Object.entries(structs).flatMap((
    [struct, { size, fields }],
  ) => [
    [struct, "size", `${size}`, "0", "0"],
    ...Object.entries(fields).map((
      [member, [offset, size, sign]],
    ) => [struct, member, `${offset}`, `${size}`, sign === "signed" ? "1" : "0"]),
  ]);
  // musl declares some members with other widths, but hands over what the kernel wrote.
  const [[libc]] = runC([
    '#ifdef __GLIBC__\nprintf("glibc\\n");\n#else\nprintf("other\\n");\n#endif',
  ]) as [[string]];
  const compared = (rows: string[][]) =>
    libc === "other" && abi.isLinux ? rows.map((row) => row.slice(0, 3)) : rows;
  assertEquals(compared(inC), compared(here));
});

testC("the structs that are written without a layout are as the C compiler lays them out", () => {
  const members = [
    ["sembuf", "sem_num", 0, 2, 6],
    ["sembuf", "sem_op", 2, 2, 6],
    ["sembuf", "sem_flg", 4, 2, 6],
    ["timespec", "tv_sec", 0, 8, 16],
    ["timespec", "tv_nsec", 8, 8, 16],
    ["msgbuf", "mtype", 0, 8, 16],
    ["msgbuf", "mtext", 8, 1, 16],
    ...(abi.isLinux
      ? [
        ["sigevent", "sigev_signo", 8, 4, 64],
        ["sigevent", "sigev_notify", 12, 4, 64],
        ["sigevent", "_sigev_un._tid", 16, 4, 64],
        ["itimerspec", "it_interval", 0, 16, 32],
        ["itimerspec", "it_value", 16, 16, 32],
      ]
      : []),
  ];
  const inC = runC(
    members.map(([struct, member]) =>
      `{ struct ${struct} s; printf("${struct} ${member} %zu %zu %zu\\n", offsetof(struct ${struct}, ${member}),
      sizeof(s.${member}), sizeof s); }`
    ),
  );
  assertEquals(inC, members.map((row) => row.map(String)));
});

testC(
  "the constants and error numbers of constants.ts and platforms.ts are those of the C headers",
  () => {
    const names = { ...constants, ...errors };
    const inC = runC(
      Object.keys(names).map((name) =>
        `#ifdef ${name}\nprintf("${name} %d\\n", (int) ${name});\n#else\nprintf("${name} missing\\n");\n#endif`
      ),
    );
    // musl leaves this one out.
    const known = inC.filter(([name, value]) => !(name === "MSG_COPY" && value === "missing"));
    assertEquals(
      known,
      Object.entries(names).flatMap(([name, value]) =>
        known.some(([other]) => other === name) ? [[name, `${value}`]] : []
      ),
    );
    assert(known.length > 60);
  },
);

test("libc has every constant of constants.ts that a call takes, of the same value", () => {
  const inLibc: Record<string, unknown> = { ...libc };
  const refused = ["SHM_RDONLY", "SHM_REMAP"];
  for (const [name, value] of [...shared, ...Object.entries(abi.constants)]) {
    assertEquals(inLibc[name], refused.includes(name) ? undefined : value, name);
  }
});

test("the largest value of a semaphore is the kernel's", () => {
  assertEquals(libc.semctl(0, 0, libc.IPC_INFO).semvmx, SEMVMX);
});

test("the members of a layout lie side by side within its size", () => {
  for (const [name, { size, fields }] of Object.entries(structs)) {
    let end = 0;
    const inOrder = Object.entries(fields).sort(([, [a]], [, [b]]) => a - b);
    for (const [member, [offset, length]] of inOrder) {
      assert(offset >= end, `${name}.${member} overlaps what stands before it`);
      assertEquals(offset % Math.min(length, abi.isLinux ? 8 : 4), 0, `${name}.${member}`);
      end = offset + length;
    }
    assert(end <= size, name);
  }
});

test("writeStruct() writes what readStruct() reads, and nothing between", () => {
  for (const layout of Object.values(structs)) {
    const bytes = new Uint8Array(layout.size);
    const values = Object.fromEntries(
      Object.keys(layout.fields).map((name, index) => [name, 0x1200 + index]),
    );
    writeStruct(layout, bytes, values);
    assertEquals(readStruct(layout, bytes), values);
    const covered = new Set(
      Object.values(layout.fields).flatMap(([offset, size]) =>
        Array.from({ length: size }, (_, index) => offset + index)
      ),
    );
    assert(bytes.every((byte, index) => byte === 0 || covered.has(index)));
  }
});

test("writeStruct() leaves what is not given, not known, or no number", () => {
  const { ipcPerm } = abi.layouts;
  const bytes = new Uint8Array(ipcPerm.size + 8).fill(7);
  writeStruct(ipcPerm, bytes.subarray(8), { uid: undefined, gid: "5", nothing: 5 });
  assert(bytes.every((byte) => byte === 7));
  writeStruct(ipcPerm, bytes.subarray(8), { uid: 1 });
  assertEquals(readStruct(ipcPerm, bytes.subarray(8)).uid, 1);
  assert(bytes.subarray(0, 8).every((byte) => byte === 7));
});

test("readField() knows signs and widths", () => {
  const memory = new DataView(new ArrayBuffer(24));
  const fields: readonly [Field, written: number, read: number][] = [
    [[0, 2], 0xffff, 0xffff],
    [[4, 4], 0xffffffff, 0xffffffff],
    [[8, 4, "signed"], -1, -1],
    [[8, 4, "signed"], 0xffffffff, -1],
    [[16, 8], 2 ** 53 - 1, 2 ** 53 - 1],
    [[16, 8], -1, 2 ** 64],
    [[16, 8, "signed"], -1, -1],
    [[16, 8, "signed"], -(2 ** 40), -(2 ** 40)],
  ];
  for (const [field, written, read] of fields) {
    writeField(memory, field, written);
    assertEquals(readField(memory, field), read);
  }
});

/** What `ipcs -i` tells, as text by name. */
function ipcs(kind: "s" | "q" | "m", id: number): Record<string, string> {
  const { stdout } = spawnSync("ipcs", [`-${kind}`, "-i", `${id}`], {
    env: { ...process.env, LC_ALL: "C" },
  });
  const pairs = `${stdout}`.matchAll(/(\w+) ?= ?([^\s,]+)/g);
  return Object.fromEntries([...pairs].map(([, name, value]) => [name, value]));
}

const permissions = (
  info: { uid: number; gid: number; creatorUid: number; creatorGid: number; mode: number },
) => ({
  uid: `${info.uid}`,
  gid: `${info.gid}`,
  cuid: `${info.creatorUid}`,
  cgid: `${info.creatorGid}`,
  mode: `0${info.mode.toString(8)}`,
});

/** Asserts that the second has all that the first has. */
function assertTold(wanted: Record<string, string>, told: Record<string, string>): void {
  const names = Object.keys(wanted);
  assertEquals(Object.fromEntries(names.map((name) => [name, told[name]])), wanted);
}

testWith([tool("ipcs")], "SemaphoreSet.stat() tells what ipcs tells", () => {
  using set = SemaphoreSet.create({ values: [5, 0, 7], mode: 0o640 });
  const { nsems, ...told } = ipcs("s", set.id);
  assertTold({ semid: `${set.id}`, ...permissions(set.stat()) }, told);
  // The last is the tag, which the class hides.
  assertEquals(Number(nsems), set.size + 1);
});

testWith([tool("ipcs")], "MessageQueue.stat() tells what ipcs tells", () => {
  using queue = MessageQueue.create({ maxBytes: 1000, mode: 0o640 });
  queue.sendSync("one");
  queue.sendSync("three");
  queue.receiveSync();
  const info = queue.stat();
  assertTold({
    msqid: `${queue.id}`,
    ...permissions(info),
    cbytes: `${info.bytes}`,
    qbytes: `${info.maxBytes}`,
    qnum: `${info.messages}`,
    lspid: `${info.lastSendPid}`,
    lrpid: `${info.lastReceivePid}`,
  }, ipcs("q", queue.id));
});

testWith([tool("ipcs")], "SharedMemory.stat() tells what ipcs tells", () => {
  using memory = SharedMemory.create({ size: 5000, mode: 0o640 });
  const told = ipcs("m", memory.id);
  // Now, as Node forks to start it: the child held the memory, and was its last process.
  const info = memory.stat();
  assertTold({
    shmid: `${memory.id}`,
    ...permissions(info),
    bytes: `${info.size}`,
    lpid: `${info.lastPid}`,
    cpid: `${info.creatorPid}`,
    nattch: `${info.attachments}`,
  }, told);
});
