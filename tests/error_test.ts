import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { IpcError, keyOf, MessageQueue, Semaphore, SharedMemory } from "@sysv/ipc";
import { assertIpcError } from "./support/assert.ts";
import { errors } from "../ffi/constants.ts";
import { reasonOf } from "../ffi/error.ts";
import { Child, command, projectFile, run, runtime } from "./support/child.ts";
import { freshName } from "./support/objects.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";
import { temporaryFolder } from "./support/folder.ts";
import { oldNode } from "./support/old_nodes.ts";

const kinds = [
  { Kind: Semaphore, name: "Semaphore", noun: "semaphore", call: "sem", options: {} },
  { Kind: MessageQueue, name: "MessageQueue", noun: "message queue", call: "msg", options: {} },
  {
    Kind: SharedMemory,
    name: "SharedMemory",
    noun: "shared memory",
    call: "shm",
    options: { size: 1 },
  },
] as const;

test("IpcError has the fields of Node's system errors", () => {
  const key = freshName();
  const error = assertIpcError(() => Semaphore.open(key), "ENOENT", "semget");
  assert(error instanceof Error && error instanceof IpcError);
  assertEquals(
    { ...error },
    { name: "IpcError", code: "ENOENT", errno: 2, syscall: "semget", key: keyOf(key) } as IpcError,
  );
  assertStringIncludes(error.stack!, error.message);
});

test("IpcError has the identifier where it is known, and no key where there is none", () => {
  using semaphore = Semaphore.create({ value: 32767 });
  const error = assertIpcError(() => semaphore.increment(), "ERANGE", "semop");
  assertEquals([error.errno, error.id], [34, semaphore.id]);
  assert(!("key" in error));
});

test("IpcError has identifier and key of an object that has both", () => {
  const key = freshName();
  using semaphore = Semaphore.create({ key, value: 32767 });
  const error = assertIpcError(() => semaphore.increment(), "ERANGE", "semop");
  assertEquals([error.id, error.key], [semaphore.id, keyOf(key)]);
});

test("IpcError can be made by programs, with a cause", () => {
  const cause = new Error("below");
  const error = new IpcError("Cannot go on", 13, { syscall: "semop", id: 0, cause });
  assertEquals([error.code, error.message, error.id, error.cause], [
    "EACCES",
    "Cannot go on",
    0,
    cause,
  ]);
  assertEquals(new IpcError("Cannot go on", 4000, { syscall: "semop" }).code, "E4000");
});

test("The message of an error says what was tried, on what, and why it failed", () => {
  const key = freshName();
  const shown = `semaphore "${key}" (0x${keyOf(key).toString(16).padStart(8, "0")})`;
  const absent = assertIpcError(() => Semaphore.open(key), "ENOENT", "semget");
  assertEquals(absent.message, `Cannot open ${shown}: it does not exist`);
  using full = Semaphore.create({ key, value: 32767 });
  const taken = assertIpcError(() => Semaphore.create({ key }), "EEXIST", "semget");
  assertStringIncludes(taken.message, `Cannot create ${shown}: it exists already: openOrCreate()`);
  assertStringIncludes(taken.message, "ipcrm -S 0x");
  const over = assertIpcError(() => full.increment(3), "ERANGE", "semop");
  assertMatch(over.message, /^Cannot increment semaphore "test .*" \(0x.*\) by 3: .*32767$/);
});

for (const { Kind, name, call, options } of kinds) {
  test(`${name}.open() of nothing fails with ENOENT`, () => {
    const key = freshName();
    const error = assertIpcError(() => Kind.open(key), "ENOENT", `${call}get`);
    assertEquals(error.key, keyOf(key));
    assertStringIncludes(error.message, "it does not exist");
  });

  test(`${name}.create() of a key that is taken fails with EEXIST`, () => {
    const key = freshName();
    using _first = Kind.create({ key, ...options as { size: number } });
    const error = assertIpcError(
      () => Kind.create({ key, ...options as { size: number } }),
      "EEXIST",
      `${call}get`,
    );
    assertEquals(error.key, keyOf(key));
    assertStringIncludes(error.message, "it exists already");
  });

  test(`${name}.fromId() of a removed object fails with EIDRM`, () => {
    const object = Kind.create(options as { size: number });
    object[Symbol.dispose]();
    const error = assertIpcError(() => Kind.fromId(object.id), "EIDRM", `${call}ctl`);
    assertEquals(error.id, object.id);
  });
}

