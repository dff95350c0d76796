/**
 * Compares the module with C, Python's sysv_ipc, PHP and Perl, all doing the same on this machine: a
 * table for each budget of speed. The contenders take turns, batch by batch, so that whatever slows
 * the machine down hits all alike. It only prints: what is over its budget is no failure.
 *
 *     deno task bench [--quick] [--only=ROW]
 *
 * A table shows the median of each number, the middle half of the first one, and the median of its
 * ratios to C in the same turn.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { keyOf, MessageQueue, removeOnExit, SemaphoreSet } from "../mod.ts";
import { Child } from "../tests/support/child.ts";
import type { Numbers } from "./bench/contender.ts";
import { findBun, findNode } from "./runtimes.ts";

/** What is measured, and what of it is promised. */
interface Row {
  /** By which --only and the contenders know it. */
  name: string;
  title: string;
  /** What a contender is told to do, if that is not the name. */
  task?: string;
  /** How many rounds a batch has. */
  count: number;
  /** How many batches are measured, and with --quick. */
  batches?: readonly [number, number];
  /** The most that it may cost: as a ratio to C, or as a number. */
  ratio?: number;
  most?: number;
  /** The object on which it works; two processes hand over to each other by two sets. */
  values?: number[] | "queue";
  /** Who else can do it; all of the module's runtimes can. */
  peers: readonly string[];
  /** Who does something else that serves the same: a name, whose program it is, and what that is told. */
  others?: readonly { name: string; contender: string; task: string }[];
  /** Where two processes run: this one, and the one that answers it. */
  cpus?: readonly [string, string];
  /** Who cannot do it, and why. */
  note?: string;
}

const ALL = ["C", "Python", "PHP", "Perl"];
const NO_PHP = "PHP can only acquire and release";
const MESSAGE = { values: "queue", ratio: 1.3, count: 10_000 } as const;
const HAND_OVER = { values: [0, 0, 0], count: 1000 };
const ONE = ["0", "0"] as const;
const TWO = ["0", "1"] as const;
const PROMISES = "await decrement() in two processes, there and back";
const BLOCKING = "decrementSync() blocked in two processes, there and back";

