/**
 * Compares the locks of `@sysv/ipc/cluster` with a plain advisory lock of PostgreSQL and with
 * redis-semaphore, in all runtimes, on servers that it starts and ends. Needs PostgreSQL and
 * redis-server. It only prints.
 *
 *     deno task bench:cluster [--quick]
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { freePort, missingServer, Server } from "../tests/support/postgres.ts";
import { findBun, findNode } from "./runtimes.ts";

const { quick } = parseArgs(Deno.args, { boolean: ["quick"] });
const folder = join(import.meta.dirname!, "bench/peers");
const contender = join(folder, "cluster.ts");

const engines = ["cluster semaphore", "cluster Mutex", "advisory lock", "redis-semaphore"];
const tasks = [
  { name: "pair", title: "acquire and release, ms", rounds: 1000 },
  { name: "hand-over", title: "from the release to the next holder, ms", rounds: 100 },
  { name: "crowd", title: "8 clients on 4 units, ms a pair", rounds: 1600 },
];

if (missingServer !== undefined) throw new Error(`This machine has ${missingServer}`);
const redisPort = await freePort();
const redis = spawn(
  "redis-server",
  ["--port", `${redisPort}`, "--bind", "127.0.0.1", "--save", ""],
  {
    stdio: "ignore",
  },
);
const postgres = await Server.start();
try {
  run(Deno.execPath(), "install", "--quiet");
  for (const { name, title, rounds } of tasks) {
    console.log(
      `\n${title}`.padEnd(46),
      ...["Deno", "Bun", "Node"].map((name) => name.padStart(8)),
    );
    for (const engine of engines) {
      // A mutex has one unit.
      if (name === "crowd" && engine === "cluster Mutex") continue;
      const args = [
        engine,
        name,
        `${quick ? rounds / 10 : rounds}`,
        `${postgres.port}`,
        `${redisPort}`,
      ];
      const deno = run(Deno.execPath(), "run", "-A", "--quiet", "--no-lock", contender, ...args);
      const bun = run(findBun(), contender, ...args);
      const node = run(findNode(), contender, ...args);
      const shown = [deno, bun, node].map((milliseconds) =>
        Number(milliseconds).toFixed(2).padStart(8)
      );
      console.log(engine.padEnd(45), ...shown);
    }
  }
} finally {
  process.kill(redis.pid!, "SIGKILL");
  postgres.end();
}

/** Runs a command in the folder of the peers, and returns what it prints. */
function run(path: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(path, args, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`${path} ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}
