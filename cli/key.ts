/**
 * `ipc key`: the key of a name.
 *
 * @module
 */

import { keyOf } from "../ipc/key.ts";
import { type Command, JSON_OPTION } from "./command.ts";
import { DONE, UsageError } from "./errors.ts";
import { print, printJson } from "./output.ts";
import { hex } from "./target.ts";

export const command: Command = {
  name: "key",
  summary: "Print the key of a name: the first 4 bytes of its SHA-256, without the sign bit.",
  usage: ["[OPTIONS] NAME..."],
  options: [JSON_OPTION],
  run(given) {
    if (given.words.length === 0) throw new UsageError("expected a name", "key");
    const keys = given.words.map((name) => ({ name, key: keyOf(name), keyHex: hex(keyOf(name)) }));
    if (given.has("json")) printJson(keys);
    else print(...keys.map(({ keyHex }) => keyHex));
    return DONE;
  },
};
