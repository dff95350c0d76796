/**
 * Ends of pipes in tests: what goes through them, and the programs that get them.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { IpcError } from "@sysv/ipc";
import type { PipeReader, PipeWriter } from "@sysv/ipc/unix";
import { Child, command, projectFile, type Runtime, runtime } from "./child.ts";
import { temporaryFolder } from "./folder.ts";

/** How much a pipe holds, as Linux makes them. */
export const CAPACITY = 65536;

export const folder = temporaryFolder().path;
let files = 0;
export const freshPath = (suffix = "") => join(folder, `${files++}${suffix}`);

/** What the programs begin with. */
export const prelude = `
  import process from "node:process";
  import * as unix from ${JSON.stringify(projectFile("unix/mod.ts"))};
  const { pipe, openFifo, PipeReader, PipeWriter } = unix;
  const say = (text) => process.stdout.write(text + "\\n");
  const expected = (start, length) => Uint8Array.from({ length }, (_, i) => (start + i) % 251);
  const lines = (listen) => process.stdin.on("data", (data) => {
    for (const line of String(data).trim().split("\\n")) listen(line);
  });
  void [openFifo, pipe, PipeReader, PipeWriter, say, expected, lines];
`;

/** Runs a program to which descriptors are handed over: as 3, 4 and so on. */
export function runWith(
  descriptors: readonly number[],
  program: string,
  runs: Runtime = runtime,
): Child {
  const path = freshPath(".ts");
  writeFileSync(path, prelude + program);
  const options = { env: process.env, stdio: ["pipe", "pipe", "pipe", ...descriptors] };
  return new Child(command(path, runs, ["--allow-ffi", "--allow-read", "--allow-write"]), options);
}

export const text = (bytes: Uint8Array | null | undefined) =>
  bytes && new TextDecoder().decode(bytes);

/** The bytes of a sequence in which each place shows what it lost. */
export const sequence = (length: number, start = 0) =>
  Uint8Array.from({ length }, (_, i) => (start + i) % 251);

export const openDescriptors = () => readdirSync("/proc/self/fd").length;

export async function assertReferenceError(run: () => unknown): Promise<void> {
  await assertRejects(async () => await run(), ReferenceError, "closed");
}

export async function assertIpcRejection(
  run: () => Promise<unknown>,
  code: string,
  syscall: string,
): Promise<void> {
  const error = await assertRejects(run, IpcError);
  assertEquals([error.code, error.syscall], [code, syscall]);
}

/** Reads all until the end. */
export async function readAll(reader: PipeReader, max?: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const bytes = await reader.read(max);
    if (bytes === null) return Buffer.concat(chunks);
    chunks.push(bytes);
  }
}

/** Writes until there is no room; gives how much it was. */
export function fill(writer: PipeWriter): number {
  let sum = 0;
  for (;;) {
    const written = writer.tryWrite(sequence(CAPACITY, sum));
    if (written === undefined) return sum;
    sum += written;
  }
}

export function assertSequence(bytes: Uint8Array, length: number): void {
  assertEquals(bytes.byteLength, length);
  assert(bytes.every((byte, i) => byte === i % 251), "a byte is not in its place");
}

export const reading = {
  read: (reader: PipeReader, max?: number) => reader.read(max),
  tryRead: (reader: PipeReader, max?: number) => reader.tryRead(max),
  readSync: (reader: PipeReader, max?: number) => reader.readSync(max),
};

export const writing = {
  write: (writer: PipeWriter, data: string | ArrayBuffer | ArrayBufferView) => writer.write(data),
  tryWrite: (writer: PipeWriter, data: string | ArrayBuffer | ArrayBufferView) =>
    writer.tryWrite(data),
  writeSync: (writer: PipeWriter, data: string | ArrayBuffer | ArrayBufferView) =>
    writer.writeSync(data),
};
