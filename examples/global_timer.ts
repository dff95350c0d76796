/**
 * One timer for many processes: exactly one of them owns it, and when the owner is killed, another
 * process takes over at once.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/global_timer.ts
 *     bun examples/global_timer.ts
 *     node examples/global_timer.ts
 *
 * Five candidates wait for the timer, in all runtimes that are installed. The owner
 * is killed with SIGKILL again and again. Every tick is a message in one queue, so the kernel puts them
 * in order, and their terms show whether two processes ever owned the timer at once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { MessageQueue, removeOnExit } from "@sysv/ipc";
import { GETNCNT, semctl } from "@sysv/ipc/libc";
import { Leader } from "@sysv/ipc/sync";
import { findRuntimes, type Runtime } from "./runtimes.ts";

const INTERVAL = 10; // milliseconds
const KILLS = 9;

interface Tick {
  readonly pid: number;
  readonly term: number;
  /** Milliseconds by the clock that all processes share. */
  readonly time: number;
}

const now = () => performance.timeOrigin + performance.now();

/** Runs a candidate until the timer is removed, which a promise of `every` rejects with. */
async function compete(timer: Leader, ticks: MessageQueue): Promise<void> {
  const tick = ({ term }: { term: number }) => {
    const tick: Tick = { pid: process.pid, term, time: now() };
    return ticks.send(JSON.stringify(tick));
  };
  await assert.rejects(timer.every(INTERVAL, tick, { immediate: true }), { code: "EIDRM" });
}

interface Candidate {
  readonly runtime: Runtime;
  readonly child: ChildProcess;
}

function start(
  [runtime, command]: readonly [Runtime, readonly string[]],
  timer: Leader,
  ticks: MessageQueue,
): Candidate {
  const [path, ...args] = [...command, import.meta.filename!, timer.id, ticks.id].map(String);
  const child = spawn(path!, args, { stdio: ["ignore", "ignore", "inherit"] });
  child.on("exit", (code) => assert(!code, `A candidate failed with ${code}`));
  return { runtime, child };
}

/** Waits until `count` candidates stand behind the owner, so that a kill measures the takeover alone. */
async function inLine(timer: Leader, count: number): Promise<void> {
  while (semctl(timer.id, 0, GETNCNT) !== count) await sleep(1);
}

async function watch(timer: Leader, ticks: MessageQueue): Promise<void> {
  const commands = findRuntimes(["--allow-ffi"]);
  const installed = [...commands.keys()];
  const runtimes = [0, 1, 2, 3, 4].map((n) => installed[n % installed.length]!);
  const candidates = new Map<number, Candidate>();
  const join = (runtime: Runtime) => {
    const candidate = start([runtime, commands.get(runtime)!], timer, ticks);
    candidates.set(candidate.child.pid!, candidate);
  };
  runtimes.forEach(join);
  console.log(`Candidates for one timer: ${runtimes.join(", ")}.`);

  let ticked = 0;
  let last: Tick = { pid: 0, term: 0, time: 0 };
  const next = async () => {
    const tick = (await ticks.receive()).json<Tick>();
    // A tick of a former owner would have a smaller term.
    assert.equal(tick.term, tick.pid === last.pid ? last.term : last.term + 1);
    ticked++;
    return last = tick;
  };

  /** Kills the owner and returns after how many milliseconds the next one ticked. */
  const killOwner = async () => {
    await inLine(timer, runtimes.length - 1);
    const { pid } = await next();
    const { runtime, child } = candidates.get(pid)!;
    assert.equal(timer.leaderPid, pid);
    candidates.delete(pid);

    const killed = now();
    child.kill("SIGKILL");
    let tick = await next();
    while (tick.pid === pid) tick = await next();
    const milliseconds = tick.time - killed;
    console.log(
      `${runtime} ${pid} killed: ${candidates.get(tick.pid)!.runtime} ${tick.pid} took over ` +
        `in ${milliseconds.toFixed(1)} ms, term ${tick.term}`,
    );
    join(runtime);
    return milliseconds;
  };

  const takeovers: number[] = [];
  while (takeovers.length < KILLS) takeovers.push(await killOwner());
  takeovers.sort((a, b) => a - b);
  const [median, max] = [takeovers[KILLS >> 1]!, takeovers.at(-1)!];
  console.log(
    `${KILLS} owners were killed, and another took over in ${median.toFixed(1)} ms (median), ` +
      `${max.toFixed(1)} ms at most.`,
  );

  // Removing the timer ends the owner and the candidates.
  await inLine(timer, runtimes.length - 1);
  const ends = [...candidates.values()].map(({ child }) => once(child, "exit"));
  timer.remove();
  for (const [code] of await Promise.all(ends)) assert.equal(code, 0);
  while (ticks.stat().messages > 0) await next();
  console.log(`Of ${ticked} ticks none came from two owners at once: the terms only grew.`);
}

const [timerId, ticksId] = process.argv.slice(2).map(Number);
if (timerId !== undefined && ticksId !== undefined) {
  await compete(Leader.fromId(timerId), MessageQueue.fromId(ticksId));
} else {
  const timer = Leader.create();
  const ticks = MessageQueue.create();
  // Neither Ctrl-C nor a failed assertion may leave them in the kernel.
  removeOnExit(timer, ticks);
  await watch(timer, ticks);
  ticks.remove();
  assert.throws(() => Leader.fromId(timer.id), { code: "EIDRM" });
  console.log("It ended with no process and nothing in the kernel.");
}
