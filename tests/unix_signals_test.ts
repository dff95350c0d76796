import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { constants } from "node:os";
import process from "node:process";
import { test } from "node:test";
import { kill, type SignalName, signals, sigwait } from "@sysv/ipc/unix";
import { assertTimesOut, wrong } from "./support/assert.ts";
import { projectFile, runtime, runtimes } from "./support/child.ts";
import { runWorkers } from "./support/observe.ts";
import { assertHears, start } from "./support/signals.ts";
import { passed, until } from "./support/time.ts";

const soak = process.env.IPC_TEST_SOAK === "1";

/** Sends this process a signal; it comes when the event loop goes on. */
const toSelf = (signal: SignalName) => kill(process.pid, signal);

test("SignalWatcher.next() gives the signals that came, and waits for those to come", async () => {
  using watcher = signals("SIGUSR1", "SIGUSR2");
  assertStrictEquals(watcher.tryNext(), undefined);
  toSelf("SIGUSR2");
  assertEquals(await watcher.next(), "SIGUSR2");
  const next = watcher.next();
  toSelf("SIGUSR1");
  assertEquals(await next, "SIGUSR1");
  assertStrictEquals(watcher.tryNext(), undefined);
});

test("A SignalWatcher keeps what comes until it is asked for", async () => {
  using watcher = signals("SIGUSR1", "SIGUSR2");
  using witness = signals("SIGUSR1", "SIGUSR2");
  const sent: SignalName[] = [];
  for (let i = 0; i < 20; i++) {
    const signal = i % 3 === 0 ? "SIGUSR1" : "SIGUSR2";
    toSelf(signal);
    assertEquals(await witness.next(), signal);
    sent.push(signal);
  }
  const came = sent.map((_, i) => i % 2 === 0 ? watcher.tryNext() : watcher.next());
  assertEquals(await Promise.all(came), sent);
  assertStrictEquals(watcher.tryNext(), undefined);
});

test("Waiting for a signal ends when the time is up or it is aborted, and loses none", async () => {
  using watcher = signals("SIGUSR1");
  for (const timeout of [0, 0.5, 20]) {
    const start = performance.now();
    await assertTimesOut(() => watcher.next({ timeout }));
    assert(performance.now() - start >= timeout);
  }
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error("enough");
  const waits = [watcher.next({ signal }), watcher.next(), watcher.next({ signal })];
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waits[0]!), reason);
  assertStrictEquals(await assertRejects(() => waits[2]!), reason);
  toSelf("SIGUSR1");
  assertEquals(await waits[1], "SIGUSR1");
  assertStrictEquals(await assertRejects(() => watcher.next({ signal })), reason);
  for (const timeout of [-1, NaN]) await assertRejects(() => watcher.next({ timeout }), RangeError);
});

test("Waits for signals that end at random moments lose none and double none", async () => {
  using watcher = signals("SIGUSR1");
  using witness = signals("SIGUSR1");
  for (let i = 0; i < 200; i++) {
    const controller = new AbortController();
    const next = watcher.next({ signal: controller.signal }).catch((reason) => {
      assertEquals(reason, "enough");
      return watcher.next({ timeout: 20_000 });
    });
    if (i % 3 === 0) setTimeout(() => controller.abort("enough"), Math.random() * 2);
    else if (i % 3 === 1) controller.abort("enough");
    toSelf("SIGUSR1");
    await witness.next();
    assertEquals(await next, "SIGUSR1");
    controller.abort("enough");
    assertStrictEquals(watcher.tryNext(), undefined);
  }
});

test("Each of several waits of one watcher gets a signal of its own, in their order", async () => {
  using watcher = signals("SIGUSR1", "SIGUSR2");
  const waits = [watcher.next(), watcher.next()];
  toSelf("SIGUSR1");
  assertEquals(await waits[0], "SIGUSR1");
  toSelf("SIGUSR2");
  assertEquals(await waits[1], "SIGUSR2");
});

