import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { devNull } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { makeFifo, openFifo } from "@sysv/ipc/unix";
import { assertIpcError, assertTimeout, assertTimesOut, wrong } from "./support/assert.ts";
import { Child, runtimes } from "./support/child.ts";
import {
  assertIpcRejection,
  folder,
  freshPath,
  openDescriptors,
  runWith,
  text,
} from "./support/pipe_ends.ts";
import { passed, until } from "./support/time.ts";

test("makeFifo() makes a FIFO for its owner, and fails where something is", () => {
  const path = freshPath();
  makeFifo(path);
  const stat = statSync(path);
  assertEquals([stat.isFIFO(), stat.mode & 0o777], [true, 0o600]);
  assertIpcError(() => makeFifo(path), "EEXIST", "mkfifo");
  assertIpcError(() => makeFifo(join(freshPath(), "x")), "ENOENT", "mkfifo");
  assertThrows(() => makeFifo(path, { mode: 0o1000 }), RangeError);
  for (const path of wrong("", "a\0b", 1)) assertThrows(() => makeFifo(path), TypeError);
  const wider = freshPath();
  makeFifo(wider, { mode: 0o640 });
  assertEquals(statSync(wider).mode & 0o777, 0o640 & ~process.umask());
});

test("A reader of a FIFO waits for its writers, and finds an end after each", async () => {
  const path = freshPath();
  makeFifo(path);
  using reader = await openFifo(path, "read");
  assertStrictEquals(reader.tryRead(), undefined);
  assertTimeout(() => reader.readSync(1, { timeout: 5 }));
  const first = reader.read();
  (await openFifo(path, "write")).close();
  assertStrictEquals(await first, null);
  for (const words of ["first", "second"]) {
    {
      using writer = await openFifo(path, "write");
      writer.writeSync(words);
      assertEquals(text(await reader.read()), words);
      assertStrictEquals(reader.tryRead(), undefined);
    }
    assertStrictEquals(await reader.read(), null);
  }
});

test("openFifo() waits for a reader before it writes, until its time is up or it is aborted", async () => {
  const path = freshPath();
  makeFifo(path);
  const before = openDescriptors();
  await assertTimesOut(() => openFifo(path, "write", { timeout: 30 }));
  await assertTimesOut(() => openFifo(path, "write", { timeout: 0 }));
  const controller = new AbortController();
  const open = openFifo(path, "write", { signal: controller.signal });
  await passed(5);
  controller.abort("enough");
  assertEquals(await open.catch((reason) => reason), "enough");
  assertEquals(
    await openFifo(path, "write", { signal: controller.signal }).catch((reason) => reason),
    "enough",
  );
  await until(() => openDescriptors() <= before);
  const later = openFifo(path, "write");
  await passed(5);
  using reader = await openFifo(path, "read");
  using writer = await later;
  writer.writeSync("x");
  assertEquals(text(await reader.read()), "x");
});

test("openFifo() fails where there is none, or this user may not", async () => {
  for (const end of ["read", "write"] as const) {
    const open = (path: string) =>
      end === "read" ? openFifo(path, "read") : openFifo(path, "write");
    await assertIpcRejection(() => open(freshPath()), "ENOENT", "open");
    await assertRejects(() => open(""), TypeError);
    const before = openDescriptors();
    const file = freshPath();
    writeFileSync(file, "precious");
    await assertIpcRejection(() => open(file), "EINVAL", "open");
    await assertIpcRejection(() => open(folder), end === "read" ? "EINVAL" : "EISDIR", "open");
    await assertIpcRejection(() => open(devNull), "EINVAL", "open");
    assertEquals(readFileSync(file, "utf8"), "precious");
    // What others opened before may be closed by now.
    assert(openDescriptors() <= before);
  }
  for (const end of wrong("rw", "w", "", undefined, 1)) {
    await assertRejects(() => openFifo(freshPath(), end), TypeError, `expected "read" or "write"`);
  }
});

test("Unrelated programs meet at a FIFO", async () => {
  const path = freshPath();
  makeFifo(path);
  await using cat = new Child(["cat", path]);
  {
    using writer = await openFifo(path, "write");
    await writer.write("from here\n");
  }
  assertEquals(await cat.hear(), "from here");
  // While it reads, what others write may be its.
  assertEquals((await cat.exit).code, 0);
  await using echo = new Child(["sh", "-c", `echo from there > ${path}`]);
  using reader = await openFifo(path, "read");
  assertEquals(text(await reader.read()), "from there\n");
  assertEquals((await echo.exit).code, 0);
  for (const runs of runtimes) {
    await using child = runWith(
      [],
      `using writer = await openFifo(${JSON.stringify(path)}, "write");
      await writer.write("from ${runs}");
      say("written");`,
      runs,
    );
    assertEquals(await child.hear(), "written");
    assertEquals(text(await reader.read()), `from ${runs}`);
    assertEquals((await child.exit).code, 0);
  }
});