test("remove() of what another has removed fails with EIDRM", () => {
  for (const { Kind, noun, call } of kinds.slice(0, 2)) {
    using object = Kind.create({ size: 1 });
    Kind.fromId(object.id).remove();
    const error = assertIpcError(() => object.remove(), "EIDRM", `${call}ctl`);
    assertMatch(error.message, new RegExp(`^Cannot remove ${noun} ${object.id}: it was removed$`));
  }
});

const NOBODY = 65534;

const told = `
  const tell = (use) => {
    try {
      use();
      say("done");
    } catch (error) {
      say(error.code + " " + error.syscall);
    }
  };
`;

test(
  "An unprivileged user gets EACCES for another's objects, at open already",
  onlyRoot,
  async () => {
    const key = freshName();
    using semaphore = Semaphore.create({ key });
    using queue = MessageQueue.create({ key });
    using memory = SharedMemory.create({ key, size: 1 });
    await using child = run(
      `${privileges}
    ${told}
    becomeNobody();
    const [key, semaphore, queue, memory] = args;
    tell(() => Semaphore.open(key));
    tell(() => MessageQueue.open(key));
    tell(() => SharedMemory.open(key));
    tell(() => Semaphore.openOrCreate(key));
    tell(() => MessageQueue.openOrCreate(key));
    tell(() => SharedMemory.openOrCreate(key, { size: 1 }));
    tell(() => Semaphore.fromId(Number(semaphore)));
    tell(() => SharedMemory.fromId(Number(memory)));
    tell(() => MessageQueue.fromId(Number(queue)).tryReceive());
    tell(() => MessageQueue.fromId(Number(queue)).remove());
  `,
      { args: [key, semaphore.id, queue.id, memory.id] },
    );
    const expected = [
      "EACCES semget",
      "EACCES msgget",
      "EACCES shmget",
      "EACCES semget",
      "EACCES msgget",
      "EACCES shmget",
      "EACCES semctl",
      "EACCES shmctl",
      "EACCES msgrcv",
      "EPERM msgctl",
    ];
    for (const line of expected) assertEquals(await child.hear(), line);
  },
);

test(
  "A user who may only read a semaphore can read and wait for zero, and nothing more",
  onlyRoot,
  async () => {
    const key = freshName();
    using semaphore = Semaphore.create({ key, mode: 0o644 });
    await using child = run(
      `${privileges}
    ${told}
    becomeNobody();
    const semaphore = Semaphore.open(args[0]);
    tell(() => semaphore.value);
    tell(() => semaphore.waiting);
    tell(() => semaphore.stat());
    tell(() => semaphore.waitForZeroSync());
    tell(() => semaphore.increment());
    tell(() => semaphore.tryDecrement());
    tell(() => semaphore.tryAcquire());
    tell(() => semaphore.value = 3);
    tell(() => semaphore.setPermissions({ mode: 0o666 }));
    tell(() => semaphore.remove());
  `,
      { args: [key] },
    );
    const expected = [
      "done",
      "done",
      "done",
      "done",
      "EACCES semop",
      "EACCES semop",
      "EACCES semop",
      "EACCES semctl",
      "EPERM semctl",
      "EPERM semctl",
    ];
    for (const line of expected) assertEquals(await child.hear(), line);
    assertEquals(semaphore.value, 0);
  },
);

test(
  "setPermissions() hands an object to another user, who may then remove it",
  onlyRoot,
  async () => {
    using semaphore = Semaphore.create();
    semaphore.setPermissions({ uid: NOBODY, gid: NOBODY, mode: 0o640 });
    const { uid, gid, mode, creatorUid } = semaphore.stat();
    assertEquals([uid, gid, mode, creatorUid], [NOBODY, NOBODY, 0o640, process.geteuid!()]);
    await using child = run(
      `${privileges}
    ${told}
    becomeNobody();
    const semaphore = Semaphore.fromId(Number(args[0]));
    tell(() => semaphore.increment());
    tell(() => semaphore.remove());
  `,
      { args: [semaphore.id] },
    );
    assertEquals([await child.hear(), await child.hear()], ["done", "done"]);
    assertIpcError(() => semaphore.value, "EIDRM", "semctl");
  },
);

