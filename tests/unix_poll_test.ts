import { assert, assertEquals, assertRejects } from "@std/assert";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { devNull } from "node:os";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { IpcError } from "@sysv/ipc";
import {
  type Pipe,
  pipe,
  poll,
  type PollInterest,
  type PollRequest,
  pollSync,
} from "@sysv/ipc/unix";
import { assertTimeout, assertTimesOut, wrong } from "./support/assert.ts";
import { projectFile, run } from "./support/child.ts";
import { untilWatched } from "./support/observe.ts";
import { fill, pipes } from "./support/pipes.ts";
import { passed } from "./support/time.ts";

const forms = {
  poll: async (requests: readonly PollRequest[], options?: { timeout: number }) =>
    await poll(requests, options),
  pollSync: (requests: readonly PollRequest[], options?: { timeout: number }) =>
    pollSync(requests, options),
};

for (const [name, look] of Object.entries(forms)) {
  test(`${name}() tells which of several pipes are ready, and for what`, async () => {
    using all = pipes(4);
    const [empty, full, hung, broken] = all as unknown as [Pipe, Pipe, Pipe, Pipe];
    const hungFd = hung.reader.fd;
    fill(full);
    hung.writer.close();
    broken.reader.close();
    const requests: PollRequest[] = [
      { fd: empty.reader.fd },
      { fd: empty.writer.fd, events: "writable" },
      { fd: full.reader.fd, events: ["readable", "priority"] },
      { fd: full.writer.fd, events: ["writable"] },
      { fd: hungFd },
      { fd: broken.writer.fd, events: [] },
    ];
    assertEquals(await look(requests), [
      { fd: empty.writer.fd, events: ["writable"] },
      { fd: full.reader.fd, events: ["readable"] },
      { fd: hungFd, events: ["hangup"] },
      { fd: broken.writer.fd, events: ["error"] },
    ]);
  });

  test(`${name}() tells what is left to read along with the hangup`, async () => {
    using ends = pipe();
    ends.writer.writeSync("last");
    ends.writer.close();
    const { fd } = ends.reader;
    assertEquals(await look([{ fd }]), [{ fd, events: ["readable", "hangup"] }]);
  });

  test(`${name}() finds files and ${devNull} always ready`, async () => {
    for (const path of [devNull, fileURLToPath(import.meta.url)]) {
      const fd = openSync(path, "r");
      const events: PollInterest[] = ["readable", "writable"];
      assertEquals(await look([{ fd, events }]), [{ fd, events }]);
      closeSync(fd);
    }
  });

  test(`${name}() gives up when the time is up, with 0 after one look`, async () => {
    using ends = pipe();
    const { fd } = ends.reader;
    for (const timeout of [0, 0.5, 30]) {
      const start = performance.now();
      await assertTimesOut(() => look([{ fd }], { timeout }));
      assert(performance.now() - start >= timeout);
      await assertTimesOut(() => look([], { timeout }));
    }
    ends.writer.writeSync("x");
    assertEquals(await look([{ fd }], { timeout: 0 }), [{ fd, events: ["readable"] }]);
  });

  test(`${name}() fails with EBADF for a descriptor that is not open`, async () => {
    const closed = pipe();
    const numbers = [closed.reader.fd, 1_000_000];
    closed[Symbol.dispose]();
    using open = pipe();
    for (const fd of numbers) {
      if (fd === open.reader.fd || fd === open.writer.fd) continue;
      for (const requests of [[{ fd }], [{ fd: open.reader.fd }, { fd }]]) {
        const error = await assertRejects(async () => await look(requests), IpcError);
        assertEquals([error.code, error.syscall], ["EBADF", "poll"]);
      }
    }
  });

  test(`${name}() fails with EBADF for descriptor -1`, async () => {
    using open = pipe();
    for (const requests of [[{ fd: -1 }], [{ fd: open.reader.fd }, { fd: -1 }]]) {
      const error = await assertRejects(
        async () => await look(requests, { timeout: 30 }),
        IpcError,
      );
      assertEquals([error.code, error.syscall], ["EBADF", "poll"]);
    }
  });

  test(`${name}() refuses arguments that mean nothing`, async () => {
    using ends = pipe();
    const { fd } = ends.reader;
    for (const fd of wrong("3", undefined, null)) {
      await assertRejects(async () => await look([{ fd }]), TypeError);
    }
    for (const fd of [1.5, NaN, 2 ** 32]) {
      await assertRejects(async () => await look([{ fd }]), RangeError);
    }
    for (const events of wrong("hangup", "error", ["readable", "reading"], "")) {
      await assertRejects(async () => await look([{ fd, events }]), TypeError);
    }
    for (const timeout of [-1, NaN]) {
      await assertRejects(async () => await look([{ fd }], { timeout }), RangeError);
    }
  });

  test(`${name}() tells of a thousand pipes at once`, async () => {
    using all = pipes(1000);
    all.forEach(({ writer }, i) => i % 3 === 0 && writer.writeSync("x"));
    const requests = all.map(({ reader }) => ({ fd: reader.fd }));
    const expected = requests.filter((_, i) => i % 3 === 0).map(({ fd }) => ({
      fd,
      events: ["readable" as const],
    }));
    assertEquals(await look(requests), expected);
  });
}

