import { test } from "node:test";
import type { Flow } from "../shared/flow.ts";
import type { Protocol } from "../shared/protocol.ts";
import { consumers, RingFlows } from "../shared/ring_flows.ts";
import { channel, type ChannelLimits, type Text } from "./shared_model/channel.ts";
import * as flaws from "./shared_model/flaws.ts";
import { asleep, fails, holds, soak } from "./shared_model/members.ts";
import { unveiled } from "./shared_model/mutant.ts";

const text = await unveiled<Text>("ring.ts");

const pair: ChannelLimits = { senders: 1, receivers: 1, deaths: 1, most: 2 };
const readers: ChannelLimits = { ...pair, receivers: 2 };
const writers: ChannelLimits = { ...pair, senders: 2 };
const still: ChannelLimits = { ...readers, deaths: 0 };

test("Channel survives deaths and cancels of a producer and a consumer", () => {
  holds(channel({ ...pair, deaths: 2, cancels: Infinity }, text));
});

test("Channel survives two producers and a consumer", () => {
  holds(channel({ ...writers, deaths: 0, most: 1 }, text));
});

test("Channel survives a producer and two consumers", () => {
  holds(channel({ ...readers, deaths: 0, most: 1 }, text));
});

test("Channel survives unlimited deaths of a producer and a consumer", { skip: !soak }, () => {
  holds(channel({ ...pair, deaths: Infinity, cancels: Infinity }, text));
});

test("Channel wakes another consumer if one cannot take a message", { skip: !soak }, () => {
  holds(channel({ ...still, cancels: Infinity, spares: true, most: 1 }, text));
});

test("Channel wakes all who wait for room, as messages differ in size", { skip: !soak }, () => {
  holds(channel({ ...writers, deaths: 0, rooms: 2, large: true, most: 3 }, text));
});

test("Channel survives a death among two producers and a consumer", { skip: !soak }, () => {
  holds(channel(writers, text));
});

test("Channel survives a death among a producer and two consumers", { skip: !soak }, () => {
  holds(channel({ ...readers, most: 1 }, text));
});

test("Channel survives two consumers of two messages", { skip: !soak }, () => {
  holds(channel(still, text));
});

test(
  "Channel survives a death and a cancel of two producers and a consumer",
  { skip: !soak },
  () => {
    holds(channel({ ...writers, cancels: 1, most: 1 }, text));
  },
);

test(
  "Channel survives a death and a cancel of a producer and two consumers",
  { skip: !soak },
  () => {
    holds(channel({ ...readers, cancels: 1, most: 1 }, text));
  },
);

const choosy: ChannelLimits = { ...still, spares: true, most: 1 };

class LeavesSilently extends RingFlows {
  readonly #members: Protocol;

  constructor(protocol: Protocol, capacity: number) {
    super(protocol, capacity);
    this.#members = protocol;
  }

  override *leaveMessage(me: number): Flow<void> {
    yield* this.#members.unlock(consumers, me);
  }
}

class RefusesSilently extends RingFlows {
  override *leaveMessage(me: number): Flow<void> {
    yield* super.leaveMessage(me);
    yield* super.passOn(me);
  }

  override *passOn(): Flow<void> {}
}

for (
  const [title, flaw, why, limits = pair] of [
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
      { ...writers, deaths: 0, rooms: 2, large: true, most: 3 },
    ],
    ["a message that is left wakes nobody", { Flows: LeavesSilently }, asleep, choosy],
    ["a message that is refused wakes nobody", { Flows: RefusesSilently }, asleep, choosy],
    ["the dead are rung for", { Protocol: flaws.RingsTheDead }, asleep, readers],
    ["a newcomer keeps the rings of its place", { Protocol: flaws.KeepsRingsOfTheDead }, asleep, {
      ...pair,
      deaths: 2,
    }],
    ["several inherit at once", { Protocol: flaws.NoHeir }, "Two hold a lock", {
      ...readers,
      senders: 0,
    }],
    [
      "a place is taken as its lock is inherited",
      { Protocol: flaws.NoHeirAtRegistration },
      "Two hold a lock",
      { ...readers, senders: 0 },
    ],
  ] as const
) {
  test(`The model of Channel finds what is wrong if ${title}`, () => {
    fails(channel(limits, text, flaw), why);
  });
}

const changes = "changes while place";
const storeTail = "Atomics.store(words, TAIL, (tail + room) | 0);";
const writeLength = "words[DATA + (at >> 2)] = bytes.length;";
const write = "this.#bytes.write(";
const read = "const bytes = this.#bytes.read(";

for (
  const [title, why, from, to, limits = pair] of [
    ["a message is committed before its length", changes, writeLength, storeTail + writeLength],
    ["a message is committed before its bytes", changes, write, storeTail + write],
    [
      "a message is taken before it is read",
      "has it to itself",
      read,
      `Atomics.store(this.#words, HEAD, (head + roomFor(length)) | 0);\n${read}`,
    ],
    [
      "a newcomer takes for known where the last owner of its place knew the head",
      changes,
      "Atomics.compareExchange(this.#words, LAST_PRODUCER, place, 0);",
      "",
    ],
    [
      "a newcomer takes for known where the last owner of its place knew the tail",
      "has it to itself",
      "Atomics.compareExchange(this.#words, LAST_CONSUMER, place, 0);",
      "",
    ],
    [
      "a producer takes the head for known though another has sent",
      changes,
      "words[LAST_PRODUCER] !== me",
      "false",
      { ...writers, deaths: 0 },
    ],
    [
      "a consumer takes the tail for known though another has received",
      "has it to itself",
      "words[LAST_CONSUMER] !== me",
      "false",
      still,
    ],
    [
      "more is claimed than is free",
      changes,
      "Math.min(free, AHEAD)",
      "AHEAD",
      { ...writers, deaths: 0, rooms: 2 },
    ],
  ] as const
) {
  test(`The model of Channel finds what is wrong if ${title}`, async () => {
    fails(channel(limits, await unveiled<Text>("ring.ts", [from, to])), why);
  });
}
