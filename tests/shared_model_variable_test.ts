import { test } from "node:test";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";
import { mutant } from "./shared_model/mutant.ts";
import { variable, type VariableLimits } from "./shared_model/variable.ts";

test("SharedVariable survives a death and every cancel of a writer and a reader", () => {
  holds(variable({ writers: 1, readers: 1, deaths: 1, cancels: Infinity, most: 6 }));
});

test("SharedVariable survives two writers and a reader", () => {
  holds(variable({ writers: 2, readers: 1, deaths: 0, most: 2 }));
});

test("SharedVariable survives a death of two writers and a reader", { skip: !soak }, () => {
  holds(variable({ writers: 2, readers: 1, deaths: 1, cancels: Infinity, most: 3 }));
});

const pair: VariableLimits = { writers: 1, readers: 1, deaths: 1, cancels: Infinity, most: 6 };
const torn = "A torn value was read";

for (
  const [title, Flawed, why, limits = pair] of [
    ["nobody looks again before sleeping", flaws.LooksNoMore, asleep],
    ["who sleeps does not announce it", flaws.AnnouncesNothing, asleep],
    ["nobody is woken", flaws.WakesNobody, asleep],
    ["only one is woken", flaws.WakesOneOfAll, asleep, { ...pair, readers: 2, deaths: 0, most: 2 }],
    ["WAKE is taken away without a second look", flaws.LooksOnce, asleep],
    ["bells are not armed", flaws.NoArming, asleep, { ...pair, writers: 2, most: 2 }],
    ["nobody frees what the dead held", flaws.FreesNothing, asleep],
  ] as const
) {
  test(`The model of SharedVariable finds what is wrong if ${title}`, () => {
    fails(variable(limits, { Protocol: Flawed }), why);
  });
}

for (
  const [title, why, from, to] of [
    [
      "the version is stored before the value",
      "The value is wrong",
      "Atomics.store(words, at, bytes.length);",
      "Atomics.store(words, at, bytes.length);\n    Atomics.store(words, VERSION, low);",
    ],
    ["readers do not look whether they were overtaken", torn, "newer <= COUNT - 2", "true"],
    ["readers trust a buffer too long", torn, "newer <= COUNT - 2", "newer <= COUNT - 1"],
    [
      "a value is written where the last one is",
      "The value is wrong",
      "const at = this.#at(low);\n    Atomics.store",
      "const at = this.#at(last);\n    Atomics.store",
    ],
  ] as const
) {
  test(`The model of SharedVariable finds what is wrong if ${title}`, async () => {
    const { Cells } = await mutant<typeof import("../shared/cells.ts")>("cells.ts", [from, to]);
    fails(variable(pair, { Cells }), why);
  });
}
