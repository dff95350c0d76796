/**
 * Reads what two children say through pipes, as it comes: `epoll` tells who has said something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_epoll.ts
 *     bun examples/unix/pipe_epoll.ts
 *
 * The kernel is told once about all of them, so the cost does not grow with how many are silent (Linux).
 *
 * @module
 */

import { Epoll } from "@sysv/ipc/unix";
import { hear, measure, talking } from "./talkers.ts";

using epoll = new Epoll();
for (const fd of talking.keys()) epoll.add(fd);

await measure(async () => {
  for await (const { fd } of epoll) {
    hear(fd); // which closes at the end, and so takes it out of the set
    if (talking.size === 0) break;
  }
});
