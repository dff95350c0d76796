/**
 * The objects of the kernel, to see what tests leave behind.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import process from "node:process";

/**
 * Lists objects by kind and identifier, with their lines in /proc: all, or only objects of this user; none
 * where the system lists none.
 */
export function objects(ofThisUserOnly: boolean): Map<string, string> {
  const found = new Map<string, string>();
  for (const [kind, name] of [["sem", "semid"], ["msg", "msqid"], ["shm", "shmid"]] as const) {
    const [header = [], ...rows] = table(`/proc/sysvipc/${kind}`);
    const id = header.indexOf(name);
    const creator = header.indexOf("cuid");
    for (const row of rows) {
      if (ofThisUserOnly && row[creator] !== String(process.getuid?.())) continue;
      found.set(`${kind} ${row[id]}`, row.join(" "));
    }
  }
  return found;
}

function table(path: string): string[][] {
  try {
    return readFileSync(path, "utf8").trim().split("\n").map((line) => line.trim().split(/\s+/));
  } catch {
    return [];
  }
}
