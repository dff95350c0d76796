import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { MessageQueue, Semaphore } from "@sysv/ipc";
import { list } from "@sysv/ipc/inventory";
import { Bulkhead } from "@sysv/ipc/sync";
import { keysOf } from "../cli/terminal.ts";
import { frame, placeOf, type View } from "../cli/top_view.ts";
import { projectFile, runtime } from "./support/child.ts";
import { ipcCommand, ipcOutput } from "./support/cli.ts";
import { testWhere } from "./support/peer.ts";
import { noTmux, Tmux } from "./support/tmux.ts";

/** A view of some objects. */
function viewOf(...ids: number[]): View {
  return {
    objects: list().filter(({ id }) => ids.includes(id)),
    limits: [],
    rates: new Map(),
    orphans: new Set(),
    sort: "type",
    type: undefined,
    onlyOrphans: false,
    selected: undefined,
    message: undefined,
    time: new Date(),
  };
}

test("a frame has as many lines as the window, none too long, whatever the size", () => {
  using _queue = MessageQueue.create();
  using _sem = Semaphore.create({ value: 40 });
  const view = { ...viewOf(), objects: list() };
  for (const width of [1, 10, 40, 48, 72, 200]) {
    for (const height of [1, 3, 4, 5, 12, 60]) {
      const lines = frame(view, { width, height });
      assertEquals(lines.length, height);
      for (const line of lines) assert(line.length <= width, line);
    }
  }
});

test("a frame keeps the selected object in sight, and says what is below", () => {
  const sets = Array.from({ length: 12 }, () => Semaphore.create());
  const view = viewOf(...sets.map(({ id }) => id));
  const [first, last] = [view.objects[0]!, view.objects.at(-1)!];
  const window = { width: 100, height: 9 };
  const shows = (lines: string[], id: number) =>
    lines.some((line) => new RegExp(`^sem +${id} `).test(line));
  const top = frame(view, window);
  assert(shows(top, first.id) && !shows(top, last.id));
  assertMatch(top.at(-1)!, /^\d+ more below/);
  const bottom = frame({ ...view, selected: placeOf(last) }, window);
  assert(!shows(bottom, first.id) && shows(bottom, last.id));
  for (const set of sets) set[Symbol.dispose]();
});

test("a frame shows how full queues are and how many tickets are out", () => {
  using queue = MessageQueue.create({ maxBytes: 1000 });
  queue.trySend("x".repeat(500));
  using bulkhead = Bulkhead.create({ tickets: 4 });
  using _ticket = bulkhead.acquireSync();
  const view = { ...viewOf(queue.id, bulkhead.id), rates: new Map([[queue.id, -2.5]]) };
  const lines = frame(view, { width: 120, height: 20 }).join("\n");
  assertMatch(lines, /######\.{6} {2}1 message {2}-2\.5\/s/);
  assertMatch(lines, /###\.{9} {2}bulkhead: 1 of 4 tickets out/);
});

test("keys are told apart from the sequences of arrows", () => {
  assertEquals(keysOf("jq\x1b[A\x1b[3~\x03\x1bOB"), [
    "j",
    "q",
    "\x1b[A",
    "\x1b[3~",
    "\x03",
    "\x1bOB",
  ]);
});

test("ipc top --once prints the screen as text", () => {
  using queue = MessageQueue.create();
  const text = ipcOutput("top", "--once");
  assertMatch(text, /^ipc top {2}\d\d:\d\d:\d\d {2}\d+ sem, \d+ queue/);
  assertMatch(text, new RegExp(`^queue +${queue.id} `, "m"));
  assert(!text.includes("\x1b"));
});

/** Starts `ipc top`, in a shell that says its state before and after. */
async function start(terminal: Tmux, ...options: string[]): Promise<void> {
  const line = [...ipcCommand(), "top", "--interval", "0.1", ...options].join(" ");
  terminal.type(
    `clear; before=$(stty -g); ${line}; code=$?; [ "$before" = "$(stty -g)" ] && echo "same $code"`,
  );
  terminal.press("Enter");
  await terminal.shows(/^ipc top {2}/m);
}

/** Asserts that the terminal is as it was. */
async function assertRestored(terminal: Tmux, code: number): Promise<void> {
  const screen = await terminal.shows(/^same \d+$/m);
  assertMatch(screen, new RegExp(`^same ${code}$`, "m"));
  assert(!screen.includes("q quit"));
  assertEquals(terminal.modes, "0 1 1");
}

/** The process of `ipc` in a terminal. */
function ipcIn(terminal: Tmux): number {
  const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", String(terminal.pid)], {
    encoding: "utf8",
  });
  return Number(stdout.trim().split("\n").at(-1));
}