test("Every watcher and every listener of the program gets each signal", async () => {
  using first = signals("SIGUSR1");
  using second = signals("SIGUSR1");
  let heard = 0;
  const listener = () => heard++;
  process.on("SIGUSR1", listener);
  toSelf("SIGUSR1");
  assertEquals([await first.next(), await second.next(), heard], ["SIGUSR1", "SIGUSR1", 1]);
  first[Symbol.dispose]();
  toSelf("SIGUSR1");
  assertEquals([await second.next(), heard], ["SIGUSR1", 2]);
  process.off("SIGUSR1", listener);
});

test("All watchers of a signal are one listener of the process, which so warns of none", async () => {
  const watchers = Array.from({ length: 12 }, () => signals("SIGUSR2"));
  assertEquals(process.listenerCount("SIGUSR2"), 1);
  toSelf("SIGUSR2");
  for (const watcher of watchers) assertEquals(await watcher.next(), "SIGUSR2");
  const last = watchers.pop()!;
  for (const watcher of watchers) watcher[Symbol.dispose]();
  toSelf("SIGUSR2");
  assertEquals(await last.next(), "SIGUSR2");
  last[Symbol.dispose]();
  assertEquals(process.listenerCount("SIGUSR2"), 0);
});

test("A Worker hears signals in Deno, and is refused to listen in Bun", async () => {
  await using child = runWorkers(`
    const worker = start(\`
      const { kill, signals } = await import("${new URL("../unix/mod.ts", import.meta.url)}");
      try {
        using watcher = signals("SIGUSR2");
        kill(\${process.pid}, "SIGUSR2");
        parentPort.postMessage(await watcher.next());
      } catch (error) {
        parentPort.postMessage(error.message);
      }
    \`);
    tell(await message(worker));
    process.exit();
  `);
  const told = await child.hear();
  if (runtime === "deno") assertEquals(told, "SIGUSR2");
  else assertStringIncludes(told, "listen on the main thread");
});

test("Iterating over a watcher gives the signals as they come, until it is disposed", async () => {
  const watcher = signals("SIGUSR1", "SIGUSR2");
  const came: SignalName[] = [];
  const iteration = (async () => {
    for await (const signal of watcher) came.push(signal);
  })();
  for (const [i, signal] of (["SIGUSR2", "SIGUSR1", "SIGUSR2"] as const).entries()) {
    toSelf(signal);
    await until(() => came.length === i + 1);
  }
  assertEquals(came, ["SIGUSR2", "SIGUSR1", "SIGUSR2"]);
  watcher[Symbol.dispose]();
  await iteration;
});

test("A disposed watcher throws a ReferenceError, and so do the waits for it", async () => {
  const watcher = signals("SIGUSR1");
  const waits = [watcher.next(), watcher.next({ timeout: 60_000 })];
  watcher[Symbol.dispose]();
  watcher[Symbol.dispose]();
  for (const wait of waits) await assertRejects(() => wait, ReferenceError, "disposed");
  await assertRejects(() => watcher.next(), ReferenceError, "disposed");
  assertThrows(() => watcher.tryNext(), ReferenceError, "disposed");
  assertEquals(process.listenerCount("SIGUSR1"), 0);
});

test("signals() refuses what no program can catch, and what is no signal", async () => {
  const crashes = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"] as const;
  for (const name of ["SIGKILL", "SIGSTOP", ...crashes, "SIGURG", "SIGPWR"] as const) {
    assertThrows(() => signals("SIGUSR1", name), RangeError);
    await assertRejects(() => sigwait([name]), RangeError);
  }
  for (
    const name of wrong(
      "SIGFOO",
      "SIG",
      "sigusr1",
      "USR1",
      "",
      "constructor",
      "toString",
      "__proto__",
    )
  ) {
    assertThrows(() => signals("SIGUSR1", name)[Symbol.dispose](), RangeError);
    assertThrows(() => toSelf(name), RangeError);
  }
  for (const name of wrong(10, null, ["SIGUSR1"], true)) {
    assertThrows(() => signals("SIGUSR1", name)[Symbol.dispose](), TypeError);
    assertThrows(() => toSelf(name), TypeError);
  }
  assertThrows(() => signals(), TypeError);
  await assertRejects(() => sigwait([]), TypeError);
  for (const names of wrong("SIGUSR1", undefined)) {
    await assertRejects(() => sigwait(names), TypeError, "expected an array");
  }
  assertEquals(process.listenerCount("SIGUSR1"), 0);
});

