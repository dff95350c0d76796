import { assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import { Child, command, projectFile } from "./child.ts";

test("The busy workers are counted right, whoever is killed or crashes", async () => {
  await using example = new Child(command(
    projectFile("examples/busy_workers.ts"),
    undefined,
    ["--allow-ffi", "--allow-run", "--allow-env"],
  ));
  const lines: string[] = [];
  while (!lines.at(-1)?.startsWith("It ended")) {
    lines.push(await example.hear());
  }
  assertEquals(await example.exit, { code: 0, signal: null });
  assertEquals(lines[0], "● busy   ○ idle   ✗ killed   ! crashed   · left");
  const [points, ends, right, end] = [
    lines.slice(1, -3),
    ...lines.slice(-3),
  ];
  for (const point of points) {
    const busy = point.match(/●/g)?.length ?? 0;
    assertMatch(point, new RegExp(`^[●○✗!·]( [●○✗!·]){7}   ${busy} busy$`));
  }
  assertEquals(points.at(-1), "✗ · ! ✗ · ✗ ! ·   0 busy");
  assertEquals(
    ends,
    "3 workers were killed and 2 crashed in the middle of a job, 3 finished and left.",
  );
  assertEquals(
    right,
    `The count was right at all ${points.length} quiet points.`,
  );
  assertEquals(end, "It ended at 0, and nothing is left in the kernel.");
});
