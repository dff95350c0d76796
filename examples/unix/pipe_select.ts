/**
 * Reads what two children write to pipes as it arrives: `select` reports which pipe has something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_select.ts
 *     bun examples/unix/pipe_select.ts
 *     node examples/unix/pipe_select.ts
 *
 * The kernel is asked about all descriptors each time. C's `select` has a limit of 1024; this has none.
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
