import { test } from "node:test";
import { broadcast, type BroadcastLimits } from "./shared_model/broadcast.ts";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";
import { mutant } from "./shared_model/mutant.ts";

type Module = typeof import("../shared/log.ts");

const short = [
  // Two looks for a moment in which nobody writes are as good as many.
  ["const MAX_LOOKS = 1000;", "const MAX_LOOKS = 2;"],
  // So few messages do not come round to where a reader is.
  ["this.#mayHaveWrapped(position) && this.#isGone(position)", "false"],
] as const;
const { Log } = await mutant<Module>("log.ts", ...short);

test("Broadcast survives a death and every cancel of a publisher and a subscriber", () => {
  holds(broadcast({ publishers: 1, subscribers: 1, deaths: 1, cancels: Infinity, most: 4 }, Log));
});

test("Broadcast survives two publishers and a subscriber", () => {
  holds(broadcast({ publishers: 2, subscribers: 1, deaths: 0, most: 1 }, Log));
});

/** A subscriber that always looks whether the tail may have come round to its position. */
const wary = await mutant<Module>("log.ts", short[0], ["this.#mayHaveWrapped(position) && ", ""]);

test("Broadcast survives a subscriber that looks whether its message is gone", () => {
  holds(broadcast({ publishers: 1, subscribers: 1, deaths: 0, most: 3 }, wary.Log));
});

test(
  "Broadcast survives a death of one that looks whether its message is gone",
  { skip: !soak },
  () => {
    holds(broadcast({ publishers: 1, subscribers: 1, deaths: 1, most: 4 }, wary.Log));
  },
);

test("Broadcast survives a death of two publishers and a subscriber", { skip: !soak }, () => {
  holds(broadcast({ publishers: 2, subscribers: 1, deaths: 1, most: 1 }, Log));
});

test("Broadcast survives a death of a publisher and two subscribers", { skip: !soak }, () => {
  holds(broadcast({ publishers: 1, subscribers: 2, deaths: 1, most: 1 }, Log));
});

const pair: BroadcastLimits = {
  publishers: 1,
  subscribers: 1,
  deaths: 1,
  cancels: Infinity,
  most: 4,
};
const wrong = "What was received is no message";

for (
  const [title, Flawed, why, limits = pair] of [
    ["nobody looks again before sleeping", flaws.LooksNoMore, asleep],
    ["who sleeps does not announce it", flaws.AnnouncesNothing, asleep],
    ["nobody is woken", flaws.WakesNobody, asleep],
    ["only one is woken", flaws.WakesOneOfAll, asleep, { ...pair, subscribers: 2, deaths: 0 }],
    ["WAKE is taken away without a second look", flaws.LooksOnce, asleep],
    ["nobody frees what the dead held", flaws.FreesNothing, asleep],
  ] as const
) {
  test(`The model of Broadcast finds what is wrong if ${title}`, () => {
    fails(broadcast(limits, Log, Flawed), why);
  });
}

const writeLength = "Atomics.store(words, this.#word(tail), bytes.length);";
const stillOrNot =
  "const isStill = ownerOf(Atomics.load(words, writers.word)) === 0;\n      if (isStill &&";
const storeTail = "Atomics.store(words, TAIL, end);";
const storeNext = "Atomics.store(words, NEXT, (low + 1) | 0);";

for (
  const [title, why, from, to] of [
    [
      "a message is there before it is written",
      wrong,
      writeLength,
      storeNext + storeTail + writeLength,
    ],
    ["messages are written over before they go", wrong, "if (oldest !== first) A", "if (false) A"],
    ["subscribers do not look whether they were overtaken", wrong, "if (!isOld)", "if (true)"],
    [
      "the dead use no numbers up",
      "miscounted",
      `${storeNext}\n    ${storeTail}`,
      storeTail + storeNext,
    ],
    ["a subscription does not mind who publishes", wrong, stillOrNot, "if ("],
  ] as const
) {
  test(`The model of Broadcast finds what is wrong if ${title}`, async () => {
    const Flawed = await mutant<Module>("log.ts", ...short, [from, to]);
    fails(broadcast(pair, Flawed.Log), why);
  });
}