test("sigwait() gives the signal that came, and stops listening", async () => {
  const wait = sigwait(["SIGUSR1", "SIGUSR2"]);
  toSelf("SIGUSR2");
  assertEquals(await wait, "SIGUSR2");
  assertEquals([process.listenerCount("SIGUSR1"), process.listenerCount("SIGUSR2")], [0, 0]);
  await assertTimesOut(() => sigwait(["SIGUSR1"], { timeout: 5 }));
  const reason = new Error("enough");
  const early = sigwait(["SIGUSR1"], { signal: AbortSignal.abort(reason) });
  assertStrictEquals(await assertRejects(() => early), reason);
  assertEquals(process.listenerCount("SIGUSR1"), 0);
});

for (const runs of runtimes) {
  const count = soak ? 10_000 : 1000;

  test(`${count} signals that a process in ${runs} acknowledges one by one all come, and none twice`, async () => {
    await using child = start(
      `const watcher = signals("SIGUSR1", "SIGUSR2");
      const parent = Number(args[0]);
      say("ready");
      for (;;) {
        const name = await watcher.next();
        if (watcher.tryNext() !== undefined) throw new Error("one too many");
        kill(parent, name);
      }`,
      runs,
      [process.pid],
    );
    using watcher = signals("SIGUSR1", "SIGUSR2");
    await assertHears(child, "ready");
    for (let i = 0; i < count; i++) {
      const signal = i % 3 === 0 ? "SIGUSR1" : "SIGUSR2";
      kill(child.pid, signal);
      assertEquals(await watcher.next({ timeout: 20_000 }), signal);
    }
    assertStrictEquals(watcher.tryNext(), undefined);
    assertEquals(child.stderr, "");
  });

  test(`Of signals in bursts a process in ${runs} sees at least one of each kind, and not more than were sent`, async () => {
    await using child = start(
      `using watcher = signals("SIGUSR1", "SIGUSR2", "SIGHUP");
      say("ready");
      const counts = { SIGUSR1: 0, SIGUSR2: 0, SIGHUP: 0 };
      // The last is sent when all others were.
      while (counts.SIGHUP === 0) counts[await watcher.next()]++;
      for (;;) {
        const name = await watcher.next({ timeout: 200 }).catch(() => undefined);
        if (name === undefined) break;
        counts[name]++;
      }
      say(Object.values(counts).join(" "));`,
      runs,
    );
    await assertHears(child, "ready");
    const sent = [0, 0];
    for (let i = 0; i < count; i++) {
      const kind = Math.random() < 0.3 ? 0 : 1;
      kill(child.pid, kind === 0 ? "SIGUSR1" : "SIGUSR2");
      sent[kind]!++;
      if (Math.random() < 0.05) await passed(0);
    }
    kill(child.pid, "SIGHUP");
    const came = (await child.hear()).split(" ").map(Number);
    assertEquals(came[2], 1);
    for (const [i, number] of sent.entries()) {
      assert(came[i]! >= 1 && came[i]! <= number, `${came[i]} of ${number}`);
    }
    assertEquals((await child.exit).code, 0);
  });

  test(`No signal is lost that comes between two waits of a process in ${runs}`, async () => {
    await using child = start(
      `using watcher = signals("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGTERM");
      say("ready");
      say(await watcher.next());
      const until = performance.now() + 200;
      while (performance.now() < until);
      const names = [await watcher.next(), await watcher.next(), await watcher.next()];
      say(names.sort().join(" "));
      say(watcher.tryNext());`,
      runs,
    );
    await assertHears(child, "ready");
    kill(child.pid, "SIGTERM");
    await assertHears(child, "SIGTERM");
    for (const name of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) kill(child.pid, name);
    await assertHears(child, "SIGHUP SIGUSR1 SIGUSR2");
    await assertHears(child, "undefined");
  });

  test(`Any signal that this system has is told in ${runs}, or refused with a RangeError`, async () => {
    const untold: string[] = [];
    const names = Object.keys(constants.signals);
    while (names.length > 0) {
      await using child = start(
        `for (const name of args) {
          say(name);
          let watcher;
          try {
            watcher = signals(name);
          } catch (error) {
            if (!(error instanceof RangeError)) throw error;
            say("told");
            continue;
          }
          kill(process.pid, name);
          say(await watcher.next({ timeout: 1000 }).then(() => "told", () => "not told"));
          watcher[Symbol.dispose]();
        }`,
        runs,
        names,
      );
      try {
        while (names.length > 0) {
          const name = await child.hear();
          names.shift();
          if (await child.hear() !== "told") untold.push(name);
        }
      } catch {
        const { code, signal } = await child.exit;
        untold.push(`ended by ${signal ?? code}`);
      }
    }
    assertEquals(untold, []);
  });

  for (const signal of ["SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP", "SIGALRM"] as const) {
    test(`Disposing a watcher has ${signal} end a process in ${runs} again`, async () => {
      await using child = start(
        `const watcher = signals(args[0]);
        const other = signals(args[0]);
        kill(process.pid, args[0]);
        say(await watcher.next());
        watcher[Symbol.dispose]();
        kill(process.pid, args[0]);
        say(await other.next() + await other.next());
        other[Symbol.dispose]();
        say("disposed");
        setInterval(() => {}, 1000);`,
        runs,
        [signal],
      );
      await assertHears(child, signal);
      await assertHears(child, signal + signal);
      await assertHears(child, "disposed");
      kill(child.pid, signal);
      assertEquals(await child.exit, { code: null, signal });
    });
  }

  test(`Disposing a watcher of SIGPIPE has a process in ${runs} ignore it again, as the runtime did`, async () => {
    await using child = start(
      `signals("SIGPIPE")[Symbol.dispose]();
      const ends = pipe();
      ends.reader.close();
      try {
        ends.writer.writeSync("x");
      } catch (error) {
        say(error.code);
      }`,
      runs,
    );
    assertEquals(await child.exit, { code: 0, signal: null });
    await assertHears(child, "EPIPE");
  });

  test(`Disposing a watcher has a process in ${runs} ignore again what it ignored, as under nohup`, async () => {
    await using child = start(
      `const { signal } = await import(${JSON.stringify(projectFile("ffi/calls.ts"))});
      const SIG_IGN = 1;
      signal(${constants.signals.SIGHUP}, SIG_IGN);
      kill(process.pid, "SIGHUP");
      signals("SIGHUP")[Symbol.dispose]();
      kill(process.pid, "SIGHUP");
      setTimeout(() => say("alive"), 50);`,
      runs,
    );
    assertEquals(await child.exit, { code: 0, signal: null });
    await assertHears(child, "alive");
  });

  test(`An idle watcher lets a process in ${runs} end, a wait keeps it`, async () => {
    await using idle = start(`signals("SIGUSR1"); say("idle");`, runs);
    await assertHears(idle, "idle");
    assertEquals(await idle.exit, { code: 0, signal: null });
    await using waiting = start(
      `const watcher = signals("SIGUSR1");
      watcher.next().then(say);
      const early = new AbortController();
      watcher.next({ signal: early.signal }).catch(() => {});
      early.abort();
      say("waiting");`,
      runs,
    );
    await assertHears(waiting, "waiting");
    let ended = false;
    waiting.exit.then(() => ended = true);
    await passed(200);
    assertEquals(ended, false);
    kill(waiting.pid, "SIGUSR1");
    await assertHears(waiting, "SIGUSR1");
    assertEquals(await waiting.exit, { code: 0, signal: null });
  });

  test(`alarm() ends a process in ${runs} that does not listen`, async () => {
    await using child = start(`alarm(0.05); setInterval(() => {}, 1000);`, runs);
    assertEquals(await child.exit, { code: null, signal: "SIGALRM" });
  });
}
