import { assertEquals, assertMatch } from "@std/assert";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { command, projectFile, runtime } from "./support/child.ts";

const folder = "examples/unix";

/** What each program claims at its end, once it has asserted it. */
const claims: Readonly<Record<string, RegExp>> = {
  "ordered_by_latch.ts": /^4 children worked side by side, and latches put their results in order/,
  "ordered_by_semaphores.ts": /^4 children .* semaphores put their results in order/,
  "ordered_by_signals.ts": /^4 children .* signals put their results in order/,
  "pipe_blocking.ts": /^Waiting took \d+\.\d % of a processor, and nothing else could happen/,
  "pipe_epoll.ts": /^Waiting took \d+\.\d % of a processor, and the event loop went on/,
  "pipe_nonblocking.ts": /^Looking \d+ times in vain took \d+\.\d % of a processor/,
  "pipe_poll.ts": /^Waiting took \d+\.\d % of a processor, and the event loop went on/,
  "pipe_select.ts": /^Waiting took \d+\.\d % of a processor, and the event loop went on/,
  "slow_child.ts": /^A quick child may end by itself, and a slow one is killed/,
  "which_polling.ts": /^This system has select, poll(, epoll)?/,
  "worker_pool.ts": /^3 workers found 9592 primes below 100000 in 40 jobs/,
};

/** Runs a program with the permissions that its first lines tell, and gives its last line. */
async function run(name: string): Promise<string> {
  const file = projectFile(`${folder}/${name}`);
  const [, permissions] = readFileSync(file, "utf8").match(/deno run (.*) examples/)!;
  const [program, ...args] = command(file, runtime, permissions!.split(" "));
  // It ends when all have ended to whom the program gave its output, its children too.
  const { stdout, stderr } = await promisify(execFile)(program!, args);
  assertEquals(stderr, "");
  return stdout.trimEnd().split("\n").at(-1)!;
}

// They mostly wait: some at a time.
const lanes = new Array(4).fill(Promise.resolve());
const outcomes = new Map(
  Object.keys(claims).map((name, number) => {
    const outcome: Promise<string> = lanes[number % lanes.length].then(() => run(name));
    lanes[number % lanes.length] = outcome.catch(() => {});
    return [name, outcome];
  }),
);

for (const [name, claim] of Object.entries(claims)) {
  test(`${folder}/${name} keeps its claim`, async () => {
    assertMatch(await outcomes.get(name)!, claim);
  });
}

test("All programs of the Unix classics are run", () => {
  const shared = ["talkers.ts"];
  const programs = readdirSync(projectFile(folder)).filter((name) => !shared.includes(name));
  assertEquals(programs.sort(), Object.keys(claims));
});
