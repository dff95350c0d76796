import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { list } from "@sysv/ipc/inventory";
import { Bulkhead } from "@sysv/ipc/sync";
import { Child, ending, type Runtime, runtime, runtimes } from "./support/child.ts";
import { ipc, ipcCommand } from "./support/cli.ts";
import { temporaryFolder } from "./support/folder.ts";
import { Name } from "./support/peer.ts";
import { passed, until } from "./support/time.ts";

/** The state of a process, such as R or S; undefined if it has ended. */
function stateOf(pid: number | string): string | undefined {
  try {
    return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  } catch {
    return undefined;
  }
}

const isRunning = (pid: number | string) => !/[ZX]/.test(stateOf(pid) ?? "X");

const inUse = (name: Name) => Bulkhead.open(name.text).state().inUse;

for (const runtime of runtimes) {
  test(`ipc run becomes the command, whose exit code and files are its own (${runtime})`, async () => {
    using name = new Name();
    const script = 'read line; echo "$line"; echo complaint >&2; exit 7';
    const args = ["run", "--slots", "2", "--name", name.text, "--", "sh", "-c", script];
    const outcome = ipc(args, { runtime, input: "hello\n" });
    assertEquals(outcome, { status: 7, stdout: "hello\n", stderr: "complaint\n" });
    await using child = new Child([
      ...ipcCommand(runtime),
      ...["run", "--name", name.text, "--", "sh", "-c", "echo $$; exec sleep 100"],
    ]);
    assertEquals(await child.hear(), String(child.pid));
    assertEquals(inUse(name), 1);
    assertEquals(await child.kill("SIGTERM"), { code: null, signal: "SIGTERM" });
    assertEquals(inUse(name), 0);
  });

  test(`ipc run hands over no signals that are ignored, and none that are blocked (${runtime})`, () => {
    using name = new Name();
    const { stdout } = ipc([
      ...["run", "--name", name.text, "--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"],
    ], { runtime });
    const ignored = BigInt(`0x${/SigIgn:\s+(\w+)/.exec(stdout)![1]}`);
    // SIGPIPE, and SIGTERM, SIGINT and SIGHUP as a user means them.
    for (const signal of [13n, 15n, 2n, 1n]) assertEquals(ignored >> (signal - 1n) & 1n, 0n);
    assertMatch(stdout, /SigBlk:\s+0+\n/);
  });
}

test("ipc run hands over which signals to ignore, however long it waits", async () => {
  using name = new Name();
  using slots = Bulkhead.create({ key: name.text, tickets: 1 });
  const ticket = slots.acquireSync();
  const words = ["run", "--name", name.text, "--", "grep", "SigIgn", "/proc/self/status"];
  const waiter = ipcCommand().concat(words).join(" ");
  await using child = new Child(["sh", "-c", `trap "" HUP INT; exec ${waiter}`]);
  // Deno handles SIGHUP and SIGINT itself half a second after its start.
  await until(() => list({ type: "sem" }).find(({ id }) => id === slots.id)!.inUse);
  await passed(800);
  ticket.release();
  const ignored = Number(`0x${(await child.hear()).split("\t")[1]}`);
  // Node itself forgets at its start what it was to ignore.
  assertEquals(ignored & 0x7fff, runtime === "node" ? 0 : 3);
});

test("ipc run waits for a slot, for some time or not at all", async () => {
  using name = new Name();
  await using holder = new Child([
    ...ipcCommand(),
    ...["run", "--slots", "1", "--name", name.text, "--", "sh", "-c", "echo held; read end"],
  ]);
  await holder.hear();
  const run = (...options: string[]) =>
    ipc(["run", "--name", name.text, ...options, "--", "echo", "ran"]);
  for (const options of [["--no-wait"], ["--timeout", "0.05"]]) {
    const { status, stdout, stderr } = run(...options);
    assertEquals([status, stdout], [75, ""]);
    assertMatch(stderr, /^ipc run: no slot of ".*" is free (now|within 0.05 s)\n$/);
  }
  // A second slot lets another run.
  assertEquals(run("--slots", "2").stdout, "ran\n");
  // Without a number there are as many as before.
  run();
  assertEquals(Bulkhead.open(name.text).state().tickets, 2);
  run("--slots", "1", "--no-wait");
  await using waiter = new Child([
    ...ipcCommand(),
    ...["lock", "--timeout", "1m", name.text, "echo", "ran"],
  ]);
  await until(() => stateOf(waiter.pid) === "S");
  await holder.kill();
  assertEquals(await waiter.hear(), "ran");
});

