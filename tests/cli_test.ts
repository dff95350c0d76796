import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { MessageQueue, SemaphoreSet, SharedMemory } from "@sysv/ipc";
import { list } from "@sysv/ipc/inventory";
import { Mutex } from "@sysv/ipc/sync";
import { operationsOf } from "../cli/sem.ts";
import { duration } from "../cli/duration.ts";
import { size, span } from "../cli/output.ts";
import { Child, command, projectFile, run } from "./support/child.ts";
import { ipc, ipcCommand, ipcOutput } from "./support/cli.ts";
import { temporaryFolder } from "./support/folder.ts";
import { Name, testWhere } from "./support/peer.ts";
import { onlyAlone, onlyRoot, privileges } from "./support/privilege.ts";
import { until } from "./support/time.ts";
import { noTmux, Tmux } from "./support/tmux.ts";

/** Asserts that a command fails with a code and one line that says something. */
function assertFails(args: readonly (string | number)[], code: number, says: RegExp): void {
  const { status, stdout, stderr } = ipc(args);
  assertEquals([status, stdout], [code, ""], stderr);
  assertMatch(stderr, /^ipc[^\n]*: [^\n]+\n$/);
  assertMatch(stderr, says);
}

const hex = (key: number) => `0x${key.toString(16).padStart(8, "0")}`;

test("ipc explains itself and each of its commands", () => {
  const commands = ipcOutput("--help").match(/^ {2}(\w+) /gm)!.map((word) => word.trim());
  for (const name of commands) {
    const help = ipcOutput(name, "--help");
    assertMatch(help, new RegExp(`^[A-Z].*\\.\n\nUsage: ipc ${name} .*`));
    assert(help.includes("--help"));
  }
  assertEquals(commands.length, 14);
});

test("ipc says in one line what is wrong and what to do", () => {
  assertFails([], 2, /expected a command: see ipc --help/);
  assertFails(["frob"], 2, /unknown command "frob"/);
  assertFails(["constructor"], 2, /unknown command "constructor"/);
  assertFails(["ls", "--frob"], 2, /unknown option "--frob": see ipc ls --help/);
  assertFails(["ls", "--type", "mutex"], 2, /--type is sem or queue or memory, not "mutex"/);
  assertFails(["ls", "--type"], 2, /--type needs a TYPE/);
  assertFails(["show", "no such name"], 1, /no object has .*"no such name" .*: ipc ls lists/);
  assertFails(["create", "frob"], 2, /expected sem, queue or memory/);
  assertFails(["create", "memory"], 2, /memory needs a --size/);
  assertFails(["sem", "no such name"], 1, /no semaphore set has/);
  assertFails(["run", "true"], 2, /expected a --name for the slots/);
  assertFails(["run", "--slots", "0", "--name", "x", "--", "true"], 2, /--slots is a whole number/);
  assertFails(["top"], 1, /needs a terminal: add --once/);
});

test("ipc key prints the key of a name", () => {
  assertEquals(ipcOutput("key", "gunicorn"), "0x18f5d484\n");
  assertEquals(JSON.parse(ipcOutput("key", "gunicorn", "--json")), [
    { name: "gunicorn", key: 0x18f5d484, keyHex: "0x18f5d484" },
  ]);
});

test("ipc create, show, sem and rm work on semaphores by id, key and name", () => {
  using name = new Name();
  const id = ipcOutput("create", "sem", "--values", "2,0", "--mode", "640", name.text).trim();
  using set = SemaphoreSet.open(name.text);
  assertEquals([String(set.id), set.values, set.stat().mode], [id, [2, 0], 0o640]);
  for (const word of [id, hex(name.key), name.text]) {
    assertMatch(
      ipcOutput("show", "--type", "sem", word),
      /^semaphore set \d+ .*\n {2}state +values 2, 0\n/,
    );
  }
  assertFails(["create", "sem", name.text], 1, /exists/);
  assertEquals(ipcOutput("create", "sem", "--values", "2,0", "--or-open", name.text).trim(), id);
  assertEquals(ipcOutput("sem", name.text, "get"), "2 0\n");
  ipcOutput("sem", name.text, "increment", 3);
  ipcOutput("sem", name.text, "decrement");
  ipcOutput("sem", name.text, "set", 7, "--index", 1);
  assertEquals(set.values, [4, 7]);
  // What is undone is so when ipc has ended.
  ipcOutput("sem", name.text, "op", "+1 -1u 1:-7");
  assertEquals(set.values, [5, 0]);
  ipcOutput("sem", name.text, "op", "-5 0");
  assertEquals(JSON.parse(ipcOutput("sem", name.text, "get", "--json")), [0, 0]);
  assertFails(["sem", name.text, "decrement", "--no-wait"], 75, /does not allow it now/);
  assertFails(["sem", name.text, "decrement", "--timeout", "0.05"], 75, /within 0.05 s/);
  ipcOutput("rm", name.text);
  assertFails(["rm", name.text], 1, /no object has/);
});

