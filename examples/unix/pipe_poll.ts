/**
 * Reads what two children write to pipes as it arrives: `poll` reports which pipe has something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_poll.ts
 *     bun examples/unix/pipe_poll.ts
 *     node examples/unix/pipe_poll.ts
 *
 * The kernel is asked about all descriptors each time. It reports more than `select` does: that there is
 * something to read, and that no writer is left.
 *
 * @module
 */

import { poll } from "@sysv/ipc/unix";
import { hear, measure, talking } from "./talkers.ts";

await measure(async () => {
  while (talking.size > 0) {
    const ready = await poll([...talking.keys()].map((fd) => ({ fd, events: "readable" })));
    for (const { fd } of ready) hear(fd);
  }
});