testWhere(
  noTmux,
  "ipc top shows, selects, sorts, and follows the size of the window",
  async () => {
    using queue = MessageQueue.create();
    using sem = Semaphore.create({ value: 3 });
    using terminal = new Tmux(110, 20);
    await start(terminal);
    const first = await terminal.shows(new RegExp(`^queue +${queue.id} +- .* 0/16K .* empty`, "m"));
    assertMatch(first, new RegExp(`^sem +${sem.id} .* ### +value 3`, "m"));
    assertEquals(first.split("\n").filter((line) => line.startsWith("q quit")).length, 1);
    assertEquals(terminal.modes, "1 0 0");
    queue.trySend("x".repeat(8000));
    await terminal.shows(/ 7\.8K\/16K .* ######\.* +1 message/);
    terminal.press("s");
    await terminal.shows(/by use$/m);
    terminal.press("t", "t");
    await terminal.shows(/only queue {2}by use$/m);
    assert(!terminal.screen.includes(`sem `.padEnd(15)));
    terminal.press("t", "t");
    terminal.resize(46, 8);
    const narrow = await terminal.shows(/^TYPE +ID +STATE$/m);
    assertEquals(narrow.trimEnd().split("\n").length, 8);
    terminal.resize(130, 24);
    await terminal.shows(/^TYPE +ID +KEY +OWNER +SIZE +USED +STATE$/m);
    terminal.press("q");
    await assertRestored(terminal, 0);
  },
);

testWhere(noTmux, "ipc top removes what is selected, after a question", async () => {
  using terminal = new Tmux(110, 20);
  using queue = MessageQueue.create();
  await start(terminal);
  terminal.press("t", "t");
  await terminal.shows(/only queue/);
  terminal.press("d");
  await terminal.shows(/^select something first/m);
  terminal.press("Down", "d");
  await terminal.shows(new RegExp(`^remove message queue \\d+.*\\? y/n`, "m"));
  terminal.press("n");
  await terminal.shows(/^q quit/m);
  const isThere = () => list({ type: "queue" }).some(({ id }) => id === queue.id);
  assert(isThere());
  // The first queue is selected: this one may come later.
  const place = list({ type: "queue" }).findIndex(({ id }) => id === queue.id);
  for (let i = 0; i < place; i++) terminal.press("Down");
  terminal.press("d");
  await terminal.shows(new RegExp(`^remove message queue ${queue.id}\\? y/n`, "m"));
  terminal.press("y");
  await terminal.shows(new RegExp(`^removed message queue ${queue.id}`, "m"));
  assert(!isThere());
  // Somebody else removes what is selected.
  const vanishing = MessageQueue.create();
  await terminal.shows(new RegExp(`^queue +${vanishing.id} `, "m"));
  terminal.press("Down", "d");
  vanishing.remove();
  await terminal.shows(/^(?![^]*^queue +\d)[^]*nothing|^queue/m);
  terminal.press("n", "q");
  await assertRestored(terminal, 0);
});

for (
  const [how, code, end] of [
    ["Ctrl-C", 0, (terminal: Tmux) => terminal.press("C-c")],
    ["SIGTERM", 143, (terminal: Tmux) => process.kill(ipcIn(terminal), "SIGTERM")],
    ["SIGHUP", 129, (terminal: Tmux) => process.kill(ipcIn(terminal), "SIGHUP")],
  ] as const
) {
  testWhere(noTmux, `ipc top gives the terminal back at ${how}`, async () => {
    using terminal = new Tmux(100, 20);
    await start(terminal);
    end(terminal);
    await assertRestored(terminal, code);
  });
}

testWhere(noTmux, "ipc top gives the terminal back at an error", async () => {
  using terminal = new Tmux(100, 20);
  const [program, ...args] = ipcCommand();
  const broken = [
    "import { Terminal } from",
    `'${projectFile("cli/terminal.ts")}';`,
    "new Terminal().draw(['ipc top  here']);",
    "setTimeout(() => { throw new Error('expected'); }, 500);",
  ].join(" ");
  const code = runtime === "deno"
    ? `${program} eval --quiet ${args.find((arg) => arg.startsWith("--config"))} "${broken}"`
    : `${program} -e "${broken}"`;
  terminal.type(
    `clear; before=$(stty -g); ${code} 2>/dev/null; [ "$before" = "$(stty -g)" ] && echo "same 0"`,
  );
  terminal.press("Enter");
  await terminal.shows(/^ipc top {2}here/m);
  await assertRestored(terminal, 0);
});
