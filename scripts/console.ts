/**
 * Runs the commands of the `console` blocks in documents, and writes what they print below them. All
 * commands of a document run in one shell, in an IPC namespace of its own, with `ipc` from this
 * project. It needs root on Linux.
 *
 *     deno run -A scripts/console.ts [FILE...]
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";

const root = dirname(import.meta.dirname!);

/** The documents that have such blocks. */
export const documents: readonly string[] = ["README.md", "docs/cli.md", "docs/prometheus.md"];

/** A command of a document, and what it prints. */
export interface Step {
  readonly command: string;
  readonly output: string;
}

const BLOCK = /^```console\n([^]*?)^```$/gm;

/** Splits a block into its commands, which begin with `$ `, and what stands below each. */
function stepsOf(block: string): Step[] {
  return block.split(/^\$ /m).slice(1).map((text) => {
    const end = text.indexOf("\n");
    return { command: text.slice(0, end), output: text.slice(end + 1) };
  });
}

/** Finds the commands of a document. */
export function stepsIn(text: string): Step[] {
  return [...text.matchAll(BLOCK)].flatMap(([, block]) => stepsOf(block!));
}

const MARK = "@@ end of a command @@";

/** Waits until `ipc` in the background has become the command behind `--`. */
function untilBegun(command: string): string {
  const [, program] = / -- (\S+).*&$/.exec(command) ?? [];
  if (program === undefined) return ":";
  return `while kill -0 $! && ! grep -qx ${program} /proc/$!/comm; do sleep 0.01; done`;
}

/** Runs commands one after the other, and returns them with what they print. */
export function runSteps(steps: readonly Step[], ipc: readonly string[]): Step[] {
  const folder = mkdtempSync(join(tmpdir(), "sysv-ipc-console-"));
  const program = join(folder, "ipc");
  writeFileSync(program, `#!/bin/sh\nexec ${ipc.join(" ")} "$@"\n`);
  chmodSync(program, 0o755);
  const script = [
    ...steps.map(({ command }) => `${command}\n${untilBegun(command)}; echo '${MARK}'`),
    "kill $(jobs -p) 2>/dev/null",
  ].join("\n");
  const { stdout, stderr, status } = spawnSync("unshare", ["--ipc", "bash"], {
    cwd: root,
    encoding: "utf8",
    input: `exec 2>&1\n${script}\nexit 0\n`,
    env: { ...process.env, NO_COLOR: "1", PATH: `${folder}${delimiter}${process.env.PATH}` },
  });
  rmSync(folder, { recursive: true });
  if (status !== 0) throw new Error(`The commands fail: ${stderr}`);
  // The shell says of its own accord what became of background commands.
  const outputs = stdout.replace(/^bash: line \d+: .*\n/gm, "").split(`${MARK}\n`);
  return steps.map(({ command }, index) => ({ command, output: outputs[index]! }));
}

/** Makes comparable what differs from run to run: numbers, and how much room they take. */
export function comparable(output: string): string {
  return output.replace(/0x[0-9a-f]{8}/g, "KEY").replace(/[\d:.]*\d/g, "N").replace(
    /[ -]*N[sm]?\b/g,
    " N",
  )
    .replace(/ +/g, " ");
}

/** Replaces what stands below the commands of a document. */
function rewritten(text: string, steps: readonly Step[]): string {
  const left = [...steps];
  return text.replace(BLOCK, (_, block: string) => {
    const own = left.splice(0, stepsOf(block).length);
    return `\`\`\`console\n${
      own.map(({ command, output }) => `$ ${command}\n${output}`).join("")
    }\`\`\``;
  });
}

if (import.meta.main) {
  const ipc = [
    process.execPath,
    ...["run", "--quiet", "--no-prompt", `--config=${join(root, "deno.json")}`, "--allow-ffi"],
    join(root, "cli/mod.ts"),
  ];
  const given = process.argv.slice(2);
  for (const document of given.length > 0 ? given : documents) {
    const path = join(root, document);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, rewritten(text, runSteps(stepsIn(text), ipc)));
  }
}
