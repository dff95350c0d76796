/**
 * The languages of peers, and where this machine has them.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { projectFile } from "./child.ts";
import { temporaryFolder } from "./folder.ts";

/** A language, its program in tests/peers, and how to find what runs it. */
export interface Language {
  /** What it is called in the names of tests. */
  readonly name: string;
  /** Returns the command, or says what is missing. */
  readonly find: () => { command: readonly string[] } | { missing: string };
}

const file = (name: string) => projectFile(`tests/peers/${name}`);
const runs = (command: string, args: readonly string[]) => spawnSync(command, args).status === 0;

/** A language whose programs are run by one of some commands, if that passes a check. */
function interpreted(
  name: string,
  commands: readonly string[],
  check: readonly string[],
  program: string,
  missing: string,
): Language {
  const find = () => {
    const found = commands.find((command) => runs(command, check));
    return found === undefined ? { missing } : { command: [found, file(program)] };
  };
  return { name, find };
}

/** C, whose programs are compiled first. */
function compiled(source: string): Language {
  const find = () => {
    const program = join(temporaryFolder().path, "program");
    const { error, status, stderr } = spawnSync("cc", ["-o", program, file(source)]);
    if (error !== undefined) return { missing: "no C compiler" };
    if (status !== 0) throw new Error(`Cannot compile ${source}:\n${stderr}`);
    return { command: [program] };
  };
  return { name: "C", find };
}

// The first Python need not be the one that has sysv_ipc.
const pythons = [process.env.IPC_TEST_PYTHON ?? "python3", "/usr/bin/python3"];
const phpCheck = `exit((int) !(function_exists("sem_get") && function_exists("msg_send")
  && function_exists("shm_attach") && function_exists("shmop_open")));`;

export const python: Language = interpreted(
  "Python",
  pythons,
  ["-c", "import sysv_ipc"],
  "peer.py",
  "no Python with sysv_ipc",
);
export const perl: Language = interpreted(
  "Perl",
  ["perl"],
  ["-MIPC::Semaphore", "-MIPC::Msg", "-MDigest::SHA", "-e", "1"],
  "peer.pl",
  "no Perl with IPC::SysV",
);
export const php: Language = interpreted(
  "PHP",
  ["php"],
  ["-r", phpCheck],
  "peer.php",
  "no PHP with sysvsem, sysvmsg, sysvshm and shmop",
);
export const c: Language = compiled("peer.c");
/** C that takes part in structures in shared memory, as the documentation states. */
export const sharedC: Language = compiled("shared.c");

/** The languages whose programs perform, with semop alone, the steps that the documentation states. */
export const stepLanguages: readonly Language[] = [
  interpreted("Python", pythons, ["-c", "import ctypes"], "steps.py", "no Python"),
  interpreted("Perl", ["perl"], ["-MIPC::SysV", "-e", "1"], "steps.pl", "no Perl"),
  compiled("steps.c"),
];

/** A command of util-linux. */
export function tool(name: "ipcs" | "ipcrm" | "ipcmk" | "lsipc"): Language {
  const find = () =>
    runs(name, ["--version"]) ? { command: [name] } : { missing: `no ${name} of util-linux` };
  return { name, find };
}
