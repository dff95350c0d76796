/**
 * Compares structures in shared memory with what C has, in the same run: a robust pthread mutex, and
 * msgsnd and msgrcv. Senders and receivers stand on two CPUs.
 *
 *     deno task bench:shared [--seconds=N] [--only=free|turns|into-64|try-64|own-64|into-4096|own-4096|promise-64|two|latency]
 *
 * @module
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { MessageQueue, SharedMemory } from "@sysv/ipc";
import { bytes, Channel, SharedMutex } from "@sysv/ipc/shared";
import { findBun, findNode } from "./runtimes.ts";

const { seconds, only } = parseArgs(Deno.args, {
  string: ["seconds", "only"],
  default: { seconds: "1", only: "" },
});
const folder = mkdtempSync(join(tmpdir(), "sysv-ipc-bench-"));
const c = join(folder, "shared");
const here = import.meta.dirname!;
execFileSync("cc", ["-O2", "-o", c, join(here, "bench/shared.c"), "-lpthread"]);

type Name = "deno" | "bun" | "node";
const commands: Record<Name, string[]> = {
  deno: [Deno.execPath(), "run", "-A", "--no-check"],
  bun: [findBun()],
  node: [findNode(), "--disable-warning=ExperimentalWarning"],
};

/** What C does, as a number. */
function inC(...args: (string | number)[]): number {
  return Number(execFileSync(c, args.map(String), { encoding: "utf8" }));
}

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1]!;
}

function member(name: Name, cpu: number, ...args: (string | number)[]) {
  const [path, ...rest] = [...commands[name], join(here, "bench/shared_member.ts")];
  return spawn("taskset", ["-c", String(cpu), path!, ...rest, ...args.map(String)], {
    stdio: ["ignore", "inherit", "inherit"],
  });
}

function killed(child: ChildProcess): Promise<unknown> {
  process.kill(child.pid!, "SIGKILL");
  return new Promise((resolve) => child.once("exit", resolve));
}

const passed = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Lane {
  readonly name: Name;
  readonly cpu: number;
  readonly task: string;
}

/** How often all lanes together count in a second: the median of five. */
async function rate(
  lanes: readonly Lane[],
  form: string,
  structure: number,
  size = 0,
): Promise<number> {
  using ledger = SharedMemory.create({ size: 8192 });
  const counts = new Int32Array(ledger.buffer);
  const members = lanes.map(({ name, cpu, task }, lane) =>
    member(name, cpu, task, form, structure, ledger.id, lane, size)
  );
  const total = () =>
    lanes.reduce((sum, _, lane) => sum + Atomics.load(counts, 32 * (1 + lane)), 0);
  while (total() === 0) await passed(10);
  await passed(500);
  const rates: number[] = [];
  for (let round = 0; round < 5; round++) {
    const [before, start] = [total(), performance.now()];
    await passed(Number(seconds) * 100);
    rates.push((total() - before) / (performance.now() - start) * 1000);
  }
  await Promise.all(members.map(killed));
  return median(rates);
}

function free(name: Name): void {
  const [path, ...args] = [...commands[name], join(here, "bench/shared_member.ts")];
  const task = ["free", "", "0", "0", "0"];
  using ledger = SharedMemory.create({ size: 64 });
  task[3] = String(ledger.id);
  const ours = Number(execFileSync(path!, [...args, ...task], { encoding: "utf8" }));
  const theirs = inC("free", 5_000_000);
  console.log(
    `SharedMutex, free: lock and release   ${name.padEnd(9)} ${ours} ns; C robust ${theirs} ns`,
  );
}

async function turns(one: Name, two: Name): Promise<void> {
  using mutex = SharedMutex.create();
  const lanes = [{ name: one, cpu: 0, task: "turns" }, { name: two, cpu: 1, task: "turns" }];
  const ours = 1e9 / await rate(lanes, "", mutex.id);
  const theirs = inC("turns", seconds);
  const ratio = (ours / theirs).toFixed(1);
  console.log(
    `SharedMutex, two taking turns         ${one}:${two} ${
      ours.toFixed(0)
    } ns; C robust ${theirs} ns; ${ratio} times`,
  );
}

