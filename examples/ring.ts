/**
 * How fast messages go through shared memory: one process sends, this one receives, and a bar shows how
 * far it is.
 *
 *     deno run --allow-ffi --allow-run --allow-env examples/ring.ts [MESSAGES]
 *     bun examples/ring.ts [MESSAGES]
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { bytes, Channel } from "@sysv/ipc/shared";

const BYTES = 64;

function send(id: number, count: number): void {
  using channel = Channel.fromId(id, { codec: bytes });
  const message = new Uint8Array(BYTES);
  const number = new Uint32Array(message.buffer, 0, 1);
  for (let i = 0; i < count; i++) {
    number[0] = i;
    channel.sendSync(message);
  }
  channel.close();
}

async function main(count: number): Promise<void> {
  using channel = Channel.create({ codec: bytes, capacity: 1 << 18 });
  const flags = "Deno" in globalThis ? ["run", "--quiet", "--allow-ffi", "--allow-env"] : [];
  const args = [...flags, process.argv[1]!, "send", String(channel.id), String(count)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const ended = once(child, "exit");

  const buffer = new Uint8Array(BYTES);
  const number = new Uint32Array(buffer.buffer, 0, 1);
  let start = 0;
  for (let i = 0; i < count; i++) {
    assert.equal(channel.receiveIntoSync(buffer), BYTES);
    assert.equal(number[0], i);
    if (i === 0) start = performance.now();
    if (process.stdout.isTTY && i % (count >> 6) === 0) {
      const bar = "█".repeat(Math.round(i / count * 50)).padEnd(50, "·");
      process.stdout.write(`\r${bar}`);
    }
  }
  const seconds = (performance.now() - start) / 1000;
  await ended;
  assert.throws(() => channel.receiveSync(), { code: "EPIPE" });
  if (process.stdout.isTTY) process.stdout.write("\r");
  const millions = (count / seconds / 1e6).toFixed(1);
  console.log(`${count} messages of ${BYTES} bytes came in order: ${millions} million a second.`);
}

const [, , task, id, count] = process.argv;
if (task === "send") send(Number(id), Number(count));
else await main(Number(task ?? 2_000_000));
