import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import {
  IPC_CREAT,
  IPC_EXCL,
  IPC_INFO,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
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

import { freshKey, indexOf, limits, newSegment, proc } from "./support/libc.ts";

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
