/**
 * Reads what two children write to pipes as it arrives: `epoll` reports which pipe has something.
 *
 *     deno run --allow-ffi --allow-run=sh --allow-env examples/unix/pipe_epoll.ts
 *     bun examples/unix/pipe_epoll.ts
 *     node examples/unix/pipe_epoll.ts
 *
 * The kernel learns all descriptors once, so silent ones cost nothing (Linux).
 *
 * @module
 */

import { Epoll } from "@sysv/ipc/unix";
import { hear, measure, talking } from "./talkers.ts";

using epoll = new Epoll();
for (const fd of talking.keys()) epoll.add(fd);

await measure(async () => {
  for await (const { fd } of epoll) {
    hear(fd); // closes the pipe at its end, which removes it from the set
    if (talking.size === 0) break;
  }
});
