import { test } from "node:test";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";
import { mutex, type MutexLimits } from "./shared_model/mutex.ts";

test("SharedMutex survives a death, every cancel and leave of two processes", () => {
  holds(mutex({ members: 2, deaths: 1, cancels: Infinity, leaves: true }));
});

test("SharedMutex survives every cancel of three processes", () => {
  holds(mutex({ members: 3, deaths: 0, cancels: Infinity, rounds: 1 }));
});

test("SharedMutex survives two newcomers, a death among them, and one place too few", () => {
  holds(mutex({ members: 1, newcomers: 2, deaths: 1, rounds: 1, places: 2 }));
});

test("SharedMutex survives unlimited deaths of two processes", { skip: !soak }, () => {
  holds(mutex({ members: 2, deaths: Infinity, cancels: Infinity, leaves: true }));
});

test("SharedMutex survives a death and every cancel of three processes", { skip: !soak }, () => {
  holds(mutex({ members: 3, deaths: 1, cancels: Infinity }));
});

test("SharedMutex survives two deaths of three processes", { skip: !soak }, () => {
  holds(mutex({ members: 3, deaths: 2, cancels: Infinity, rounds: 1 }));
});

test("SharedMutex survives two newcomers and two deaths", { skip: !soak }, () => {
  holds(mutex({ members: 1, newcomers: 2, deaths: 2, cancels: Infinity, rounds: 1 }));
});

const two: MutexLimits = { members: 2, deaths: 2, cancels: Infinity, leaves: true };
const three: MutexLimits = { members: 3, deaths: 1, cancels: Infinity, rounds: 1 };

// What has to be found: each leaves one thing out.
for (
  const [Flawed, why, limits] of [
    [flaws.NoArming, asleep, two],
    [flaws.NoInheritance, asleep, two],
    [flaws.NoHeir, "Two hold the lock", two],
    [flaws.NoHeirAtRegistration, "Two hold the lock", two],
    [flaws.RingsTheDead, asleep, three],
    [flaws.KeepsRingsOfTheDead, asleep, three],
    [flaws.KeepsRingsOfTheCancelled, asleep, three],
    [flaws.LeavesLocksOfTheDead, "An idle one holds the lock", two],
    [flaws.LooksOnce, asleep, { ...three, deaths: 0 }],
    [flaws.RingsNobodyAgain, asleep, { ...three, deaths: 0 }],
    [flaws.WakesNobody, asleep, two],
    [flaws.MarksLate, asleep, two],
  ] as const
) {
  test(`The model of SharedMutex finds what is wrong with: ${Flawed.name}`, () => {
    fails(mutex(limits, Flawed), why);
  });
}
