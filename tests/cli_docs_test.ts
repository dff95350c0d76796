import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import process from "node:process";
import { test } from "node:test";
import { Semaphore } from "@sysv/ipc";
import { comparable, documents, runSteps, stepsIn } from "../scripts/console.ts";
import { projectFile } from "./support/child.ts";
import { ipcCommand, ipcOutput } from "./support/cli.ts";
import { Name, testWhere } from "./support/peer.ts";
import { onlyUnshared } from "./support/privilege.ts";
import { until } from "./support/time.ts";

for (const document of documents) {
  test(`The commands of ${document} print what stands below them`, onlyUnshared, () => {
    const steps = stepsIn(readFileSync(projectFile(document), "utf8"));
    assert(steps.length > 0);
    for (const [index, { command, output }] of runSteps(steps, ipcCommand()).entries()) {
      assertEquals(comparable(output), comparable(steps[index]!.output), command);
    }
  });
}

/** Gunicorn reads sysv_ipc as if it were its configuration, which tells whether its own Python has it. */
function missing(): string | undefined {
  const args = ["--check-config", "--config=python:sysv_ipc", "app:app"];
  const { error, status } = spawnSync("gunicorn", args, {
    cwd: projectFile("examples/gunicorn"),
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
  });
  if (error !== undefined) return "no Gunicorn";
  return status === 0 ? undefined : "no sysv_ipc for Gunicorn";
}

/** Starts Gunicorn with the hooks of the example, and waits until it listens. */
async function startGunicorn(key: number) {
  const child = spawn("gunicorn", [
    ...["--workers=4", "--bind=127.0.0.1:0", "--graceful-timeout=1"],
    ...["--config=gunicorn.conf.py", "app:app"],
  ], {
    cwd: projectFile("examples/gunicorn"),
    env: { ...process.env, BUSY_KEY: String(key), PYTHONDONTWRITEBYTECODE: "1" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (data) => log += data);
  const exit = new Promise((resolve) => child.on("close", resolve));
  await until(() =>
    /Listening at: \S+/.test(log) && (log.match(/Booting worker/g) ?? []).length === 4
  );
  return { url: /Listening at: (\S+)/.exec(log)![1]!, pid: child.pid!, exit };
}

/** Begins a request that is in progress until it is ended, as the application reads its whole body. */
function begin(url: string) {
  const made = request(url, { method: "POST", headers: { "Transfer-Encoding": "chunked" } });
  made.on("error", () => {});
  made.on("response", (response) => response.resume());
  made.flushHeaders();
  return made;
}

testWhere(missing(), "ipc ls --format prometheus counts the busy workers of Gunicorn", async () => {
  using name = new Name();
  using busy = Semaphore.create({ key: name.text });
  const gunicorn = await startGunicorn(name.key);
  const metric = () => {
    const text = ipcOutput("ls", "--format", "prometheus", name.text);
    assertMatch(text, new RegExp(`name="${name.text}"`));
    return Number(/^sysv_ipc_semaphore_value\{.*index="0"\} (\d+)$/m.exec(text)![1]);
  };
  assertEquals(metric(), 0);
  const requests = [begin(gunicorn.url), begin(gunicorn.url), begin(gunicorn.url)];
  await until(() => busy.value === 3);
  assertEquals(metric(), 3);
  process.kill(busy.lastPid, "SIGKILL");
  await until(() => busy.value === 2);
  assertEquals(metric(), 2);
  for (const request of requests) request.end();
  await until(() => busy.value === 0);
  assertEquals(metric(), 0);
  process.kill(gunicorn.pid, "SIGTERM");
  await gunicorn.exit;
});