const classes = `
  import { MessageQueue, Semaphore, SemaphoreSet, SharedMemory } from ${
  JSON.stringify(projectFile("mod.ts"))
};
  void [MessageQueue, Semaphore, SemaphoreSet, SharedMemory];
`;

const ownUsers = ["--user", "--map-root-user", "--ipc"];
const skipUsers = spawnSync("unshare", [...ownUsers, "true"]).status === 0
  ? false
  : "this system does not let us have a user namespace of our own";

test(
  "setPermissions() refuses a user whom the user namespace does not know, and the object stays",
  { skip: skipUsers },
  async () => {
    await using child = runBy(
      ["unshare", ...ownUsers],
      `${classes}
      using semaphore = Semaphore.create({ value: 3 });
      using queue = MessageQueue.create();
      using memory = SharedMemory.create({ size: 1 });
      for (const object of [semaphore, queue, memory]) {
        try {
          object.setPermissions({ uid: 4711 });
        } catch (error) {
          console.log([error.code, error.syscall, error.message, object.stat().uid].join("|"));
        }
      }
    `,
    );
    for (const { call } of kinds) {
      const [code, syscall, message, uid] = (await child.hear()).split("|");
      assertEquals([code, syscall, uid], ["EINVAL", `${call}ctl`, "0"]);
      assertStringIncludes(message!, "does not know the user or the group");
    }
  },
);

/** A program in an IPC namespace of its own, with limits of its own. */
const skipNamespace = spawnSync("unshare", ["--ipc", "true"]).status === 0
  ? false
  : "this system does not let us have an IPC namespace of our own";

const limits = [{
  limit: "SEMMNI",
  file: "sem",
  value: "250 32000 100 2",
  make: "Semaphore.create()",
  syscall: "semget",
  says: [/\b2\b.* sets/, /SEMMNI/, /"ipcs -s"/, /"ipcrm -s ID"/],
}, {
  limit: "SEMMNS",
  file: "sem",
  value: "250 7 100 100",
  make: "SemaphoreSet.create({ values: [1, 2] })",
  syscall: "semget",
  says: [/\b6\b.*\b7 semaphores/, /SEMMNS/, /"ipcs -s"/, /"ipcrm -s ID"/],
}, {
  limit: "MSGMNI",
  file: "msgmni",
  value: "2",
  make: "MessageQueue.create()",
  syscall: "msgget",
  says: [/\b2\b.* queues/, /MSGMNI/, /"ipcs -q"/, /"ipcrm -q ID"/],
}, {
  limit: "SHMMNI",
  file: "shmmni",
  value: "2",
  make: "SharedMemory.create({ size: 1 })",
  syscall: "shmget",
  says: [/\b2\b.* segments/, /SHMMNI/, /"ipcs -m"/, /"ipcrm -m ID"/],
}, {
  limit: "SHMALL",
  file: "shmall",
  value: "2",
  make: "SharedMemory.create({ size: 4096 })",
  syscall: "shmget",
  says: [/\b2\b.* pages/, /SHMALL/, /"ipcs -m"/, /"ipcrm -m ID"/],
}];

for (const { limit, file, value, make, syscall, says } of limits) {
  test(
    `ENOSPC names ${limit}, its value and how to see what leaked`,
    { skip: skipNamespace },
    async () => {
      await using child = runLimited(
        file,
        value,
        `
      try {
        for (let i = 0; i < 3; i++) ${make};
      } catch (error) {
        console.log([error.code, error.syscall, error.message].join("|"));
      }
    `,
      );
      const [code, call, message] = (await child.hear()).split("|");
      assertEquals([code, call], ["ENOSPC", syscall]);
      for (const words of says) assertMatch(message!, words);
    },
  );
}

test(
  "ENOSPC leaves nothing behind, and what is freed can be made again",
  { skip: skipNamespace },
  async () => {
    await using child = runLimited(
      "sem",
      "250 32000 100 1",
      `
    const first = Semaphore.create({ key: "first" });
    const codes = ["one", "two"].map((key) => {
      try {
        Semaphore.openOrCreate(key);
      } catch (error) {
        return error.code;
      }
    });
    first.remove();
    console.log([...codes, Semaphore.openOrCreate("one", { value: 4 }).value].join());
  `,
    );
    assertEquals(await child.hear(), "ENOSPC,ENOSPC,4");
  },
);