const rows: readonly Row[] = [
  {
    name: "acquire",
    title: "acquireSync() and release(), uncontended",
    count: 10_000,
    ratio: 1.15,
    peers: ALL,
  },
  {
    name: "try-acquire",
    title: "tryAcquire() and release(), uncontended",
    count: 10_000,
    ratio: 1.15,
    peers: ALL,
  },
  {
    name: "increment",
    title: "increment() and decrementSync()",
    count: 10_000,
    ratio: 1.15,
    peers: ["C", "Python", "Perl"],
    note: NO_PHP,
  },
  {
    name: "increment-undo",
    title: "increment() and decrementSync() with undo",
    count: 10_000,
    ratio: 1.15,
    peers: ["C", "Python", "Perl"],
    note: NO_PHP,
  },
  {
    name: "value",
    title: "value",
    count: 20_000,
    ratio: 1.15,
    peers: ["C", "Python", "Perl"],
    note: "PHP cannot read it",
  },
  {
    name: "mutex",
    title: "Mutex.lockSync() and release(), uncontended",
    count: 10_000,
    peers: ["C"],
    others: [{ name: "C, semop of -1 and +1", contender: "C", task: "acquire" }, {
      name: "C, robust pthread mutex",
      contender: "C",
      task: "robust",
    }, { name: "Python, multiprocessing.Lock", contender: "Python", task: "lock" }],
    note:
      "A pthread mutex and a Lock make no call while nobody waits; a dead holder keeps the Lock",
  },
  { ...MESSAGE, name: "message", title: "trySend() and tryReceive() of 64 bytes", peers: ALL },
  {
    ...MESSAGE,
    name: "message-into",
    title: "trySend() and tryReceiveInto() of 64 bytes",
    peers: ["C"],
  },
  {
    ...MESSAGE,
    name: "message-sync",
    title: "sendSync() and receiveIntoSync() of 64 bytes",
    ratio: 1.25,
    peers: ["C"],
  },
  { name: "stat-set", title: "stat() of a set", count: 10_000, ratio: 4, peers: ["C"] },
  {
    name: "stat-queue",
    title: "stat() of a queue",
    count: 10_000,
    values: "queue",
    ratio: 4,
    peers: ["C"],
  },
  {
    ...HAND_OVER,
    name: "sync-one",
    task: "sync",
    title: `${BLOCKING}, on one CPU`,
    ratio: 1.1,
    peers: ["C", "Python", "Perl"],
    cpus: ONE,
    note: NO_PHP,
  },
  {
    ...HAND_OVER,
    name: "sync-two",
    task: "sync",
    title: `${BLOCKING}, on two CPUs`,
    ratio: 1.1,
    peers: ["C", "Python", "Perl"],
    cpus: TWO,
    note: NO_PHP,
  },
  {
    ...HAND_OVER,
    name: "promise-one",
    task: "promise",
    title: `${PROMISES}, on one CPU`,
    ratio: 10,
    peers: ["C"],
    cpus: ONE,
    note: "C blocks; nobody else has promises",
  },
  {
    ...HAND_OVER,
    name: "promise-two",
    task: "promise",
    title: `${PROMISES}, on two CPUs`,
    ratio: 3,
    peers: ["C"],
    cpus: TWO,
    note: "C blocks; nobody else has promises",
  },
  {
    name: "pending-1000",
    task: "pending",
    title: "1,000 equal acquire() pending: memory of each, threads, time to serve all",
    count: 1000,
    values: [0, 0, 0],
    most: 1500,
    peers: [],
  },
  {
    name: "pending-10000",
    task: "pending",
    title: "10,000 equal acquire() pending: memory of each, threads, time to serve all",
    count: 10_000,
    values: [0, 0, 0],
    most: 1500,
    peers: [],
  },
  {
    name: "start",
    title: "Import and first operation, over an empty script",
    count: 1,
    batches: [25, 15],
    most: 15,
    peers: ["Python", "PHP", "Perl"],
  },
  {
    name: "abort",
    title: "From abort() to the rejection, alone in the kernel",
    count: 50,
    values: [0, 0, 0],
    peers: ["C"],
    note: "C interrupts a thread and joins it",
  },
  {
    name: "gap",
    title:
      "The longest gap of the event loop in 300 ms: 100 different waits pending, starting, and none",
    count: 1,
    batches: [5, 2],
    values: new Array(100).fill(0),
    peers: [],
  },
];

const { quick, only } = parseArgs(Deno.args, { boolean: ["quick"], string: ["only"] });
if (only !== undefined && !rows.some(({ name }) => name === only)) {
  console.error(`There is no row ${only}: expected ${rows.map(({ name }) => name).join(", ")}`);
  Deno.exit(2);
}

const file = (name: string) => new URL(`bench/${name}`, import.meta.url).pathname;
const folder = Deno.makeTempDirSync({ prefix: "sysv-ipc-bench-" });
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const deno = [Deno.execPath(), "run", "--quiet", "--no-config", "--no-lock"];
const bun = findBun();
const node = [findNode(), "--disable-warning=ExperimentalWarning"];
/** The runtimes of the module. */
const runtimes: readonly string[] = ["Deno", "Bun", "Node"];

/** Who takes part: how it is run, and how its start is measured, empty and with a first operation. */
interface Contender {
  name: string;
  command: readonly string[];
  starts?: readonly (readonly string[])[];
  /** What it is told to do, if that is not the row's. */
  task?: string;
}

const succeeds = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;

