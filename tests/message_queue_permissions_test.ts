import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { MessageQueue } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { run } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { onlyRoot, onlyUnshared, privileges } from "./support/privilege.ts";
import { drain, msgmnb } from "./support/queues.ts";

test("MessageQueue.setPermissions() changes the mode and the limit, and leaves out what is left out", () => {
  using queue = MessageQueue.create({ mode: 0o640, maxBytes: 1000 });
  queue.setPermissions({ mode: 0o600 });
  assertEquals([queue.stat().mode, queue.stat().maxBytes], [0o600, 1000]);
  queue.setPermissions({ maxBytes: 10 });
  assertEquals([queue.stat().mode, queue.stat().maxBytes], [0o600, 10]);
  assertIpcError(() => queue.trySend("eleven char"), "EINVAL", "msgsnd");
  queue.setPermissions({ maxBytes: msgmnb });
  assert(queue.trySend("eleven char"));
  queue.setPermissions({});
  assertEquals([queue.stat().mode, queue.stat().messages], [0o600, 1]);
});

test(
  "MessageQueue.setPermissions() gives the queue to another user, and the creator stays",
  onlyRoot,
  () => {
    using queue = MessageQueue.create();
    queue.setPermissions({ uid: 65534, gid: 65533 });
    const { uid, gid, creatorUid, mode } = queue.stat();
    assertEquals([uid, gid, creatorUid, mode], [65534, 65533, 0, 0o600]);
  },
);

test("MessageQueue takes no limit that the kernel would cut to 32 bits", () => {
  using queue = MessageQueue.create({ maxBytes: 500 });
  for (const maxBytes of [2 ** 32, 2 ** 32 + 100]) {
    assertThrows(() => queue.setPermissions({ maxBytes }), RangeError);
    assertThrows(() => MessageQueue.create({ maxBytes }), RangeError);
  }
  assertEquals(queue.stat().maxBytes, 500);
});

test(
  "MessageQueue.create() has the limit asked for, and leaves no queue behind when it may not",
  onlyRoot,
  async () => {
    using queue = MessageQueue.create({ maxBytes: 300 });
    assertEquals(queue.stat().maxBytes, 300);
    const key = freshName();
    await using child = run(
      `${privileges}
    becomeNobody();
    const [key, most] = [args[0], Number(args[1])];
    say(failure(() => MessageQueue.create({ key, maxBytes: most + 1 })));
    say(failure(() => MessageQueue.open(key)));
    try {
      MessageQueue.create({ key, maxBytes: most + 1 });
    } catch (error) {
      say(error.message);
    }
  `,
      { args: [key, msgmnb], permissions: ["--allow-all"] },
    );
    assertEquals(await child.hear(), "EPERM msgctl");
    assertEquals(await child.hear(), "ENOENT msgget");
    assertStringIncludes(await child.hear(), "MSGMNB");
  },
);

test(
  "MessageQueue obeys its mode: another user may do what it permits, and nothing more",
  onlyRoot,
  async () => {
    using secret = MessageQueue.create({ key: freshName(), mode: 0o600 });
    using readable = MessageQueue.create({ key: freshName(), mode: 0o604 });
    using writable = MessageQueue.create({ key: freshName(), mode: 0o602 });
    for (const queue of [secret, readable, writable]) queue.sendSync("first");
    await using child = run(
      `${privileges}
    becomeNobody();
    const [secret, readable, writable] = args.map(Number);
    say(failure(() => MessageQueue.open(secret)));
    const reader = MessageQueue.open(readable);
    say(failure(() => reader.tryReceive().text()));
    say(failure(() => reader.trySend("x")));
    const writer = MessageQueue.open(writable);
    say(String(failure(() => writer.trySend("second"))));
    say(failure(() => writer.tryReceive()));
    say(failure(() => writer.peek()));
    say(failure(() => writer.stat()));
    say(failure(() => reader.setPermissions({ mode: 0o666 })));
    say(failure(() => reader.remove()));
    say(failure(() => MessageQueue.openOrCreate(readable)));
    say(String(MessageQueue.openOrCreate(readable, { allowForeign: true }).id));
  `,
      { args: [secret.key!, readable.key!, writable.key!], permissions: ["--allow-all"] },
    );
    const answers = [
      "EACCES msgget",
      "first",
      "EACCES msgsnd",
      "true",
      "EACCES msgrcv",
      "EACCES msgrcv",
      "EACCES msgctl",
      "EPERM msgctl",
      "EPERM msgctl",
      "EPERM msgget",
      `${readable.id}`,
    ];
    for (const answer of answers) assertEquals(await child.hear(), answer);
    assertEquals(drain(writable), ["1:first", "1:second"]);
    assertEquals(drain(secret), ["1:first"]);
  },
);

test(
  "MessageQueue.setPermissions() lets its owner back in after the mode has shut everyone out",
  onlyRoot,
  async () => {
    await using child = run(
      `${privileges}
    becomeNobody();
    using queue = MessageQueue.create({ mode: 0 });
    say(failure(() => queue.trySend("x")));
    say(String(failure(() => queue.setPermissions({ mode: 0o600 }))));
    say(String(failure(() => queue.trySend("x"))));
  `,
      { permissions: ["--allow-all"] },
    );
    assertEquals(await child.hear(), "EACCES msgsnd");
    assertEquals(await child.hear(), "undefined");
    assertEquals(await child.hear(), "true");
    assertEquals((await child.exit).code, 0);
  },
);

test("MessageQueue tells which limit of the system is reached", onlyUnshared, async () => {
  await using child = run(
    `${privileges}
    leaveNamespace();
    limit("msgmni", 1);
    using queue = MessageQueue.create();
    try {
      MessageQueue.create();
    } catch (error) {
      say(error.code + " " + error.syscall);
      say(error.message);
    }
  `,
    { permissions: ["--allow-all"] },
  );
  assertEquals(await child.hear(), "ENOSPC msgget");
  const message = await child.hear();
  for (const word of ["MSGMNI", "1 queues", "ipcs -q", "ipcrm -q"]) {
    assertStringIncludes(message, word);
  }
});
