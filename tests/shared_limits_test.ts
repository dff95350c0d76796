import { assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import { run } from "./support/child.ts";
import { onlyUnshared, privileges } from "./support/privilege.ts";

const support = (file: string) =>
  JSON.stringify(new URL(`support/${file}.ts`, import.meta.url).href);

test(
  "Shared structures that a limit of the system forbids are named, and leave nothing",
  onlyUnshared,
  async () => {
    await using child = run(
      `${privileges}
      import { objectsLeft } from ${support("objects")};
      import { kinds } from ${support("shared_kinds")};
      leaveNamespace();
      const left = JSON.stringify(objectsLeft());
      const failed = (limit, action) => {
        try {
          action()[Symbol.dispose]();
          say(limit + " none");
        } catch (error) {
          say(limit + " " + error.code + " " + error.message);
        }
        if (JSON.stringify(objectsLeft()) !== left) say("Something is left");
      };
      const limits = [
        ["shmmax", "100", "8589934592"],
        ["shmmni", "0", "4096"],
        ["sem", "32000 1024000000 500 0", "32000 1024000000 500 32000"],
      ];
      for (const kind of Object.values(kinds)) {
        for (const [name, little, much] of limits) {
          limit(name, little);
          failed(name, () => kind.create());
          failed(name, () => kind.create({ key: "name" }));
          failed(name, () => kind.openOrCreate("name"));
          limit(name, much);
        }
      }
      const mutex = kinds.SharedMutex.create();
      limit("sem", "32000 1024000000 10 32000");
      try { mutex.lockSync() } catch (error) { say("join " + error.code + " " + error.message) }
    `,
      { permissions: ["--allow-all"], configured: true },
    );
    const codes = { shmmax: "EINVAL", shmmni: "ENOSPC", sem: "ENOSPC" };
    for (let kind = 0; kind < 6; kind++) {
      for (const [limit, code] of Object.entries(codes)) {
        for (const name of ["a private shared", "shared", "shared"]) {
          const heard = await child.hear();
          assertMatch(
            heard,
            new RegExp(
              `^${limit} ${code} Cannot create ${name} .* \\(${
                limit === "sem" ? "SEMMNI" : limit.toUpperCase()
              }`,
            ),
          );
        }
      }
    }
    assertMatch(await child.hear(), /^join E2BIG Cannot join shared mutex \d+: .*SEMOPM/);
    assertEquals((await child.exit).code, 0);
  },
);
