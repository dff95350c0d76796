/**
 * Reads what two children say through pipes, as it comes: `select` tells who has said something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_select.ts
 *     bun examples/unix/pipe_select.ts
 *
 * The kernel is asked anew about all of them each time. This is C's `select` without its limit of 1,024.
 *
 * @module
 */

import { select } from "@sysv/ipc/unix";
import { hear, measure, talking } from "./talkers.ts";

await measure(async () => {
  while (talking.size > 0) {
    const { read } = await select({ read: [...talking.keys()] });
    read.forEach(hear);
  }
});
