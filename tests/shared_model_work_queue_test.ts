import { test } from "node:test";
import { Jobs } from "../shared/jobs.ts";
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

test("WorkQueue survives a sender and two workers", () => {
  holds(workQueue({ ...team, deaths: 0 }, Jobs));
});

test(
  "WorkQueue with room for two survives two deaths of a sender and a worker",
  { skip: !soak },
  () => {
    holds(workQueue({ ...pair, deaths: 2, capacity: 2 }, Jobs));
  },
);

test("WorkQueue survives a death of a sender and two workers", { skip: !soak }, () => {
  holds(workQueue({ ...team, most: 2 }, Jobs));
});

test("WorkQueue survives a death of two senders and a worker", { skip: !soak }, () => {
  holds(workQueue({ ...team, senders: 2, workers: 1, most: 2 }, Jobs));
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

for (
  const [title, path, why, from, to, limits = pair] of [
    [
      "a job is ready before it is written",
      "jobs.ts",
      spoilt,
      setBytes,
      `this.#store(at, READY);${setBytes}`,
    ],
    [
      "a job goes back while its holder lives",
      "reclaimer.ts",
      "Two hold a job",
      "!(values[protocol.alive(place)]! > 0)",
      "true",
      team,
    ],
    [
      "nobody looks for jobs of the dead",
      "reclaimer.ts",
      asleep,
      "this.#jobs.claimed === 0",
      "true",
      team,
    ],
    [
      "a newcomer keeps the jobs of its place",
      "reclaimer.ts",
      asleep,
      "places.includes(place)",
      "false",
      team,
    ],
    ["the table stays as the dead left it", "reclaimer.ts", "A job", ", deaths > 0)", ", false)"],
    ["an attempt does not count", "jobs.ts", "attempts", "this.#store(at + 1, attempts);", ""],
    [
      "a job is free before it is done",
      "jobs.ts",
      "A job is lost",
      "this.#store(at, HANDS + place);",
      "this.#store(at, FREE);",
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
