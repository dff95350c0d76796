/**
 * Shows which of select, poll and epoll this system has.
 *
 *     deno run --allow-ffi examples/unix/which_polling.ts
 *     bun examples/unix/which_polling.ts
 *     node examples/unix/which_polling.ts
 *
 * @module
 */

import assert from "node:assert/strict";
import { IpcError } from "@sysv/ipc";
import { Epoll, pipe, pollSync, selectSync } from "@sysv/ipc/unix";

using ends = pipe();
ends.writer.writeSync("something to read");
const { fd } = ends.reader;

/** Each way to find out that there is something to read. */
const ways: Readonly<Record<string, () => readonly number[]>> = {
  select: () => selectSync({ read: [fd] }).read,
  poll: () => pollSync([{ fd }]).map((ready) => ready.fd),
  epoll() {
    using epoll = new Epoll();
    epoll.add(fd);
    return epoll.waitSync().map((ready) => ready.fd);
  },
};

const found = Object.entries(ways).filter(([name, way]) => {
  try {
    assert.deepEqual(way(), [fd]);
    console.log(name, "works");
    return true;
  } catch (error) {
    if (!(error instanceof IpcError && error.code === "ENOSYS")) throw error;
    console.log(name, "is not there");
    return false;
  }
}).map(([name]) => name);

assert.deepEqual(found, Epoll.available ? ["select", "poll", "epoll"] : ["select", "poll"]);
console.log(`This system has ${found.join(", ")}.`);