test("ipc sem waits until it can go on", async () => {
  using set = SemaphoreSet.create({ values: [0] });
  await using child = new Child([...ipcCommand(), "sem", String(set.id), "decrement"]);
  await until(() => list({ type: "sem" }).find(({ id }) => id === set.id)!.waiting![0] === 1);
  set.tryOperate([{ index: 0, delta: 1 }]);
  assertEquals((await child.exit).code, 0);
});

test("ipc sem reads primitives and changes none", () => {
  using mutex = Mutex.create();
  assertEquals(ipcOutput("sem", mutex.id, "get"), "1 0\n");
  assertFails(["sem", mutex.id, "set", 5], 1, /mutex/);
  assertFails(["sem", mutex.id, "increment"], 1, /mutex/);
});

test("ipc send and recv pass lines and bytes", () => {
  using name = new Name();
  using queue = MessageQueue.create({ key: name.text });
  const bytes = Uint8Array.of(0, 255, 13, 128, 10, 10, 65);
  assertEquals(ipc(["send", name.text], { input: bytes }).status, 0);
  const received = Array.from({ length: 3 }, () => [...queue.tryReceive()!.bytes]);
  assertEquals(received, [[0, 255, 13, 128], [], [65]]);
  ipc(["send", "--null", "--type", "3", name.text], { input: "a\nb\0c\0" });
  assertEquals(ipcOutput("recv", name.text), "a\nb\n");
  assertEquals(ipcOutput("recv", "--json", name.text), '{"type":3,"text":"c"}\n');
  ipc(["send", "--whole", name.text], { input: bytes });
  const { stdout } = ipc(["recv", "--raw", name.text]);
  assertEquals(Uint8Array.from(stdout, (byte) => byte.charCodeAt(0)), bytes);
  ipcOutput("send", name.text, "one", "two words", "--type", 2);
  assertEquals(ipcOutput("recv", "--not", 1, name.text), "one\n");
  assertEquals(ipcOutput("recv", "--all", "-z", name.text), "two words\0");
  assertFails(["recv", "--no-wait", name.text], 75, /has no such message now/);
  assertFails(["recv", "-t", "0.05", "--type", 9, name.text], 75, /within 0.05 s/);
  assertFails(["recv", "--type", 1, "--not", 2, name.text], 2, /exclude each other/);
});

test("ipc recv --follow goes on until the queue is removed", async () => {
  using queue = MessageQueue.create();
  await using child = new Child([...ipcCommand(), "recv", "--follow", String(queue.id)]);
  for (const text of ["one", "two"]) {
    queue.sendSync(text);
    assertEquals(await child.hear(), text);
  }
  queue.remove();
  assertEquals((await child.exit).code, 0);
});

