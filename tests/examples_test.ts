import { assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import process from "node:process";
import { Child, command, projectFile, runtime, runtimes } from "./support/child.ts";
import { testWhere } from "./support/peer.ts";
import { missingServer, server } from "./support/postgres.ts";

test("The busy workers are counted right, whoever is killed or crashes", async () => {
  await using example = new Child(
    command(projectFile("examples/busy_workers.ts"), undefined, [
      "--allow-ffi",
      "--allow-run",
      "--allow-env",
    ]),
  );
  const lines: string[] = [];
  while (!lines.at(-1)?.startsWith("It ended")) {
    lines.push(await example.hear());
  }
  assertEquals(await example.exit, { code: 0, signal: null });
  assertEquals(lines[0], "● busy   ○ idle   ✗ killed   ! crashed   · left");
  const [points, ends, right, end] = [lines.slice(1, -3), ...lines.slice(-3)];
  for (const point of points) {
    const busy = point.match(/●/g)?.length ?? 0;
    assertMatch(point, new RegExp(`^[●○✗!·]( [●○✗!·]){7}   ${busy} busy$`));
  }
  assertEquals(points.at(-1), "✗ · ! ✗ · ✗ ! ·   0 busy");
  assertEquals(
    ends,
    "3 workers were killed and 2 crashed in the middle of a job, 3 finished and left.",
  );
  assertEquals(right, `The count was right at all ${points.length} quiet points.`);
  assertEquals(end, "It ended at 0, and nothing is left in the kernel.");
});

test("The global timer has one owner at a time, whoever is killed", async () => {
  await using example = new Child(
    command(projectFile("examples/global_timer.ts"), undefined, [
      "--allow-ffi",
      "--allow-run",
      "--allow-env",
    ]),
  );
  const lines: string[] = [];
  while (!lines.at(-1)?.startsWith("It ended")) {
    lines.push(await example.hear());
  }
  assertEquals(await example.exit, { code: 0, signal: null });
  const candidates = lines[0]!.match(/(?<=^Candidates for one timer: ).*(?=\.$)/)![0].split(", ");
  assertEquals([candidates[0], candidates.length], [runtime, 5]);
  assertEquals(new Set(candidates), new Set(runtimes));
  const kills = lines.filter((line) => line.includes(" killed: "));
  for (const [index, line] of kills.entries()) {
    assertMatch(line, new RegExp(` took over in [\\d.]+ ms, term ${index + 2}$`));
  }
  assertEquals(kills.length, 9);
  const [median, ticks, end] = lines.slice(-3);
  assertMatch(median!, /^9 owners were killed, and another took over in \d+\.\d ms \(median\), /);
  assertMatch(ticks!, /^Of \d+ ticks none came from two owners at once: the terms only grew\.$/);
  assertEquals(end, "It ended with no process and nothing in the kernel.");
});

test("The queue of tasks loses none when a consumer is killed in the middle of one", async () => {
  await using example = new Child(
    command(projectFile("examples/task_queue.ts"), undefined, [
      "--allow-ffi",
      "--allow-run",
      "--allow-env",
    ]),
  );
  assertMatch(await example.hear(), /^A consumer in \w+ hangs in task 13 and is killed.$/);
  assertEquals(await example.hear(), "Task 13 is to be done again.");
  const done = await example.hear();
  const shares = "\\d+ by bun, \\d+ by deno, \\d+ by node";
  assertMatch(done, new RegExp(`^All 60 tasks are done, ${shares}, and each answer came once.$`));
  const [, ...counts] = done.match(/\d+/g)!.map(Number);
  assertEquals(counts.reduce((sum, count) => sum + count), 60);
  assertEquals(await example.hear(), "Nothing is left in the kernel.");
  assertEquals(await example.exit, { code: 0, signal: null }, example.stderr);
});

testWhere(
  missingServer,
  "Another process leads when the leader of a cluster is killed",
  async () => {
    const { environment } = await server();
    await using example = new Child(
      command(projectFile("examples/cluster_leader.ts"), undefined, [
        "--allow-net",
        "--allow-env",
        "--allow-run",
      ]),
      { env: { ...process.env, ...environment } },
    );
    const [kills, terms, end] = [await example.hear(), await example.hear(), await example.hear()];
    assertMatch(kills, /^5 leaders were killed, and another led after \d+ ms \(median\)\.$/);
    assertEquals(terms, "The terms only grew, so no write of a former leader came through.");
    assertEquals(end, "Nothing is left on the server.");
    assertEquals(await example.exit, { code: 0, signal: null }, example.stderr);
  },
);

const permissions = ["--allow-ffi", "--allow-run", "--allow-env"];

test("The metrics of a worker that is killed still count", async () => {
  await using example = new Child(
    command(projectFile("examples/metrics.ts"), undefined, permissions),
  );
  assertMatch(
    await example.hear(),
    /^Worker 2 was killed after \d+ requests, which still count\.$/,
  );
  assertMatch(
    await example.hear(),
    /^All \d+ are counted, and the last record is whole: \/items\/\d+\.$/,
  );
  assertEquals(await example.exit, { code: 0, signal: null }, example.stderr);
});

test("The ring brings all messages in order", async () => {
  const path = command(projectFile("examples/ring.ts"), undefined, permissions);
  await using example = new Child([...path, "100000"]);
  assertMatch(
    await example.hear(),
    /^100000 messages of 64 bytes came in order: [\d.]+ million a second\.$/,
  );
  assertEquals(await example.exit, { code: 0, signal: null }, example.stderr);
});
