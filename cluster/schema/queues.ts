/**
 * The part of the schema that does what msgsnd(2) and msgrcv(2) do.
 *
 * @module
 */

/** Tables and functions of message queues. */
export const queues = `
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
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
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
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX ON ipc.receiver(queue, seq);

CREATE FUNCTION ipc.lock_queue(p_queue int) RETURNS void LANGUAGE sql AS
$$ SELECT pg_advisory_xact_lock(1769235303, p_queue) $$;

CREATE FUNCTION ipc.open_queue(p_name text, OUT id int) LANGUAGE plpgsql AS $$ BEGIN
  LOOP
    SELECT q.id INTO id FROM ipc.queue q WHERE q.name = p_name;
    EXIT WHEN FOUND;
    INSERT INTO ipc.queue AS q(name) VALUES (p_name) ON CONFLICT (name) DO NOTHING RETURNING q.id INTO id;
    EXIT WHEN FOUND;
  END LOOP;
  PERFORM ipc.flush(); END $$;

-- Puts a message of a locked queue into the hands of the first live receiver that waits for it, as the
-- kernel's pipelined_send() does, or back into the queue.
CREATE FUNCTION ipc.offer(p_queue int, p_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r record; v_me int := ipc.me(); BEGIN
  FOR r IN SELECT w.seq, w.sid FROM ipc.receiver w, ipc.message m
      WHERE w.queue = p_queue AND m.seq = p_seq AND m.type BETWEEN w.low AND w.high AND m.type <> w.but
      ORDER BY w.seq LOOP
    DELETE FROM ipc.receiver WHERE seq = r.seq;
    CONTINUE WHEN r.sid IS DISTINCT FROM v_me AND ipc.dead(r.sid);
    UPDATE ipc.message SET holder = r.sid, attempts = attempts + 1 WHERE seq = p_seq;
    PERFORM ipc.tell(r.sid, '0 '||p_seq||' 0 '||r.seq);
    RETURN;
  END LOOP;
  UPDATE ipc.message SET holder = NULL WHERE seq = p_seq AND holder IS NOT NULL; END $$;

CREATE FUNCTION ipc.send(p_sid int, p_queue int, p_type bigint, p_data bytea) RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_seq bigint; BEGIN
  PERFORM ipc.check_session(p_sid), ipc.lock_queue(p_queue);
  IF NOT EXISTS (SELECT FROM ipc.queue WHERE id = p_queue) THEN RETURN -43; END IF;
  INSERT INTO ipc.message(queue, type, data) VALUES (p_queue, p_type, p_data) RETURNING seq INTO v_seq;
  PERFORM ipc.offer(p_queue, v_seq), ipc.flush();
  RETURN 0; END $$;

CREATE FUNCTION ipc.has_dead_holder(p_queue int) RETURNS bool LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM (SELECT DISTINCT holder FROM ipc.message
    WHERE queue = p_queue AND holder IS NOT NULL AND holder IS DISTINCT FROM ipc.me()) h WHERE ipc.dead(h.holder)) $$;

-- Takes the messages out of the hands of the dead.
CREATE FUNCTION ipc.return_messages(p_queue int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_queue(p_queue);
  PERFORM ipc.offer(p_queue, m.seq) FROM (SELECT seq FROM ipc.message
    WHERE queue = p_queue AND holder IS NOT NULL AND holder IS DISTINCT FROM ipc.me() AND ipc.dead(holder)
    ORDER BY seq) m; END $$;

-- The message that msgrcv would take.
CREATE FUNCTION ipc.first_message(p_queue int, p_low bigint, p_high bigint, p_but bigint, p_sorted bool)
RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
  IF p_sorted OR p_low = p_high THEN
    RETURN (SELECT seq FROM ipc.message WHERE queue = p_queue AND holder IS NULL
      AND type BETWEEN p_low AND p_high ORDER BY type, seq LIMIT 1);
  END IF;
  RETURN (SELECT seq FROM ipc.message WHERE queue = p_queue AND holder IS NULL AND type <> p_but
    ORDER BY seq LIMIT 1); END $$;

-- Takes a message, or waits for one: a code, or a ticket, or the message with the code 0.
CREATE FUNCTION ipc.receive(
  p_sid int, p_queue int, p_low bigint, p_high bigint, p_but bigint, p_sorted bool, p_hold bool, p_wait bool,
  OUT code bigint, OUT seq bigint, OUT type bigint, OUT attempts int, OUT data bytea)
LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.check_session(p_sid), ipc.lock_queue(p_queue);
  IF NOT EXISTS (SELECT FROM ipc.queue WHERE id = p_queue) THEN code := -43; RETURN; END IF;
  seq := ipc.first_message(p_queue, p_low, p_high, p_but, p_sorted);
  IF seq IS NULL AND ipc.has_dead_holder(p_queue) THEN
    PERFORM ipc.return_messages(p_queue);
    seq := ipc.first_message(p_queue, p_low, p_high, p_but, p_sorted);
  END IF;
  IF seq IS NOT NULL THEN
    UPDATE ipc.message m SET holder = p_sid, attempts = m.attempts + 1 WHERE m.seq = receive.seq;
    SELECT * INTO code, seq, type, attempts, data FROM ipc.take(p_sid, seq, p_hold);
  ELSIF NOT p_wait THEN code := -11;
  ELSE
    INSERT INTO ipc.receiver(queue, sid, low, high, but) VALUES (p_queue, p_sid, p_low, p_high, p_but)
      RETURNING receiver.seq INTO code;
    PERFORM ipc.listen(p_sid);
  END IF; END $$;

-- Gives out a message that is in the session's hands, for good unless it is held.
CREATE FUNCTION ipc.take(
  p_sid int, p_seq bigint, p_hold bool, OUT code bigint, OUT seq bigint, OUT type bigint, OUT attempts int, OUT data bytea)
LANGUAGE plpgsql AS $$ BEGIN
  SELECT 0, m.seq, m.type, m.attempts, m.data INTO code, seq, type, attempts, data
    FROM ipc.message m WHERE m.seq = p_seq AND m.holder = p_sid;
  IF NOT FOUND THEN code := -43;
  ELSIF NOT p_hold THEN PERFORM ipc.done(p_sid, p_seq); END IF; END $$;

CREATE FUNCTION ipc.done(p_sid int, p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM ipc.message WHERE seq = p_seq AND holder = p_sid;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.flush();
  RETURN true; END $$;

-- Puts a message back where it was. What was never seen does not count as an attempt.
CREATE FUNCTION ipc.put_back(p_sid int, p_seq bigint, p_seen bool) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_queue int; BEGIN
  SELECT queue INTO v_queue FROM ipc.message WHERE seq = p_seq AND holder = p_sid;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock_queue(v_queue);
  UPDATE ipc.message SET attempts = attempts - CASE WHEN p_seen THEN 0 ELSE 1 END WHERE seq = p_seq;
  PERFORM ipc.offer(v_queue, p_seq);
  RETURN true; END $$;

CREATE FUNCTION ipc.cancel_receive(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_queue int; BEGIN
  SELECT queue INTO v_queue FROM ipc.receiver WHERE seq = p_seq;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock_queue(v_queue);
  DELETE FROM ipc.receiver WHERE seq = p_seq;
  RETURN FOUND; END $$;

CREATE FUNCTION ipc.queue_state(p_queue int, OUT messages int, OUT held int, OUT bytes bigint) LANGUAGE sql AS $$
  SELECT count(*) FILTER (WHERE holder IS NULL), count(holder), coalesce(sum(length(data)), 0)
    FROM ipc.message WHERE queue = p_queue HAVING EXISTS (SELECT FROM ipc.queue WHERE id = p_queue) $$;

CREATE FUNCTION ipc.remove_queue(p_queue int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_queue(p_queue);
  DELETE FROM ipc.queue WHERE id = p_queue;
  IF NOT FOUND THEN RETURN -43; END IF;
  PERFORM ipc.tell(sid, '-43 0 0 '||seq) FROM ipc.receiver WHERE queue = p_queue;
  DELETE FROM ipc.receiver WHERE queue = p_queue;
  DELETE FROM ipc.message WHERE queue = p_queue;
  PERFORM ipc.flush();
  RETURN 0; END $$;
`;
