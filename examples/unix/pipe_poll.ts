/**
 * Reads what two children say through pipes, as it comes: `poll` tells who has said something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_poll.ts
 *     bun examples/unix/pipe_poll.ts
 *
 * The kernel is asked anew about all of them each time, and tells more: that there is something to read,
 * and that there is nobody left to write.
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
