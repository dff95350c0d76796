import { test } from "node:test";
import { Jobs, ready } from "../shared/jobs.ts";
import { LINE } from "../shared/layout.ts";
import type { Facts } from "./shared_model/acts.ts";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";
import { mutant } from "./shared_model/mutant.ts";
import { workQueue, type WorkQueueLimits } from "./shared_model/work_queue.ts";

const pair: WorkQueueLimits = {
  senders: 1,
  workers: 1,
  deaths: 1,
  cancels: Infinity,
  most: 2,
  capacity: 1,
};
const team: WorkQueueLimits = { ...pair, workers: 2, cancels: 0, most: 1 };

test("WorkQueue survives a death and every cancel of a sender and a worker", () => {
  holds(workQueue(pair, Jobs));
});

test("WorkQueue survives a death of one of two workers", () => {
  holds(workQueue({ ...team, senders: 0, isSent: true, givesBack: false }, Jobs));
});

test("WorkQueue survives two deaths of two workers", { skip: !soak }, () => {
  holds(workQueue({ ...team, senders: 0, isSent: true, deaths: 2 }, Jobs));
});

test(
  "WorkQueue with room for two survives a death of a sender and a worker",
  { skip: !soak },
  () => {
    holds(workQueue({ ...pair, cancels: 0, capacity: 2 }, Jobs));
  },
);

test("WorkQueue survives a sender and two workers", () => {
  holds(workQueue({ ...team, deaths: 0, givesBack: false }, Jobs));
});

test("WorkQueue survives a death among a sender and two workers", { skip: !soak }, () => {
  holds(workQueue(team, Jobs));
});

test("WorkQueue survives a death and a cancel of a sender and two workers", { skip: !soak }, () => {
  holds(workQueue({ ...team, cancels: 1, givesBack: false }, Jobs));
});

test("WorkQueue survives a death among two senders and a worker", { skip: !soak }, () => {
  // There is no room for the second job until the first is done.
  const office: WorkQueueLimits = { ...team, senders: 2, workers: 1, isSent: true, most: 2 };
  holds(workQueue({ ...office, givesBack: false }, Jobs));
});

test("The search finds that others touch what a process is said to have to itself", () => {
  const model = workQueue(pair, Jobs);
  const head = 2 * LINE;
  const isOwn = (word: number, { role }: Facts) => word === head && role === 0;
  fails({ ...model, isOwn }, `Word ${head} is touched while place 1 has it to itself`);
});

test("The search finds that others change what a process is said to rely on", () => {
  const model = workQueue(pair, Jobs);
  const isStable = (word: number) => word === ready.word;
  fails({ ...model, isStable }, `Word ${ready.word} changes while place 1 relies on it`);
});

for (
  const [title, Flawed, limits = pair] of [
    ["nobody looks again before sleeping", flaws.LooksNoMore],
    ["who sleeps does not announce it", flaws.AnnouncesNothing],
    ["nobody is woken", flaws.WakesNobody],
    ["WAKE is taken away without a second look", flaws.LooksOnce],
    ["nobody frees what the dead held", flaws.FreesNothing],
    ["bells are not armed", flaws.NoArming, team],
  ] as const
) {
  test(`The model of WorkQueue finds what is wrong if ${title}`, () => {
    fails(workQueue(limits, Jobs, { Protocol: Flawed }), asleep);
  });
}

const spoilt = "A job was lost by its holder, or the table is spoilt";
const setBytes = "this.#bytes.set(bytes,";
const give = "this.#store(at, HANDS + place);";
/** Workers and a job that is sent already. */
const shift: WorkQueueLimits = { ...team, senders: 0, isSent: true };

for (
  const [title, path, why, from, to, limits = pair] of [
    [
      "a job is ready before it is written",
      "jobs.ts",
      "A job is lost",
      setBytes,
      `this.#store(at, READY); ${setBytes}`,
    ],
    [
      "a job goes back while its holder lives",
      "reclaimer.ts",
      "Two hold a job",
      "!(values[protocol.alive(place)]! > 0)",
      "true",
      shift,
    ],
    [
      "nobody looks for jobs of the dead",
      "reclaimer.ts",
      asleep,
      "!this.#jobs.takeDisowned() && !this.#isDue()",
      "true",
      shift,
    ],
    [
      "a newcomer keeps the jobs of its place",
      "jobs.ts",
      asleep,
      "let slot = 0; slot < this.#capacity; slot++) {\n      if (yield",
      "let slot = 0; slot < 0; slot++) {\n      if (yield",
      shift,
    ],
    [
      "a newcomer does not say that it has disowned jobs",
      "jobs.ts",
      asleep,
      "if (found) yield* setBits(DISOWNED, 1);",
      "",
      shift,
    ],
    [
      "the table stays as the dead left it",
      "reclaimer.ts",
      spoilt,
      "if (deaths > 0) this.#jobs.rebuild();",
      "",
    ],
    ["an attempt does not count", "jobs.ts", spoilt, "this.#store(at + 1, attempts);", "", shift],
    [
      "a job is done as it is given out",
      "jobs.ts",
      "A job is lost",
      give,
      "this.#store(at, FREE);",
      shift,
    ],
  ] as const
) {
  test(`The model of WorkQueue finds what is wrong if ${title}`, async () => {
    const { Jobs: Table = Jobs, ...flaws } = await mutant<Mutant>(path, [from, to]);
    fails(workQueue(limits, Table, flaws), why);
  });
}

type Mutant =
  & Partial<typeof import("../shared/jobs.ts")>
  & Partial<typeof import("../shared/reclaimer.ts")>;
