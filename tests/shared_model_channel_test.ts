import { test } from "node:test";
import { channel, type ChannelLimits } from "./shared_model/channel.ts";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";

test("Channel survives deaths and cancels of a producer and a consumer", () => {
  holds(channel({ senders: 1, receivers: 1, deaths: 2, cancels: Infinity, most: 2 }));
});

test("Channel survives two producers and a consumer", () => {
  holds(channel({ senders: 2, receivers: 1, deaths: 0, most: 1 }));
});

test("Channel wakes another consumer if one cannot take a message", () => {
  holds(channel({ senders: 1, receivers: 2, deaths: 0, spares: true, most: 1 }));
});

test("Channel survives unlimited deaths of a producer and a consumer", { skip: !soak }, () => {
  holds(channel({ senders: 1, receivers: 1, deaths: Infinity, cancels: Infinity, most: 3 }));
});

test("Channel survives a death among two producers and a consumer", { skip: !soak }, () => {
  holds(channel({ senders: 2, receivers: 1, deaths: 1, cancels: Infinity, most: 2 }));
});

test("Channel survives a death among a producer and two consumers", { skip: !soak }, () => {
  holds(channel({ senders: 1, receivers: 2, deaths: 1, cancels: Infinity, most: 2 }));
});

const pair: ChannelLimits = { senders: 1, receivers: 1, deaths: 1, most: 2 };
const half = "Half a message was read";

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
  ] as const
) {
  test(`The model of Channel finds what is wrong if ${title}`, () => {
    fails(channel(limits, flaw), why);
  });
}
