/**
 * The tables of the schema, and what each version of it has changed.
 *
 * @module
 */

/** What is updated all the time is cleaned often. */
const busy = "WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)";

const sessions = `
CREATE TABLE ipc.version(number int NOT NULL);
INSERT INTO ipc.version VALUES (0);

-- A session is to this schema what a process is to the kernel. As long as it lives, it has the advisory
-- lock (1769235300, sid). Who can take that lock knows that the session is dead, however it ended.
CREATE SEQUENCE ipc.sid AS int CYCLE;
CREATE TABLE ipc.session(
  sid int PRIMARY KEY,
  pid int NOT NULL DEFAULT pg_backend_pid(),
  label text NOT NULL,
  since timestamptz NOT NULL DEFAULT now());

-- Whatever waits has a ticket. A notification on the channel ipc_<sid> carries it once the wait is over.
CREATE SEQUENCE ipc.ticket;
`;

const semaphores = `
CREATE TABLE ipc.sem(
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  kind text NOT NULL,
  zeros int[] NOT NULL,
  -- How long it may be unused before it vanishes.
  idle interval,
  opened timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON ipc.sem(idle) WHERE idle IS NOT NULL;

-- The version is a part of the key, and the newest is looked up from the end of the index. A transaction
-- that is open elsewhere for long keeps old versions from being removed, but nothing walks over them.
-- raised, lowered: how much of each value is owed to sessions that hold something, and would be taken
-- back if all of them died. So an operation that only the dead make possible finds them without a
-- look at every holder.
CREATE TABLE ipc.val(
  id int NOT NULL,
  ver bigint NOT NULL,
  vals int[] NOT NULL,
  raised int[] NOT NULL,
  lowered int[] NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, ver)
) ${busy};

-- What is added to each value when the session dies: semadj.
CREATE TABLE ipc.undo(
  id int NOT NULL,
  sid int NOT NULL,
  ver bigint NOT NULL,
  adj int[] NOT NULL,
  PRIMARY KEY (id, sid, ver)
) ${busy};

-- ops: triples of index, delta, and 1 if it is undone. No second index on the set: the planner would
-- take it, and walk over all dead versions.
CREATE TABLE ipc.wait(
  seq bigint PRIMARY KEY DEFAULT nextval('ipc.ticket'),
  id int NOT NULL,
  sid int NOT NULL,
  alters bool NOT NULL,
  ops int[] NOT NULL
) ${busy};
CREATE INDEX ON ipc.wait(id, alters, ops, seq);

-- No set that is made begins below the version of one that was removed, so that terms never go back.
CREATE TABLE ipc.floor(ver bigint NOT NULL);
INSERT INTO ipc.floor VALUES (0);
`;

const queues = `
CREATE TABLE ipc.queue(
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE);

-- holder: the session in whose hands a message is.
CREATE TABLE ipc.message(
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue int NOT NULL,
  type bigint NOT NULL,
  data bytea NOT NULL,
  attempts int NOT NULL DEFAULT 0,
  holder int
) ${busy};
CREATE INDEX ON ipc.message(queue, seq) WHERE holder IS NULL;
CREATE INDEX ON ipc.message(queue, type, seq) WHERE holder IS NULL;
CREATE INDEX ON ipc.message(holder, queue) WHERE holder IS NOT NULL;

-- Who waits for a message, and which: from low to high, but not one; the lowest type first, or in order.
CREATE TABLE ipc.receiver(
  seq bigint PRIMARY KEY DEFAULT nextval('ipc.ticket'),
  queue int NOT NULL,
  sid int NOT NULL,
  low bigint NOT NULL,
  high bigint NOT NULL,
  but bigint NOT NULL
) ${busy};
CREATE INDEX ON ipc.receiver(queue, seq);
`;

const topics = `
CREATE TABLE ipc.topic(
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  kind text NOT NULL,
  codec text NOT NULL,
  keep int NOT NULL,
  UNIQUE (kind, name));

CREATE TABLE ipc.post(
  topic int NOT NULL,
  seq bigint NOT NULL,
  data bytea,
  PRIMARY KEY (topic, seq)
) ${busy};

-- Who waits for the next item.
CREATE TABLE ipc.reader(
  seq bigint PRIMARY KEY DEFAULT nextval('ipc.ticket'),
  topic int NOT NULL,
  sid int NOT NULL
) ${busy};
CREATE INDEX ON ipc.reader(topic, sid);
`;

const queueLimits = `
-- The most bytes of all messages, and the most messages; NULL for no limit.
ALTER TABLE ipc.queue ADD COLUMN max_bytes bigint;

-- How full a queue with a limit is. As with ipc.val, the version is a part of the key.
CREATE TABLE ipc.fill(
  queue int NOT NULL,
  ver bigint NOT NULL,
  bytes bigint NOT NULL,
  messages bigint NOT NULL,
  PRIMARY KEY (queue, ver)
) ${busy};

-- Who waits for room, with the message that comes in as soon as there is.
CREATE TABLE ipc.sender(
  seq bigint PRIMARY KEY DEFAULT nextval('ipc.ticket'),
  queue int NOT NULL,
  sid int NOT NULL,
  type bigint NOT NULL,
  data bytea NOT NULL
) ${busy};
CREATE INDEX ON ipc.sender(queue, seq);

-- The longest message that the receiver has room for; NULL for any.
ALTER TABLE ipc.receiver ADD COLUMN room bigint;
`;

/** What made the tables of each version from those before it: never changed once it was published. */
export const steps: readonly string[] = [
  ["CREATE SCHEMA ipc;", sessions, semaphores, queues, topics].join("\n"),
  queueLimits,
];