test("ipc lock takes its command with and without dashes", () => {
  using name = new Name();
  for (
    const words of [
      [name.text, "echo", "-n", "--", "x"],
      [name.text, "--", "echo", "-n", "--", "x"],
      ["--name", name.text, "--", "echo", "-n", "--", "x"],
      ["--name", name.text, "echo", "-n", "--", "x"],
      [name.text, "--timeout", "5", "--no-wait", "--", "echo", "-n", "--", "x"],
      ["-t", "5", name.text, "-n", "echo", "-n", "--", "x"],
    ]
  ) assertEquals(ipc(["lock", ...words]).stdout, "-- x", words.join(" "));
  assertEquals(ipc(["lock", name.text]).status, 2);
});

test("ipc run says why it cannot run the command", () => {
  using name = new Name();
  using other = new Name();
  assertEquals(ipc(["create", "sem", other.text]).status, 0);
  for (
    const [words, status, says] of [
      [[name.text, "--", "/no/such/command"], 127, /there is no such command/],
      [[name.text, "--", "/etc/passwd"], 126, /cannot execute/],
      [[other.text, "--", "true"], 125, /./],
    ] as const
  ) {
    const outcome = ipc(["run", "--name", ...words]);
    assertEquals([outcome.status, outcome.stdout], [status, ""], outcome.stderr);
    assertMatch(outcome.stderr, says);
  }
  assertEquals(inUse(name), 0);
});

test("ipc run hands over descriptors that it was given", async () => {
  // Bun closes all but the first three in what it executes.
  using name = new Name();
  using folder = temporaryFolder();
  const path = join(folder.path, "out");
  const fd = openSync(path, "w");
  const [program, ...args] = ipcCommand("deno");
  const child = spawn(program!, [
    ...args,
    ...["run", "--name", name.text, "--", "sh", "-c", "echo handed over >&3"],
  ], { stdio: ["ignore", "ignore", "inherit", fd] });
  closeSync(fd);
  await new Promise((resolve) => child.on("close", resolve));
  assertEquals(readFileSync(path, "utf8"), "handed over\n");
});

/** A command that leaves a file with its number while it runs. */
const worker =
  'echo > "$0/$$"; i=0; while [ $i -lt 3 ]; do sleep 0.03; i=$((i + 1)); done; rm "$0/$$"; echo done';

/** Commands that run now, in a folder of theirs. */
const running = (folder: string) => readdirSync(folder).filter(isRunning);

/** Runs some commands at once and kills a third of them, whether they wait or run. */
async function runAndKill(runtime: Runtime, name: Name, folder: string, count: number) {
  const children = Array.from({ length: count }, () =>
    new Child([
      ...ipcCommand(runtime),
      ...["run", "--slots", "2", "--name", name.text, "--", "sh", "-c", worker, folder],
    ]));
  await using _all = ending(...children);
  let done = false;
  const exits = Promise.all(children.map(({ exit }) => exit)).finally(() => done = true);
  const kill = async () => {
    for (const [index, child] of children.entries()) {
      if (index % 3 !== 0) continue;
      await passed(Math.random() * 60);
      try {
        process.kill(child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
  };
  const killed = kill();
  let most = 0;
  while (!done) {
    // What is dying is still listed for a moment, though the kernel has its slot already.
    let now = running(folder);
    for (let again = 0; now.length > 2 && again < 20; again++) {
      await passed(2);
      now = now.filter((pid) => running(folder).includes(pid));
    }
    most = Math.max(most, now.length);
    await passed(1);
  }
  await killed;
  return { most, exits: await exits };
}

for (const runtime of runtimes) {
  test(`ipc run never runs more than there are slots, and loses none (${runtime})`, async () => {
    using name = new Name();
    using folder = temporaryFolder();
    const rounds = process.env.IPC_TEST_SOAK === "1" ? 10 : 1;
    for (let round = 0; round < rounds; round++) {
      const { most, exits } = await runAndKill(runtime, name, folder.path, 20);
      assert(most <= 2 && most > 0, `${most} ran at once`);
      const ended = exits.filter(({ code }) => code === 0).length;
      const killed = exits.filter(({ signal }) => signal === "SIGKILL").length;
      assertEquals(ended + killed, 20);
      assert(ended >= 13);
      assertEquals(inUse(name), 0);
    }
  });
}
