import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { run } from "./support/child.ts";
import { freshName, objectsLeft } from "./support/objects.ts";
import { onlyRoot, privileges } from "./support/privilege.ts";
import { kinds } from "./support/shared_kinds.ts";

const structures = JSON.stringify(new URL("support/shared_kinds.ts", import.meta.url).href);

/** Runs a program as another user, with all kinds, and `codeOf(action)`. */
function asNobody(program: string, ...args: (string | number)[]) {
  const start = `${privileges}
    import { kinds } from ${structures};
    const codeOf = (action) => {
      try {
        action()?.[Symbol.dispose]?.();
        return "allowed";
      } catch (error) {
        return error.code ?? String(error);
      }
    };
    void [codeOf, kinds];
    becomeNobody();
  `;
  return run(start + program, { args, configured: true, permissions: ["-A"] });
}

/** What another user may do with a structure of each mode: open it, open or create it, take it by its id. */
const refusals = {
  0o600: ["EACCES", "EACCES", "EACCES"],
  0o644: ["EACCES", "EPERM", "EACCES"],
  0o622: ["EACCES", "EACCES", "EACCES"],
  0o444: ["EACCES", "EPERM", "EACCES"],
  0o666: ["allowed", "EPERM", "allowed"],
} as const;

for (const [name, kind] of Object.entries(kinds)) {
  test(
    `${name}: another user can do what its mode permits, and remove nothing`,
    onlyRoot,
    async () => {
      for (const [mode, expected] of Object.entries(refusals)) {
        const key = freshName();
        using structure = kind.create({ mode: Number(mode), key });
        await using child = asNobody(
          `
        const [name, key, id] = args;
        const kind = kinds[name];
        const codes = [() => kind.open(key), () => kind.openOrCreate(key), () => kind.fromId(Number(id))]
          .map(codeOf);
        if (codes[0] === "allowed") {
          const handle = kind.open(key);
          for (const use of Object.values(kind.usesSync(handle))) codeOf(use);
          codes.push(codeOf(() => handle.remove()), codeOf(() => handle.setPermissions({ mode: 0o666 })));
          handle[Symbol.dispose]();
        }
        say(codes.join());
      `,
          name,
          key,
          structure.id,
        );
        const all = expected[0] === "allowed" ? [...expected, "EPERM", "EPERM"] : expected;
        assertEquals(await child.hear(), all.join(), `mode 0o${Number(mode).toString(8)}`);
        await child.exit;
      }
    },
  );
}

test("What its own mode forbids to make leaves nothing", onlyRoot, async () => {
  const before = objectsLeft();
  await using child = asNobody(`
    const modes = [0o444, 0o400, 0o222, 0o200, 0o000];
    const codes = Object.values(kinds).flatMap((kind) => modes.map((mode) => codeOf(() => kind.create({ mode }))));
    say([...new Set(codes)].join());
  `);
  assertEquals(await child.hear(), "EACCES");
  await child.exit;
  assertEquals(objectsLeft(), before);
});