function contenders(): Contender[] {
  const starts = (
    command: string[],
  ) => [[...command, file("empty.ts")], [...command, file("first.ts")]];
  const found: Contender[] = [];
  const program = `${folder}/contender`;
  const { error, status, stderr } = spawnSync("cc", [
    "-O2",
    "-pthread",
    "-o",
    program,
    file("contender.c"),
  ]);
  if (error !== undefined) console.log("Without C, and so without ratios: there is no compiler");
  else if (status !== 0) throw new Error(`Cannot compile the contender:\n${stderr}`);
  else found.push({ name: "C", command: [program] });
  found.push(
    {
      name: "Deno",
      command: [...deno, "-A", "--v8-flags=--expose-gc", file("contender.ts")],
      starts: starts([...deno, "--allow-ffi"]),
    },
    { name: "Bun", command: [bun, "--expose-gc", file("contender.ts")], starts: starts([bun]) },
    {
      name: "Node",
      command: [...node, "--expose-gc", file("contender.ts")],
      starts: starts(node),
    },
  );

  const python = ["python3", "/usr/bin/python3"].find((path) =>
    succeeds(path, "-c", "import sysv_ipc")
  );
  if (python === undefined) console.log("Without Python: none has sysv_ipc");
  else {
    const operation =
      "import sysv_ipc; s = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX); s.release(); s.remove()";
    found.push({
      name: "Python",
      command: [python, file("contender.py")],
      starts: [[python, "-c", ""], [python, "-c", operation]],
    });
  }
  const has = `exit((int) !(function_exists("sem_get") && function_exists("msg_send")));`;
  if (!succeeds("php", "-r", has)) console.log("Without PHP: it lacks sysvsem and sysvmsg");
  else {
    const operation = "$s = sem_get(0); sem_acquire($s); sem_remove($s);";
    found.push({
      name: "PHP",
      command: ["php", file("contender.php")],
      starts: [["php", "-r", ""], ["php", "-r", operation]],
    });
  }
  if (!succeeds("perl", "-MIPC::Semaphore", "-MIPC::Msg", "-e", "1")) {
    console.log("Without Perl: it lacks IPC::SysV");
  } else {
    const operation =
      "$s = IPC::Semaphore->new(0, 1, 0600); $s->op(0, 1, 0) or die; $s->remove or die";
    found.push({
      name: "Perl",
      command: ["perl", file("contender.pl")],
      starts: [["perl", "-e", ""], ["perl", "-MIPC::Semaphore", "-e", operation]],
    });
  }
  return found;
}

/** Somebody who measures one batch when asked. */
interface Runner extends AsyncDisposable {
  batch(): Promise<Numbers>;
}

let objects = 0;

/** Runs a contender's program, and with it the one that answers it, on objects of their own. */
function program(contender: Contender, row: Row): Runner {
  const { name, command, task = row.task ?? row.name } = contender;
  const { values = [1, 0, 0], cpus } = row;
  const made = [0, 1].map((index) => {
    const key = `bench ${process.pid} ${name} ${objects++}`;
    const object = index === 0 && values === "queue"
      ? MessageQueue.create({ key })
      : SemaphoreSet.create({ key, values: values === "queue" ? [0] : values });
    return { key, object, forgotten: removeOnExit(object) };
  });
  const keys = made.map(({ key }) => String(keyOf(key)));
  const start = (cpu: string | undefined, task: string, keys: string[]) =>
    new Child([...(cpu === undefined ? [] : ["taskset", "-c", cpu]), ...command, task, ...keys]);
  const asked = start(cpus?.[0], task, keys);
  const answering = cpus && start(cpus[1], `answer-${task}`, keys);
  answering?.say("1");
  return {
    async batch() {
      asked.say(String(row.count));
      return JSON.parse(await asked.hear());
    },
    async [Symbol.asyncDispose]() {
      await asked[Symbol.asyncDispose]();
      await answering?.[Symbol.asyncDispose]();
      for (const { object, forgotten } of made) {
        forgotten[Symbol.dispose]();
        object[Symbol.dispose]();
      }
    },
  };
}

