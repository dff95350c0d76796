/**
 * `ipc rm`: removing objects that are named.
 *
 * @module
 */

import type { ObjectType } from "../ipc/inventory.ts";
import type { Command } from "./command.ts";
import { DONE, FAILED, lineOf, UsageError } from "./errors.ts";
import { TYPE_OPTION } from "./ls.ts";
import { complain } from "./output.ts";
import { remove } from "./remove.ts";
import { findOne } from "./target.ts";

export const command: Command = {
  name: "rm",
  summary: "Remove objects, even if they are in use.",
  usage: ["[OPTIONS] ID|KEY|NAME..."],
  options: [TYPE_OPTION],
  notes: ["ipc reap removes what nobody uses any more."],
  run(given) {
    if (given.words.length === 0) throw new UsageError("expected an object", "rm");
    let code = DONE;
    for (const word of given.words) {
      let failure;
      try {
        failure = remove(findOne(word, given.get("type") as ObjectType | undefined));
      } catch (error) {
        failure = lineOf(error);
      }
      if (failure === undefined) continue;
      complain(`ipc rm: ${failure}`);
      code = FAILED;
    }
    return code;
  },
};
