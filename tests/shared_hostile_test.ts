import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { SharedMemory } from "@sysv/ipc";
import { run } from "./support/child.ts";
import { randomFrom, sizeOf } from "./support/hostile.ts";
import { kinds } from "./support/shared_kinds.ts";
import { passed } from "./support/time.ts";

// Another program that writes into a structure can make it useless, and nothing worse: who uses it gets a
// result or an error. What uses it is a process of its own, as it could crash, or never end.

const isSoak = process.env.IPC_TEST_SOAK === "1";
const hostile = JSON.stringify(new URL("support/hostile.ts", import.meta.url).href);
const structures = JSON.stringify(new URL("support/shared_kinds.ts", import.meta.url).href);

/** How long a process may use one structure before it is taken to be in an endless loop, in milliseconds. */
const STUCK = 30_000;

/** Runs a program that counts its cases in the first word of a segment, and says how it ended. */
async function survive(program: string, args: readonly (string | number)[]): Promise<void> {
  using progress = SharedMemory.create({ size: 4 });
  const count = new Int32Array(progress.buffer);
  await using child = run(
    `
    import { assail, attempt, casesOf, randomFrom, someWords, sizeOf, useAll } from ${hostile};
    import { kinds } from ${structures};
    const progress = new Int32Array(SharedMemory.fromId(Number(args[0])).buffer);
    const next = () => Atomics.add(progress, 0, 1);
    const kind = kinds[args[1]];
    void [assail, attempt, casesOf, randomFrom, someWords, sizeOf, useAll, next, kind];
    ${program}
    say("survived");
  `,
    { args: [progress.id, ...args], configured: true },
  );
  let ended = false;
  const heard = child.hear().finally(() => ended = true);
  for (let [seen, since] = [-1, 0]; !ended; await Promise.race([passed(20), heard])) {
    const now = Atomics.load(count, 0);
    if (now !== seen) [seen, since] = [now, performance.now()];
    else if (performance.now() - since > STUCK) {
      heard.catch(() => {});
      throw new Error(`Case ${now} of ${args} does not end`);
    }
  }
  assertEquals(await heard, "survived");
  await child.exit;
}

for (const name of Object.keys(kinds)) {
  test(`${name} survives hostile values in every word and every semaphore`, async () => {
    const seed = Date.now() % 1e6;
    await survive(
      `
      const random = randomFrom(Number(args[2]));
      const cases = casesOf(args[1]);
      const share = args[3] === "all" ? 1 : 24 / cases.length;
      for (const [index, one] of cases.entries()) {
        if (random(1e6) >= share * 1e6) continue;
        next();
        await assail(kind, one).catch((error) => { throw new Error(JSON.stringify(one), { cause: error }); });
      }
      const words = cases.filter(({ words }) => words).at(-1).words[0][0];
      for (let i = 0; i < (args[3] === "all" ? 500 : 12); i++) {
        const some = someWords(random, words);
        next();
        await assail(kind, some).catch((error) => { throw new Error(JSON.stringify(some), { cause: error }); });
      }
    `,
      [name, seed, isSoak ? "all" : "some"],
    );
  });

  test(`${name} survives another program that writes into it all the time`, async () => {
    const random = randomFrom(Date.now() % 1e6);
    using structure = kinds[name]!.create();
    using memory = SharedMemory.fromId(structure.id);
    const words = new Int32Array(memory.buffer);
    const size = sizeOf(memory) >> 2;
    const header = words.slice(0, 9);
    const surviving = survive(
      `
      const until = performance.now() + Number(args[3]);
      while (performance.now() < until) {
        next();
        const handle = attempt(() => kind.fromId(Number(args[2])));
        if (handle === undefined) continue;
        for (let i = 0; i < 5; i++) {
          next();
          await useAll(kind, handle);
        }
        handle[Symbol.dispose]();
      }
    `,
      [name, structure.id, isSoak ? 20_000 : 300],
    );
    let ended = false;
    const end = surviving.finally(() => ended = true);
    while (!ended) {
      for (let i = 0; i < 20; i++) {
        const word = 32 + random(size - 32);
        // A lock of a living place is waited for, and rightly: here it has none, or one that never was.
        words[word] = word < 96 ? random(2) << 30 | 9 * random(2) : random(2 ** 31) << random(2);
      }
      await Promise.race([passed(1), end]);
    }
    await end;
    assertEquals(words.slice(0, 9), header, "The header was overwritten");
  });
}
