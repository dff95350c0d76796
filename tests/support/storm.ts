/**
 * Storms: processes that do something for ever and are killed at random moments, and come again.
 *
 * @module
 */

import process from "node:process";
import { SharedMemory } from "@sysv/ipc";
import { type Child, nthRuntime, run } from "./child.ts";
import { passed } from "./time.ts";

/** What all programs of a storm begin with: the structures, and a ledger in which they count. */
export const prelude = `
  import * as shared from ${JSON.stringify(new URL("../../shared/mod.ts", import.meta.url).href)};
  const { bytes, Broadcast, Channel, json, SharedMutex, SharedVariable, text, WorkQueue } = shared;
  const [structure, ledgerId, lane, incarnation] = args.map(Number);
  const ledgerMemory = SharedMemory.fromId(ledgerId);
  const ledger = new Int32Array(ledgerMemory.buffer);
  /** Counts that this one goes on, for the storm to see. */
  const count = () => Atomics.add(ledger, 16 + 16 * lane, 1);
  const WRONG = 0;
  const wrong = (...what) => { console.error(...what); Atomics.add(ledger, WRONG, 1); };
  const expected = (error, ...names) => {
    if (!names.includes(error.name) && !names.includes(error.code)) wrong(String(error), error.stack);
  };
  void [bytes, Broadcast, Channel, json, SharedMutex, SharedVariable, text, WorkQueue, count, expected];
`;

/** A ledger that the processes of a storm share: word 0 counts what is wrong. */
export class Ledger implements Disposable {
  readonly memory: SharedMemory;
  readonly words: Int32Array;

  constructor(words: number) {
    this.memory = SharedMemory.create({ size: 4 * words });
    this.words = new Int32Array(this.memory.buffer);
  }

  at(word: number): number {
    return Atomics.load(this.words, word);
  }

  [Symbol.dispose](): void {
    this.memory[Symbol.dispose]();
  }
}

/** What a storm does. */
export interface Storm {
  /** The identifier of the structure. */
  readonly structure: number;
  readonly ledger: Ledger;
  /** A program for each lane. */
  readonly programs: readonly string[];
  /** How many are killed. */
  readonly kills: number;
  /** The lanes that are not killed. */
  readonly spared?: readonly number[];
  /** Called after each kill, with the lane and how often it was started before. */
  readonly killed?: (lane: number, incarnation: number) => void;
}

/** What came of it. */
export interface Outcome {
  /** How often each lane was killed. */
  readonly kills: readonly number[];
  /** How often each lane was started. */
  readonly starts: readonly number[];
  /** How often each lane counted. */
  readonly counts: readonly number[];
  /** Ends those who are left. */
  end(lanes?: readonly number[]): Promise<void>;
}

/** How long nobody may go on before the storm is taken to be stuck, in milliseconds. */
const STUCK = 30_000;

/** Runs a storm, and leaves the processes running. */
export async function storm(
  { structure, ledger, programs, kills, spared = [], killed }: Storm,
): Promise<Outcome> {
  const lanes = programs.map((_, lane) => lane);
  const children: (Child | undefined)[] = [];
  const starts = lanes.map(() => 0);
  const killedIn = lanes.map(() => 0);
  const countOf = (lane: number) => ledger.at(16 + 16 * lane);
  const start = (lane: number) => {
    const options = {
      runtime: nthRuntime(lane + starts[lane]!),
      args: [structure, ledger.memory.id, lane, starts[lane]!],
    };
    starts[lane]!++;
    children[lane] = run(prelude + programs[lane]!, options);
  };
  for (const lane of lanes) start(lane);
  const goesOn = async (lane: number) => {
    const before = countOf(lane);
    const since = performance.now();
    while (countOf(lane) === before) {
      if (performance.now() - since > STUCK) {
        const complaints = children.map((child) => child?.stderr).join("\n");
        throw new Error(`Lane ${lane} is stuck after ${killedIn} kills\n${complaints}`);
      }
      await passed(1);
    }
  };
  const victims = lanes.filter((lane) => !spared.includes(lane));
  for (let kill = 0; kill < kills; kill++) {
    const lane = victims[Math.floor(Math.random() * victims.length)]!;
    await goesOn(lane);
    await passed(Math.random() * 6);
    await children[lane]!.kill();
    killedIn[lane]!++;
    killed?.(lane, starts[lane]! - 1);
    start(lane);
  }
  // Whoever is left goes on.
  for (const lane of lanes) await goesOn(lane);
  if (isSoak) process.stderr.write(`kills ${killedIn}, counts ${lanes.map(countOf)}\n`);
  return {
    kills: killedIn,
    starts,
    counts: lanes.map(countOf),
    async end(which = lanes) {
      await Promise.all(which.map(async (lane) => {
        await children[lane]?.kill();
        children[lane] = undefined;
      }));
    },
  };
}

const isSoak = process.env.IPC_TEST_SOAK === "1";

/** How many kills: few in the suite, many in a soak. */
export function killsOf(few: number, many: number): number {
  return isSoak ? many : few;
}