/** Where lines of memory leave the caches of one processor before they come round, long messages are faster. */
function capacityFor(size: number): number {
  return size < 1024 ? 1 << 18 : 1 << 20;
}

/** Ours and C's take turns, as two virtual CPUs are near each other at one time and far at another. */
async function stream(
  senders: Name[],
  receivers: Name[],
  size: number,
  form: string,
): Promise<void> {
  const lanes = [
    ...senders.map((name, index) => ({ name, cpu: index % 2, task: "send" })),
    ...receivers.map((name, index) => ({ name, cpu: (index + 1) % 2, task: "receive" })),
  ];
  const [ours, theirs, ratios] = [[], [], []] as [number[], number[], number[]];
  for (let turn = 0; turn < 3; turn++) {
    using channel = Channel.create({ codec: bytes, capacity: capacityFor(size) });
    ours.push(await rate(lanes, form, channel.id, size));
    const rounds = [1, 2].map(() => inC("stream", size, 0.3, senders.length, receivers.length));
    theirs.push((rounds[0]! + rounds[1]!) / 2);
    ratios.push(ours[turn]! / theirs[turn]!);
  }
  const who = `${senders.join("+")}:${receivers.join("+")}`;
  const [our, their] = [ours, theirs].map((rates) => (1e9 / median(rates)).toFixed(0));
  console.log(
    `Channel, ${size} bytes, ${form.padEnd(8)} ${who.padEnd(20)} ${our} ns; ` +
      `C msgsnd and msgrcv ${their} ns; ${median(ratios).toFixed(1)} times as many`,
  );
}

const alike: [Name, Name][] = [["deno", "deno"], ["bun", "bun"], ["node", "node"]];

/** The median time of a message and its answer between promises that sleep until they come. */
async function latency(one: Name, two: Name): Promise<void> {
  using thereChannel = Channel.create({ codec: bytes });
  using backChannel = Channel.create({ codec: bytes });
  using thereQueue = MessageQueue.create();
  using backQueue = MessageQueue.create();
  using ledger = SharedMemory.create({ size: 64 });
  const ids = [thereChannel, backChannel, thereQueue, backQueue].map(({ id }) => id).join();
  const other = member(two, 1, "echo", "", ids, ledger.id);
  await passed(500);
  const [path, ...args] = [...commands[one], join(here, "bench/shared_member.ts")];
  const pinging = ["-c", "0", path!, ...args, "ping", "", ids, String(ledger.id)];
  const output = execFileSync("taskset", pinging, { encoding: "utf8" });
  const [ours, theirs] = output.trim().split(" ").map(Number) as [number, number];
  await killed(other);
  console.log(
    `Channel, 64 bytes, idle, both ways   ${
      `${one}:${two}`.padEnd(9)
    } ${ours} us; MessageQueue ${theirs} us; ${(ours / theirs).toFixed(2)} times`,
  );
}

const pairs: [Name, Name][] = [
  ...alike,
  ["deno", "bun"],
  ["bun", "deno"],
  ["bun", "node"],
  ["node", "deno"],
];
const forms = [
  ["into", 64],
  ["try", 64],
  ["own", 64],
  ["into", 4096],
  ["own", 4096],
  ["promise", 64],
] as const;

/** Measures rows one after the other, unless others were asked for. */
async function measure<Given extends unknown[]>(
  row: string,
  run: (...given: Given) => void | Promise<void>,
  all: readonly Given[],
): Promise<void> {
  if (only !== "" && only !== row) return;
  for (const given of all) await run(...given);
}

await measure("free", free, alike.map(([name]): [Name] => [name]));
await measure("turns", turns, pairs.slice(0, 4));
for (const [form, size] of forms) {
  const run = (one: Name, two: Name) => stream([one], [two], size, form);
  await measure(`${form}-${size}`, run, pairs);
}
const runTwo = (one: Name, two: Name) => stream([one, two], [one, two], 64, "into");
await measure("two", runTwo, pairs.slice(0, 4));
await measure("latency", latency, pairs);
rmSync(folder, { recursive: true });