/** Starts a contender twice, without and with a first operation. */
function starter({ starts = [] }: Contender): Runner {
  const time = ([command, ...args]: readonly string[]) => {
    const start = performance.now();
    const { status, stderr } = spawnSync(command!, args);
    if (status !== 0) throw new Error(`Cannot run ${command} ${args.join(" ")}:\n${stderr}`);
    return performance.now() - start;
  };
  return {
    batch() {
      const [empty, first] = starts.map(time);
      return Promise.resolve({ ms: first! - empty!, empty: empty! });
    },
    async [Symbol.asyncDispose]() {},
  };
}

function rank(numbers: readonly number[], share: number): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(share * numbers.length)]!;
}

const show = (number: number) => number.toFixed(Math.abs(number) < 100 ? 1 : 0);

async function measure(row: Row, all: readonly Contender[]): Promise<void> {
  console.log(`\n${row.name}: ${row.title}`);
  if (row.cpus?.some((cpu) => !succeeds("taskset", "-c", cpu, "true"))) {
    console.log("Left out: it needs taskset and as many CPUs");
    return;
  }
  const taking = all.filter(({ name }) => row.peers.includes(name) || runtimes.includes(name));
  for (const { contender, ...other } of row.others ?? []) {
    const found = all.find(({ name }) => name === contender);
    if (found !== undefined) taking.push({ ...found, ...other });
  }
  const runners: Runner[] = [];
  const results: Numbers[][] = taking.map(() => []);
  try {
    for (const contender of taking) {
      runners.push(row.name === "start" ? starter(contender) : program(contender, row));
    }
    const batches = (row.batches ?? [21, 5])[quick ? 1 : 0];
    const unmeasured = row.batches === undefined ? 3 : 1;
    for (let turn = -unmeasured; turn < batches; turn++) {
      for (const [index, runner] of runners.entries()) {
        const numbers = await runner.batch();
        if (turn >= 0) results[index]!.push(numbers);
      }
    }
  } finally {
    for (const runner of runners) await runner[Symbol.asyncDispose]();
  }
  print(row, taking, results);
}

function print(row: Row, taking: readonly Contender[], results: readonly Numbers[][]): void {
  const c = results[taking.findIndex(({ name }) => name === "C")];
  const lines = taking.map(({ name }, index) => {
    const numbers = results[index]!;
    const units = Object.keys(numbers[0]!);
    const [main] = units;
    const of = (unit: string) => numbers.map((numbers) => numbers[unit]!);
    const medians = units.map((unit) => `${show(rank(of(unit), 0.5))} ${unit}`);
    const half = `${show(rank(of(main!), 0.25))} to ${show(rank(of(main!), 0.75))}`;
    const ratio = c && rank(of(main!).map((number, turn) => number / c[turn]![main!]!), 0.5);
    return [
      name,
      `${medians[0]} (${half})`,
      medians.slice(1).join(", "),
      ratio === undefined || name === "C" ? "" : `${ratio.toFixed(2)} x C`,
      name === "Deno" || name === "Bun" ? verdict(row, ratio, rank(of(main!), 0.5)) : "",
    ];
  });
  const widths = lines[0]!.map((_, column) =>
    Math.max(...lines.map((line) => line[column]!.length))
  );
  for (const line of lines) {
    console.log(
      `  ${line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd(),
    );
  }
  if (row.note !== undefined) console.log(`  ${row.note}`);
}

function verdict({ ratio, most }: Row, measured: number | undefined, number: number): string {
  if (ratio !== undefined && measured !== undefined) {
    return measured <= ratio ? `met (${ratio})` : `OVER (${ratio})`;
  }
  if (most !== undefined) return number <= most ? `met (${most})` : `OVER (${most})`;
  return "";
}

const all = contenders();
for (const row of rows) {
  if (only === undefined || only === row.name) await measure(row, all);
}