test("ipc ls lists as a table, as JSON and for Prometheus", () => {
  using name = new Name();
  using queue = MessageQueue.create({ key: name.text });
  using mutex = Mutex.create();
  using memory = SharedMemory.create({ size: 5000 });
  queue.trySend("hello");
  const table = ipcOutput("ls");
  assertMatch(table, /^TYPE +ID +KEY +OWNER +MODE +SIZE +USED +STATE\n/);
  assertMatch(
    table,
    new RegExp(`^queue +${queue.id} +${hex(name.key)} .* 5/16K .* 1 message$`, "m"),
  );
  assertMatch(table, new RegExp(`^sem +${mutex.id} +- .* mutex: free$`, "m"));
  assert(!table.includes("\x1b"));
  const objects = JSON.parse(ipcOutput("ls", "--json", "--mine", "--type", "memory"));
  const { size, attachments, key } = objects.find(({ id }: { id: number }) => id === memory.id);
  assertEquals([size, attachments, key], [5000, 1, null]);
  const metrics = ipcOutput("ls", "--format", "prometheus", name.text);
  const label = `{id="${queue.id}",key="${hex(name.key)}",name="${name.text}"}`;
  assert(metrics.includes(`\nsysv_ipc_queue_messages${label} 1\n`), metrics);
  assertMatch(metrics, /^# TYPE sysv_ipc_limit_used gauge$/m);
  // Every line is a comment or a sample.
  const form = /^(?:# (?:HELP|TYPE) \w+ .+|\w+\{\w+="[^"]*"(?:,\w+="[^"]*")*\} [\d.e+-]+)$/;
  for (const line of metrics.trim().split("\n")) assertMatch(line, form);
});

test(
  "ipc reap removes what is left, asks first, and leaves alone what is used",
  onlyAlone,
  async () => {
    await using child = run(`
    const left = MessageQueue.create({ owner: false });
    const used = SharedMemory.create({ size: 10, owner: false });
    left.trySend("x");
    say([left.id, used.id].join());
    await hear();
  `);
    const [left, used] = (await child.hear()).split(",").map(Number) as [number, number];
    using memory = SharedMemory.fromId(used);
    await child.kill();
    const isLeft = () => list({ type: "queue" }).some(({ id }) => id === left);
    assertMatch(
      ipcOutput("reap", "--dry-run", "--type", "queue"),
      new RegExp(`^queue +${left} .*its last sender, pid ${child.pid}, is gone$`, "m"),
    );
    assertEquals(ipcOutput("reap", "--older", "1h", "--yes", "--type", "queue"), "");
    assertFailsQuietly(["reap", "--type", "queue"], 2, /nobody to ask: add --yes, or --dry-run/);
    assert(isLeft());
    assertMatch(ipcOutput("reap", "--yes", "--type", "queue"), /^Removed \d+ of \d+\n$/m);
    assert(!isLeft());
    ipc(["reap", "--yes", "--type", "memory"]);
    assert(list({ type: "memory" }).some(({ id }) => id === used));
    memory.remove();
  },
);

/** Asserts that a command fails after it has printed something. */
function assertFailsQuietly(args: readonly string[], code: number, says: RegExp): void {
  const { status, stderr } = ipc(args);
  assertEquals(status, code, stderr);
  assertMatch(stderr, says);
}

const reapTest = noTmux ?? (onlyAlone.skip || undefined);
testWhere(reapTest, "ipc reap asks on a terminal, and colours are there alone", async () => {
  await using child = run(`
    const left = MessageQueue.create({ owner: false });
    left.trySend("x");
    say(left.id);
    await hear();
  `);
  const left = Number(await child.hear());
  await child.kill();
  const isLeft = () => list({ type: "queue" }).some(({ id }) => id === left);
  const reap = [...ipcCommand(), "reap", "--type", "queue"].join(" ");
  using terminal = new Tmux(150, 20);
  for (const [answer, stays, code] of [["n", true, 1], ["y", false, 0]] as const) {
    terminal.type(
      `clear; unset NO_COLOR; ${reap}; echo "code $?"`,
    );
    terminal.press("Enter");
    await terminal.shows(/^Remove .*\? \[y\/N\]/m);
    assert(terminal.colours.includes("\x1b[1mTYPE"));
    terminal.press(answer, "Enter");
    await terminal.shows(new RegExp(`^code ${code}$`, "m"));
    assertEquals(isLeft(), stays);
  }
});

/** Becomes a user, makes a queue and a set, and then runs command lines. */
const asUser = `
  ${privileges}
  import process from "node:process";
  import { MessageQueue, SemaphoreSet } from ${JSON.stringify(projectFile("mod.ts"))};
  import { main } from ${JSON.stringify(projectFile("cli/mod.ts"))};
  const [uid, ...commands] = process.argv.slice(2);
  const failed = libcalls.setgroups(0, null) || libcalls.setegid(Number(uid)) ||
    libcalls.seteuid(Number(uid));
  if (failed) throw new Error("Cannot become another user");
  const queue = MessageQueue.create({ owner: false });
  const set = SemaphoreSet.create({ values: [1], owner: false });
  console.log([queue.id, set.id].join());
  for (const words of commands) console.log(await main(words.split(" ")));
`;

test("ipc lets no user remove or read what is another's, and says so", onlyRoot, async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, "user.ts");
  writeFileSync(file, asUser);
  const start = (uid: number, ...commands: string[]) =>
    new Child([...command(file), String(uid), ...commands]);
  const made: [queue: number, set: number][] = [];
  for (const [first, second] of [[4001, 4002], [4002, 4001]] as const) {
    await using owner = start(first);
    const [queue, set] = (await owner.hear()).split(",").map(Number) as [number, number];
    await using other = start(
      second,
      `rm --type queue ${queue}`,
      `rm --type sem ${set}`,
      `recv ${queue}`,
      `send ${queue} x`,
      `sem ${set} get`,
    );
    const own = (await other.hear()).split(",").map(Number) as [number, number];
    for (const _ of [1, 2, 3, 4, 5]) assertEquals(await other.hear(), "1");
    await other.exit;
    const lines = other.stderr.trim().split("\n");
    assertMatch(
      lines[0]!,
      /^ipc rm: cannot remove message queue \d+: user 400\d owns it, and only/,
    );
    assertMatch(lines[1]!, /^ipc rm: cannot remove semaphore set \d+: user 400\d owns it/);
    for (const line of lines.slice(2, 5)) assertMatch(line, /permi/);
    made.push([queue, set], own);
  }
  for (const [queue, set] of made) {
    MessageQueue.fromId(queue).remove();
    SemaphoreSet.fromId(set).remove();
  }
});

