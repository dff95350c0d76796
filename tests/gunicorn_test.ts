import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { IpcError, Semaphore } from "@sysv/ipc";
import { Child, command, projectFile } from "./support/child.ts";
import { testWhere } from "./support/peer.ts";
import { until } from "./support/time.ts";

const example = projectFile("examples/gunicorn/watch.ts");
const permissions = ["--allow-ffi", "--allow-run", "--allow-env", "--allow-net=127.0.0.1"];

testWhere(
  missing(),
  "The Gunicorn example counts its busy workers rightly, and leaves nothing",
  async () => {
    await using watch = new Child(command(example, undefined, permissions));
    const { gunicorn, semaphore } = await introduction(watch);
    let last = "";
    let kills = 0;
    while (!last.includes("the count is right")) {
      last = await watch.hear();
      if (/worker \d+ killed$/.test(last)) kills++;
    }
    assertEquals(kills, 4);
    assertEquals(await watch.exit, { code: 0, signal: null }, watch.stderr);
    assertGone(semaphore);
    assertEquals(runs(gunicorn), false);
  },
);

for (const signal of ["SIGTERM", "SIGHUP"] as const) {
  testWhere(
    missing(),
    `The Gunicorn example leaves nothing when it is told to stop by ${signal} meanwhile`,
    async () => {
      await using watch = new Child(command(example, undefined, permissions));
      const { gunicorn, semaphore } = await introduction(watch);
      while (!(await watch.hear()).endsWith("3 in progress"));
      await watch.kill(signal);
      assertGone(semaphore);
      await until(() => !runs(gunicorn));
    },
  );
}

/** Gunicorn reads sysv_ipc as if it were its configuration, which tells whether its own Python has it. */
function missing(): string | undefined {
  const { error, status } = spawnSync("gunicorn", [
    "--check-config",
    "--config=python:sysv_ipc",
    "app:app",
  ], {
    cwd: projectFile("examples/gunicorn"),
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
  });
  if (error !== undefined) return "no Gunicorn";
  return status === 0 ? undefined : "no sysv_ipc for Gunicorn";
}

async function introduction(watch: Child): Promise<{ gunicorn: number; semaphore: number }> {
  const line = await watch.hear();
  assertMatch(line, /^Gunicorn \d+ at http:\S+ counts in semaphore \d+$/);
  const [gunicorn, semaphore] = [/\d+/, /\d+$/].map((digits) => Number(digits.exec(line)![0]));
  return { gunicorn: gunicorn!, semaphore: semaphore! };
}

function assertGone(semaphore: number): void {
  assertEquals(assertThrows(() => Semaphore.fromId(semaphore), IpcError).code, "EIDRM");
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