test("poll() waits for any of a thousand pipes, and can again and again", async () => {
  using all = pipes(1000);
  const requests = all.map(({ reader }) => ({ fd: reader.fd }));
  for (const i of [999, 0, 500, 256]) {
    const ready = poll(requests);
    await untilWatched(all[i]!.reader.fd);
    all[i]!.writer.writeSync("x");
    assertEquals(await ready, [{ fd: all[i]!.reader.fd, events: ["readable"] }]);
    all[i]!.reader.readSync();
  }
});

test("poll() waits until there is room in a full pipe", async () => {
  using ends = pipe();
  fill(ends);
  const { fd } = ends.writer;
  const ready = poll([{ fd, events: "writable" }]);
  await untilWatched(fd);
  ends.reader.readSync(4096);
  assertEquals(await ready, [{ fd, events: ["writable"] }]);
});

test("pollSync() fails with EINTR when the program handles a signal, and goes on otherwise", async () => {
  const program = (listen: boolean) => `
    const { pipe, pollSync } = await import(${JSON.stringify(projectFile("unix/mod.ts"))});
    const { handlesSignals } = await import(${JSON.stringify(projectFile("wait/interrupt.ts"))});
    const ends = pipe();
    ${listen ? `process.on("SIGUSR1", () => {});` : ""}
    say("waiting");
    setTimeout(() => {
      try {
        pollSync([{ fd: ends.reader.fd }], { timeout: ${listen ? 20_000 : 300} });
      } catch (error) {
        // A runtime may handle signals for itself, once it runs for a while.
        const rightly = error.code === "EINTR" && handlesSignals();
        say(rightly ? "EINTR " + error.syscall : error.name);
        process.exit();
      }
    }, 50);`;
  for (const [listen, signal] of [[true, "SIGUSR1"], [false, "SIGCONT"]] as const) {
    await using child = run(program(listen));
    assertEquals(await child.hear(), "waiting");
    let ended = false;
    child.exit.then(() => ended = true);
    const sending = async () => {
      while (!ended) {
        process.kill(child.pid, signal);
        await passed(20);
      }
    };
    await Promise.all([sending().catch(() => {}), child.exit]);
    const outcomes = listen ? ["EINTR poll"] : ["TimeoutError", "EINTR poll"];
    const outcome = await child.hear();
    assert(outcomes.includes(outcome), outcome);
  }
});

/** The descriptors of this process that are sockets. */
const socketDescriptors = () =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
    } catch {
      return false;
    }
  }).map(Number);

test("pollSync() and poll() work on sockets", async () => {
  const before = socketDescriptors();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const fd = socketDescriptors().find((fd) => !before.includes(fd))!;
  try {
    await assertTimesOut(() => poll([{ fd }], { timeout: 5 }));
    assertTimeout(() => pollSync([{ fd }], { timeout: 5 }));
    await using child = run(
      `const { connect } = await import("node:net");
      const socket = connect(Number(args[0]), "127.0.0.1", () => say("connected"));
      await hear();
      socket.destroy();
      process.exit();`,
      {
        args: [(server.address() as AddressInfo).port],
        permissions: ["--allow-ffi", "--allow-net"],
      },
    );
    // This thread cannot accept it before it is told.
    assertEquals(pollSync([{ fd }]), [{ fd, events: ["readable"] }]);
    const [accepted] = await once(server, "connection") as [Socket];
    const known = [...before, fd];
    const connected = socketDescriptors().find((fd) => !known.includes(fd))!;
    const request: PollRequest = { fd: connected, events: ["readable", "writable"] };
    const [told] = await poll([request]);
    assertEquals(told?.events.includes("writable"), true);
    assertEquals(await child.hear(), "connected");
    accepted.destroy();
    child.say("end");
    await child.exit;
  } finally {
    server.close();
  }
});