test("ipc completions prints what the shells take", () => {
  const shells = ["bash", "zsh", "fish"].filter((shell) =>
    spawnSync("sh", ["-c", `command -v ${shell}`]).status === 0
  );
  for (const shell of ["bash", "zsh", "fish"]) {
    const script = ipcOutput("completions", shell);
    for (const word of ["reap", "prometheus", "dry-run"]) assert(script.includes(word), word);
    if (!shells.includes(shell)) continue;
    const { status, stderr } = spawnSync(shell, ["-n"], { input: script, encoding: "utf8" });
    assertEquals([status, stderr], [0, ""], shell);
  }
  const script = `${ipcOutput("completions", "bash")}
    COMP_WORDS=(ipc ls --ty) COMP_CWORD=2; _ipc; echo "\${COMPREPLY[@]}"
    COMP_WORDS=(ipc ls --type "") COMP_CWORD=3; _ipc; echo "\${COMPREPLY[@]}"
    COMP_WORDS=(ipc re) COMP_CWORD=1; _ipc; echo "\${COMPREPLY[@]}"`;
  const { stdout } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
  assertEquals(stdout, "--type\nsem queue memory\nreap recv\n");
});

test("operations, times and sizes are read and shown as people write them", () => {
  assertEquals(operationsOf("+1 -1u 0 2:+3", 0), [
    { index: 0, delta: 1 },
    { index: 0, delta: -1, undo: true },
    { index: 0, delta: 0 },
    { index: 2, delta: 3 },
  ]);
  assertEquals(["10", "0.5s", "5m", "1h", "2d", "20ms"].map((text) => duration(text, "x")), [
    10_000,
    500,
    300_000,
    3_600_000,
    172_800_000,
    20,
  ]);
  assertEquals([0, 1023, 1536, 16384, 2 ** 40].map(size), ["0", "1023", "1.5K", "16K", "1T"]);
  assertEquals([0, 59_999, 60_000, 7_200_000, 864_000_000].map(span), [
    "0s",
    "59s",
    "1m",
    "2h",
    "10d",
  ]);
});
