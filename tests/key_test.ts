import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { linkSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { ftok, keyOf, MessageQueue, Semaphore, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import { assertIpcError, wrong } from "./support/assert.ts";
import { otherRuntime, run } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";
import { temporaryFolder } from "./support/folder.ts";

/** A folder with a file in it, removed at the end of the block. */
function newFolder(): { folder: string; file: string } & Disposable {
  const folder = temporaryFolder();
  const file = join(folder.path, "file");
  writeFileSync(file, "");
  return { folder: folder.path, file, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

test("keyOf() gives what any language computes", () => {
  // python3 -c 'from hashlib import sha256; print(int.from_bytes(sha256(NAME.encode()).digest()[:4], "big") & 0x7fffffff or 1)'
  const vectors: Record<string, number> = {
    "gunicorn": 418763908,
    "a": 1251442962,
    "busy": 1237059375,
    "my-app/queue.1": 1738835716,
    "日本語": 2003897069,
    "ä": 870766399,
    "a\u0308": 622026016,
    " ": 917104625,
    "0": 1609362278,
    "\ufffd": 64308428,
    ["x".repeat(1000)]: 1157117252,
  };
  for (const [name, key] of Object.entries(vectors)) assertEquals(keyOf(name), key, name);
});

test("keyOf() is the first 4 bytes of SHA-256, big-endian, without the sign bit, and never 0", () => {
  for (let index = 0; index < 2000; index++) {
    const name = `name ${index} of many`;
    const [a, b, c, d] = createHash("sha256").update(name, "utf8").digest();
    const key = (a! & 0x7f) * 2 ** 24 + b! * 2 ** 16 + c! * 2 ** 8 + d!;
    assertEquals(keyOf(name), key === 0 ? 1 : key);
    assert(keyOf(name) >= 1 && keyOf(name) <= 0x7fffffff);
  }
});

test("keyOf() hashes a lone surrogate as the replacement character, as TextEncoder does", () => {
  assertEquals(keyOf("\ud800"), keyOf("\ufffd"));
});

test("keyOf() throws for an empty name and what is none", () => {
  for (const name of wrong("", undefined, null, 5, {}, ["a"])) {
    assertThrows(() => keyOf(name), TypeError, "Cannot make a key");
  }
});

test("programs of two runtimes meet at a name", async () => {
  const name = freshName();
  using queue = MessageQueue.create({ key: name });
  await using child = run(`say(ipc.keyOf(args[0]) + " " + MessageQueue.open(args[0]).id);`, {
    runtime: otherRuntime,
    args: [name],
  });
  assertEquals(await child.hear(), `${queue.key} ${queue.id}`);
});

test("a name and its number are one key, for every kind of object", () => {
  const name = freshName();
  const key = keyOf(name);
  using semaphore = Semaphore.create({ key: name });
  using queue = MessageQueue.create({ key: name });
  using memory = SharedMemory.create({ key: name, size: 10 });
  using sameSemaphore = Semaphore.open(key);
  using sameQueue = MessageQueue.open(key);
  using sameMemory = SharedMemory.open(key);
  assertEquals([sameSemaphore.id, sameQueue.id, sameMemory.id], [
    semaphore.id,
    queue.id,
    memory.id,
  ]);
  assertEquals([semaphore.key, queue.key, memory.key], [key, key, key]);
  assertEquals([semaphore.stat().key, queue.stat().key, memory.stat().key], [key, key, key]);
  assertEquals(libc.msgget(key, 0), queue.id);
});

test("a key above 2^31 is the negative one of the same bits", () => {
  const key = keyOf(freshName()) + 2 ** 31;
  using queue = MessageQueue.create({ key });
  assertEquals([queue.key, queue.stat().key], [key - 2 ** 32, key - 2 ** 32]);
  using same = MessageQueue.open(key - 2 ** 32);
  assertEquals([same.id, same.key], [queue.id, queue.key]);
});

test("what is no key is refused by every kind of object, before any call", () => {
  const uses: ((key: never) => unknown)[] = [
    (key) => Semaphore.create({ key }),
    (key) => Semaphore.open(key),
    (key) => Semaphore.openOrCreate(key),
    (key) => SemaphoreSet.create({ key, values: [1] }),
    (key) => SemaphoreSet.open(key),
    (key) => SemaphoreSet.openOrCreate(key, { values: [1] }),
    (key) => MessageQueue.create({ key }),
    (key) => MessageQueue.open(key),
    (key) => MessageQueue.openOrCreate(key),
    (key) => SharedMemory.create({ key, size: 1 }),
    (key) => SharedMemory.open(key),
    (key) => SharedMemory.openOrCreate(key, { size: 1 }),
  ];
  for (const use of uses) {
    for (const key of wrong(0, -0, NaN, Infinity, 1.5, 2 ** 32, -(2 ** 31) - 1)) {
      assertThrows(() => use(key), RangeError);
    }
    for (const key of wrong("", null, 5n, {}, [1], true)) assertThrows(() => use(key), TypeError);
  }
  assertThrows(() => MessageQueue.open(0), RangeError, "IPC_PRIVATE");
});

test("ftok() is made of the project, the device and the inode, as a signed number", () => {
  using place = newFolder();
  for (const path of [place.file, place.folder, "/", "/dev/null"]) {
    const { dev, ino } = statSync(path, { bigint: true });
    for (const project of [1, 80, 0x7f, 0x80, 0xff]) {
      const low = Number((dev & 0xffn) << 16n | ino & 0xffffn);
      const key = (project & 0xff) << 24 | low;
      assertEquals([ftok(path, project), libc.ftok(path, project)], [key, key]);
    }
  }
  assert(ftok("/", 0x80) < 0);
});

test("ftok() gives one key for a file by whatever path, and others for other projects", () => {
  using place = newFolder();
  const { folder, file } = place;
  linkSync(file, join(folder, "link"));
  symlinkSync(file, join(folder, "symlink"));
  mkdirSync(join(folder, "grüße"));
  const paths = [
    join(folder, "link"),
    join(folder, "symlink"),
    `${folder}/grüße/../file`,
    `${folder}//./file`,
  ];
  for (const path of paths) assertEquals(ftok(path, 7), ftok(file, 7));
  assertNotEquals(ftok(file, 8), ftok(file, 7));
  assertNotEquals(ftok(join(folder, "grüße"), 7), ftok(file, 7));
});

test("ftok() looks up a relative path in the working directory", () => {
  assertEquals(ftok(".", 1), ftok(process.cwd(), 1));
});

test("ftok() gives keys that objects take", () => {
  using place = newFolder();
  const key = ftok(place.file, 0xff);
  using queue = MessageQueue.create({ key });
  using same = MessageQueue.open(ftok(place.file, 0xff));
  assertEquals([queue.key, same.id], [key, queue.id]);
});

test("ftok() fails by code as stat does", () => {
  using place = newFolder();
  const { folder, file } = place;
  symlinkSync("loop", join(folder, "loop"));
  const failures = {
    [join(folder, "missing")]: ["ENOENT", "it does not exist"],
    "": ["ENOENT", "it does not exist"],
    [join(file, "below")]: ["ENOTDIR", "a part of the path is not a folder"],
    [join(folder, "loop")]: ["ELOOP", "too many symbolic links"],
    [join(folder, "x".repeat(300))]: ["ENAMETOOLONG", "too long"],
  };
  for (const [path, [code, reason]] of Object.entries(failures)) {
    const error = assertIpcError(() => ftok(path, 1), code!, "ftok");
    assert(error.message.includes(reason!), error.message);
    assertIpcError(() => libc.ftok(path, 1), code!, "ftok");
  }
  const error = assertIpcError(() => ftok("/missing file", 1), "ENOENT", "ftok");
  assert(error.message.includes('"/missing file"'), error.message);
});

test("ftok() fails with EACCES where a folder may not be searched", onlyRoot, async () => {
  using place = newFolder();
  await using child = run(
    `${privileges}
    becomeNobody();
    say(failure(() => ipc.ftok(args[0], 1)));
  `,
    { args: [place.file], permissions: ["--allow-all"] },
  );
  assertEquals(await child.hear(), "EACCES ftok");
});

test("ftok() throws for wrong paths and projects", () => {
  for (const project of [0, -1, 256, 1.5, NaN]) assertThrows(() => ftok("/", project), RangeError);
  for (const project of wrong("1", null, undefined, 1n)) {
    assertThrows(() => ftok("/", project), TypeError);
  }
  for (const path of wrong(undefined, null, 5, "/\0", new URL("file:///"))) {
    assertThrows(() => ftok(path, 1), TypeError);
  }
});