test("An object whose identifier is 0 works like any other", { skip: skipNamespace }, async () => {
  await using child = runLimited(
    "sem",
    "250 32000 100 2",
    `
    const semaphore = Semaphore.create({ value: 3 });
    const same = Semaphore.fromId(0);
    same.acquireSync(2).release();
    same.decrementSync();
    const { id, value } = semaphore;
    semaphore.remove();
    try {
      same.value;
    } catch (error) {
      console.log([id, value, error.code, error.id].join());
    }
  `,
  );
  assertEquals(await child.hear(), "0,2,EIDRM,0");
});

test("Importing needs no permission, and the first use of the kernel asks for --allow-ffi", async () => {
  const program = `
    say(ipc.keyOf("gunicorn"));
    for (const use of [
      () => Semaphore.open("x"), () => MessageQueue.open("x"), () => SharedMemory.fromId(0),
      () => libc.semget(0, 1, 0o600),
    ]) {
      try {
        use();
      } catch (error) {
        say(error.name + ": " + error.message);
      }
    }
  `;
  // Without any flag, Deno's node:child_process would hand on all permissions of this process.
  for (const permissions of [["--deny-net"], ["--allow-ffi=/usr/lib"]]) {
    await using child = run(program, { runtime: "deno", permissions });
    assertEquals(await child.hear(), String(keyOf("gunicorn")));
    for (let use = 0; use < 4; use++) {
      const message = await child.hear();
      assertStringIncludes(message, "NotCapable: Cannot");
      assertStringIncludes(message, "--allow-ffi");
    }
  }
});

const node = oldNode();

test(
  "Importing works in older Nodes, and the first call says which runtimes will do",
  { skip: node === undefined && "this system has no older Node" },
  () => {
    using folder = temporaryFolder();
    const [source, bundle] = [join(folder.path, "program.ts"), join(folder.path, "program.mjs")];
    writeFileSync(
      source,
      `
        import { keyOf, Semaphore } from ${JSON.stringify(projectFile("mod.ts"))};
        import { semget } from ${JSON.stringify(projectFile("ffi/libc/mod.ts"))};
        import { Mutex } from ${JSON.stringify(projectFile("sync/mod.ts"))};
        import { pipe } from ${JSON.stringify(projectFile("unix/mod.ts"))};
        console.log(keyOf("gunicorn"));
        for (const use of [() => Semaphore.create(), () => semget(0, 1, 0), () => Mutex.create(), pipe]) {
          try {
            use();
          } catch (error) {
            console.log(error.message);
          }
        }
      `,
    );
    const [bun] = command(source, "bun");
    const built = spawnSync(bun!, ["build", source, "--target=node", `--outfile=${bundle}`]);
    assertEquals(built.status, 0, String(built.stderr));
    const { stdout, stderr } = spawnSync(node!, [bundle], { encoding: "utf8" });
    const [, version] = spawnSync(node!, ["--version"], { encoding: "utf8" }).stdout.split(/v|\n/);
    const refusal =
      `Cannot call libc in Node ${version}: run with Deno 2.7.6 or Bun 1.4.0 or Node 26.9.0, or newer\n`;
    assertEquals(stdout, `${keyOf("gunicorn")}\n${refusal.repeat(4)}`, stderr);
  },
);

/** Runs a program in an IPC namespace of its own with one limit of its own. */
function runLimited(limit: string, value: string, program: string): Child {
  const script = `echo "${value}" > /proc/sys/kernel/${limit} && exec "$@"`;
  return runBy(["unshare", "--ipc", "sh", "-c", script, "sh"], classes + program);
}

/** Lets another command run a program, which imports what it needs. */
function runBy(words: readonly string[], program: string): Child {
  const folder = temporaryFolder();
  const file = join(folder.path, "program.ts");
  writeFileSync(file, program);
  const child = new Child([...words, ...command(file)]);
  child.exit.finally(() => folder[Symbol.dispose]());
  return child;
}

test("The reasons of errors say what helps", () => {
  assertStringIncludes(reasonOf(errors.ENOMEM, "shmat"), "vm.max_map_count");
  assertEquals(reasonOf(errors.EINTR).includes("Ctrl-Z"), runtime === "deno");
  assertStringIncludes(reasonOf(errors.E2BIG, "msgrcv"), "stays in the queue");
  assertStringIncludes(reasonOf(errors.ERANGE, "semop"), "0 to 32767");
  assertEquals(reasonOf(4000), "error 4000");
});
