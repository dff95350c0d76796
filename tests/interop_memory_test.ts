import { assertEquals, assertThrows } from "@std/assert";
import { IpcError, SharedMemory } from "@sysv/ipc";
import { c, perl, php, python } from "./support/languages.ts";
import { Name, start, testWith } from "./support/peer.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

for (const language of [c, python, perl, php]) {
  testWith(
    [language],
    `SharedMemory.bytes are what ${language.name} writes and reads`,
    async () => {
      using name = new Name();
      using memory = SharedMemory.create({ key: name.text, size: 4096 });
      await using peer = start(language);
      await peer.ask("write", name.key, 0, "first");
      await peer.ask("write", name.key, 4091, "last!");
      assertEquals(decoder.decode(memory.bytes.subarray(0, 6)), "first\0");
      assertEquals(decoder.decode(memory.bytes.subarray(4091)), "last!");
      memory.bytes.set(encoder.encode("fläsh"), 100);
      assertEquals(await peer.ask("read", name.key, 100, 6), "fläsh");
    },
  );

  testWith(
    [language],
    `SharedMemory.open() attaches a segment that ${language.name} created`,
    async () => {
      using name = new Name();
      await using peer = start(language);
      await peer.ask("create_memory", name.key, 100);
      await peer.ask("write", name.key, 95, "there");
      using memory = SharedMemory.open(name.text);
      assertEquals(memory.size, 100);
      assertEquals(memory.stat().creatorPid, peer.pid);
      assertEquals(decoder.decode(memory.read(95)), "there");
      memory.write(encoder.encode("back"), 0);
      assertEquals(await peer.ask("read", name.key, 0, 4), "back");
    },
  );

  testWith(
    [language],
    `SharedMemory.read() gives what ${language.name} had written when it was killed`,
    async () => {
      using name = new Name();
      using memory = SharedMemory.create({ key: name.text, size: 100 });
      await using peer = start(language);
      await peer.ask("write", name.key, 0, "left");
      await peer.kill();
      assertEquals(decoder.decode(memory.read(0, 4)), "left");
      assertEquals(memory.stat().attachments, 1);
    },
  );

  testWith(
    [language],
    `SharedMemory.openOrCreate() refuses a smaller segment of ${language.name}`,
    async () => {
      using name = new Name();
      await using peer = start(language);
      await peer.ask("create_memory", name.key, 100);
      const { code, syscall } = assertThrows(
        () => SharedMemory.openOrCreate(name.text, { size: 101 }),
        IpcError,
      );
      assertEquals([code, syscall], ["EINVAL", "shmget"]);
    },
  );
}

testWith(
  [php],
  "SharedMemory.create() makes what PHP's shm_attach keeps variables in",
  async () => {
    using name = new Name();
    using memory = SharedMemory.create({ key: name.text, size: 4096 });
    await using peer = start(php);
    await peer.ask("put_variable", name.key, memory.size, 1, "hello");
    const text = decoder.decode(memory.read());
    assertEquals(text.startsWith("PHP_SM\0"), true);
    assertEquals(text.includes('s:5:"hello";'), true);
    memory.bytes[text.indexOf("hello")] = "j".charCodeAt(0);
    assertEquals(await peer.ask("get_variable", name.key, memory.size, 1), "jello");
  },
);
