import { test } from "node:test";
import type { Flow } from "../shared/flow.ts";
import type { Protocol } from "../shared/protocol.ts";
import { consumers, RingFlows } from "../shared/ring_flows.ts";
import { channel, type ChannelLimits } from "./shared_model/channel.ts";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";

test("Channel survives deaths and cancels of a producer and a consumer", () => {
  holds(channel({ senders: 1, receivers: 1, deaths: 2, cancels: Infinity, most: 2 }));
});

test("Channel survives two producers and a consumer", () => {
  holds(channel({ senders: 2, receivers: 1, deaths: 0, most: 1 }));
});

test("Channel survives unlimited deaths of a producer and a consumer", { skip: !soak }, () => {
  holds(channel({ senders: 1, receivers: 1, deaths: Infinity, cancels: Infinity, most: 2 }));
});

test("Channel wakes another consumer if one cannot take a message", { skip: !soak }, () => {
  holds(channel({
    senders: 1,
    receivers: 2,
    deaths: 0,
    cancels: Infinity,
    spares: true,
    most: 1,
  }));
});

test("Channel wakes all who wait for room, as messages differ in size", { skip: !soak }, () => {
  holds(channel({ senders: 2, receivers: 1, deaths: 0, large: true, most: 3 }));
});

test("Channel survives a death among two producers and a consumer", { skip: !soak }, () => {
  holds(channel({ senders: 2, receivers: 1, deaths: 1, most: 2 }));
});

test("Channel survives a death among a producer and two consumers", { skip: !soak }, () => {
  holds(channel({ senders: 1, receivers: 2, deaths: 1, most: 2 }));
});

test(
  "Channel survives a death and a cancel of two producers and a consumer",
  { skip: !soak },
  () => {
    holds(channel({ senders: 2, receivers: 1, deaths: 1, cancels: 1, most: 1 }));
  },
);

test(
  "Channel survives a death and a cancel of a producer and two consumers",
  { skip: !soak },
  () => {
    holds(channel({ senders: 1, receivers: 2, deaths: 1, cancels: 1, most: 1 }));
  },
);

const pair: ChannelLimits = { senders: 1, receivers: 1, deaths: 1, most: 2 };
const readers: ChannelLimits = { ...pair, receivers: 2 };
const still: ChannelLimits = { ...readers, deaths: 0 };
const half = "Half a message was read";

class KeepsWakes extends RingFlows {
  readonly #members: Protocol;

  constructor(protocol: Protocol, capacity: number) {
    super(protocol, capacity);
    this.#members = protocol;
  }

  override *leaveMessage(me: number): Flow<void> {
    yield* this.#members.unlock(consumers, me);
  }
}

for (
  const [title, flaw, why, limits = pair] of [
    ["a message is committed before it is written", { commitsFirst: true }, half],
    ["a message is taken before it is read", { takesFirst: true }, half],
    ["nobody looks again before sleeping", { Protocol: flaws.LooksNoMore }, asleep],
    ["who sleeps does not announce it", { Protocol: flaws.AnnouncesNothing }, asleep],
    ["bells are not armed", { Protocol: flaws.NoArming }, asleep],
    ["nobody frees what the dead held", { Protocol: flaws.FreesNothing }, asleep],
    ["nobody is woken", { Protocol: flaws.WakesNobody }, asleep],
    ["WAKE is taken away without a second look", { Protocol: flaws.LooksOnce }, asleep],
    ["nobody is woken after the second look", { Protocol: flaws.RingsNobodyAgain }, asleep, still],
    ["who sleeps marks itself late", { Protocol: flaws.MarksLate }, asleep, still],
    [
      "who is cancelled keeps its ring",
      { Protocol: flaws.KeepsRingsOfTheCancelled },
      asleep,
      { ...still, cancels: 1 },
    ],
    [
      "only one is woken who waits for room",
      { Protocol: flaws.WakesOneOfAll },
      asleep,
      { ...still, senders: 2, receivers: 1, large: true, most: 3 },
    ],
    ["a message that is left wakes nobody", { Flows: KeepsWakes }, asleep, {
      ...still,
      spares: true,
      most: 1,
    }],
  ] as const
) {
  test(`The model of Channel finds what is wrong if ${title}`, () => {
    fails(channel(limits, flaw), why);
  });
}

for (
  const [Flawed, why, limits] of [
    [flaws.RingsTheDead, asleep, readers],
    [flaws.KeepsRingsOfTheDead, asleep, { ...pair, deaths: 2 }],
    [flaws.NoHeir, "changes while place", readers],
    [flaws.NoHeirAtRegistration, "changes while place", readers],
  ] as const
) {
  test(`The model of Channel finds what is wrong with: ${Flawed.name}`, { skip: !soak }, () => {
    fails(channel(limits, { Protocol: Flawed }), why);
  });
}
