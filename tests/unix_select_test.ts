import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Pipe, pipe, select, selectSync } from "@sysv/ipc/unix";
import { assertTimesOut } from "./support/assert.ts";
import { fill, pipes } from "./support/pipes.ts";

/** What select says, as poll would. */
const selectForms = {
  select: async (request: Parameters<typeof select>[0], options?: { timeout: number }) =>
    await select(request, options),
  selectSync: (request: Parameters<typeof select>[0], options?: { timeout: number }) =>
    selectSync(request, options),
};

for (const [name, look] of Object.entries(selectForms)) {
  test(`${name}() sorts what is ready by what was asked`, async () => {
    using all = pipes(3);
    const [empty, some, hung] = all as unknown as [Pipe, Pipe, Pipe];
    some.writer.writeSync("x");
    hung.writer.close();
    const read = all.map(({ reader }) => reader.fd);
    const write = [empty.writer.fd];
    assertEquals(await look({ read, write, error: read }), {
      read: [some.reader.fd, hung.reader.fd],
      write,
      error: [],
    });
    assertEquals(await look({ read: [some.reader.fd, some.reader.fd] }), {
      read: [some.reader.fd, some.reader.fd],
      write: [],
      error: [],
    });
  });

  test(`${name}() finds the reader gone from a full pipe as something to write`, async () => {
    using ends = pipe();
    fill(ends);
    await assertTimesOut(() => look({ write: [ends.writer.fd] }, { timeout: 1 }));
    ends.reader.close();
    const write = [ends.writer.fd];
    assertEquals(await look({ write }), { read: [], write, error: [] });
  });

  test(`${name}() waits until what was asked is ready, not until a hangup`, async () => {
    using ends = pipe();
    ends.writer.close();
    await assertTimesOut(() => look({ error: [ends.reader.fd] }, { timeout: 20 }));
  });

  test(`${name}() gives up when the time is up`, async () => {
    using ends = pipe();
    await assertTimesOut(() => look({ read: [ends.reader.fd] }, { timeout: 5 }));
    await assertTimesOut(() => look({}, { timeout: 5 }));
  });
}
