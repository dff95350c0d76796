import { assertEquals } from "@std/assert";
import { MessageQueue } from "@sysv/ipc";
import { run } from "./support/child.ts";
import { c, perl, php, python } from "./support/languages.ts";
import { Name, start, testWith } from "./support/peer.ts";

for (const language of [c, python, perl, php]) {
  testWith(
    [language],
    `MessageQueue.receiveSync() gets what ${language.name} sent, by type`,
    async () => {
      using name = new Name();
      using queue = MessageQueue.create({ key: name.text });
      await using peer = start(language);
      await peer.ask("send", name.key, 7, "seven");
      await peer.ask("send", name.key, 3, "grüße");
      await peer.ask("send", name.key, 7, "again");
      const received = [{ type: { atMost: 5 } }, { type: 7 }, {}].map((options) => {
        const message = queue.receiveSync(options);
        return [message.type, message.text()];
      });
      assertEquals(received, [[3, "grüße"], [7, "seven"], [7, "again"]]);
    },
  );

  testWith(
    [language],
    `${language.name} receives what MessageQueue.sendSync() sent, by type`,
    async () => {
      using name = new Name();
      using queue = MessageQueue.create({ key: name.text });
      queue.sendSync("seven", { type: 7 });
      queue.sendSync("grüße", { type: 3 });
      queue.sendSync("again", { type: 7 });
      await using peer = start(language);
      assertEquals(await peer.ask("receive", name.key, -5), "3 grüße");
      assertEquals(await peer.ask("receive", name.key, 7), "7 seven");
      assertEquals(await peer.ask("receive", name.key, 0), "7 again");
    },
  );

  testWith(
    [language],
    `MessageQueue.open() opens a queue that ${language.name} created`,
    async () => {
      using name = new Name();
      await using peer = start(language);
      await peer.ask("create_queue", name.key);
      using queue = MessageQueue.open(name.text);
      queue.sendSync("there");
      assertEquals(await peer.ask("receive", name.key, 1), "1 there");
      assertEquals(queue.stat().lastReceivePid, peer.pid);
      await peer.ask("send", name.key, 2, "back");
      assertEquals(queue.tryReceive({ type: 2 })?.text(), "back");
      assertEquals(queue.stat().lastSendPid, peer.pid);
    },
  );

  testWith(
    [language],
    `MessageQueue.receiveSync() waits until ${language.name} sends its type`,
    async () => {
      using name = new Name();
      using queue = MessageQueue.create({ key: name.text });
      await using peer = start(language);
      await using child = run(
        `const queue = MessageQueue.open(args[0]); say("waiting"); say(queue.receiveSync({ type: 2 }).text());`,
        { args: [name.text] },
      );
      assertEquals(await child.hear(), "waiting");
      await peer.ask("send", name.key, 1, "not-this");
      await peer.ask("send", name.key, 2, "this");
      assertEquals(await child.hear(), "this");
      assertEquals(queue.stat().messages, 1);
    },
  );

  testWith(
    [language],
    `${language.name} waits until MessageQueue.sendSync() sends its type`,
    async () => {
      using name = new Name();
      using queue = MessageQueue.create({ key: name.text });
      await using peer = start(language);
      peer.tell("receive", name.key, 2);
      queue.sendSync("not this", { type: 1 });
      queue.sendSync("this", { type: 2 });
      assertEquals(await peer.hear(), "2 this");
      assertEquals(queue.stat().messages, 1);
    },
  );
}

testWith(
  [php],
  "Message.text() is PHP's serialised form unless msg_send is told otherwise",
  async () => {
    using name = new Name();
    using queue = MessageQueue.create({ key: name.text });
    await using peer = start(php);
    await peer.ask("send_serialized", name.key, 1, "hello");
    assertEquals(queue.tryReceive()?.text(), 's:5:"hello";');
  },
);
