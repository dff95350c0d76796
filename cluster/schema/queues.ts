/**
 * The part of the schema that does what msgsnd(2) and msgrcv(2) do.
 *
 * @module
 */

/** Functions of message queues. */
export const queues = `
CREATE OR REPLACE FUNCTION ipc.lock_queue(p_queue int) RETURNS void LANGUAGE sql AS
$$ SELECT pg_advisory_xact_lock(1769235303, p_queue) $$;

CREATE OR REPLACE FUNCTION ipc.open_queue(p_name text, p_max bigint, OUT id int, OUT made bool)
LANGUAGE plpgsql AS $$ BEGIN
  made := false;
  LOOP
    SELECT q.id INTO id FROM ipc.queue q WHERE q.name = p_name;
    EXIT WHEN FOUND;
    INSERT INTO ipc.queue AS q(name, max_bytes) VALUES (p_name, p_max)
      ON CONFLICT (name) DO NOTHING RETURNING q.id INTO id;
    IF FOUND THEN
      made := true;
      IF p_max IS NOT NULL THEN INSERT INTO ipc.fill VALUES (id, 0, 0, 0); END IF;
      PERFORM ipc.flush();
      EXIT;
    END IF;
  END LOOP; END $$;

-- Puts a message of a locked queue into the hands of the first live receiver that waits for it, as the
-- kernel's pipelined_send() does, or back into the queue. Who has no room for it is told that it is too long.
CREATE OR REPLACE FUNCTION ipc.offer(p_queue int, p_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r record; v_me int := ipc.me(); BEGIN
  FOR r IN SELECT w.seq, w.sid, w.room < length(m.data) AS refused FROM ipc.receiver w, ipc.message m
      WHERE w.queue = p_queue AND m.seq = p_seq AND m.type BETWEEN w.low AND w.high AND m.type <> w.but
      ORDER BY w.seq LOOP
    DELETE FROM ipc.receiver WHERE seq = r.seq;
    CONTINUE WHEN r.sid IS DISTINCT FROM v_me AND ipc.dead(r.sid);
    IF r.refused THEN
      PERFORM ipc.tell(r.sid, '-7 0 0 '||r.seq);
      CONTINUE;
    END IF;
    UPDATE ipc.message SET holder = r.sid, attempts = attempts + 1 WHERE seq = p_seq;
    PERFORM ipc.tell(r.sid, '0 '||p_seq||' 0 '||r.seq);
    RETURN;
  END LOOP;
  UPDATE ipc.message SET holder = NULL WHERE seq = p_seq AND holder IS NOT NULL; END $$;

-- Whether a locked queue has room for so many bytes, by the kernel's rule: no more bytes than its limit,
-- and no more messages than that, either. What receivers hold counts, as it may come back.
CREATE OR REPLACE FUNCTION ipc.has_room(p_queue int, p_bytes bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_max bigint; f record; BEGIN
  SELECT max_bytes INTO v_max FROM ipc.queue WHERE id = p_queue;
  IF v_max IS NULL THEN RETURN true; END IF;
  SELECT bytes, messages INTO f FROM ipc.fill WHERE queue = p_queue ORDER BY ver DESC LIMIT 1;
  RETURN f.bytes + p_bytes <= v_max AND f.messages < v_max; END $$;

-- Counts what came into a locked queue, or left it. One without a limit has no row.
CREATE OR REPLACE FUNCTION ipc.count_in(p_queue int, p_bytes bigint, p_messages int) RETURNS void LANGUAGE sql AS $$
  UPDATE ipc.fill SET ver = ver + 1, bytes = bytes + p_bytes, messages = messages + p_messages
    WHERE queue = p_queue
      AND ver = (SELECT f.ver FROM ipc.fill f WHERE f.queue = p_queue ORDER BY f.ver DESC LIMIT 1) $$;

CREATE OR REPLACE FUNCTION ipc.put(p_queue int, p_type bigint, p_data bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_seq bigint; BEGIN
  INSERT INTO ipc.message(queue, type, data) VALUES (p_queue, p_type, p_data) RETURNING seq INTO v_seq;
  PERFORM ipc.count_in(p_queue, length(p_data), 1), ipc.offer(p_queue, v_seq), ipc.flush(); END $$;

-- Lets in what waits for room, on behalf of those who wait, from the first on: nothing passes what is too
-- long for now. What the dead have left never comes in.
CREATE OR REPLACE FUNCTION ipc.admit(p_queue int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE w record; s record; BEGIN
  FOR w IN SELECT seq, sid, length(data) AS bytes FROM ipc.sender WHERE queue = p_queue ORDER BY seq LOOP
    IF w.sid IS DISTINCT FROM ipc.me() AND ipc.dead(w.sid) THEN
      DELETE FROM ipc.sender WHERE seq = w.seq;
      CONTINUE;
    END IF;
    EXIT WHEN NOT ipc.has_room(p_queue, w.bytes);
    DELETE FROM ipc.sender WHERE seq = w.seq RETURNING type, data INTO s;
    PERFORM ipc.put(p_queue, s.type, s.data), ipc.tell(w.sid, '0 0 0 '||w.seq);
  END LOOP; END $$;

-- Sends a message, or waits for room: 0, or a ticket, or a code.
CREATE OR REPLACE FUNCTION ipc.send(p_sid int, p_queue int, p_type bigint, p_data bytea, p_wait bool)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_max bigint; v_ticket bigint; BEGIN
  PERFORM ipc.check_session(p_sid), ipc.lock_queue(p_queue);
  SELECT max_bytes INTO v_max FROM ipc.queue WHERE id = p_queue;
  IF NOT FOUND THEN RETURN -43; END IF;
  -- A queue of 0 bytes is closed for now.
  IF v_max > 0 AND length(p_data) > v_max THEN RETURN -22; END IF;
  IF v_max IS NOT NULL THEN
    PERFORM ipc.admit(p_queue);
    IF NOT ipc.has_room(p_queue, length(p_data))
      OR p_wait AND EXISTS (SELECT FROM ipc.sender WHERE queue = p_queue) THEN
      IF NOT p_wait THEN RETURN -11; END IF;
      INSERT INTO ipc.sender(queue, sid, type, data) VALUES (p_queue, p_sid, p_type, p_data)
        RETURNING seq INTO v_ticket;
      PERFORM ipc.listen(p_sid);
      RETURN v_ticket;
    END IF;
  END IF;
  PERFORM ipc.put(p_queue, p_type, p_data);
  RETURN 0; END $$;

CREATE OR REPLACE FUNCTION ipc.has_dead_holder(p_queue int) RETURNS bool LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM (SELECT DISTINCT holder FROM ipc.message
    WHERE queue = p_queue AND holder IS NOT NULL AND holder IS DISTINCT FROM ipc.me()) h WHERE ipc.dead(h.holder)) $$;

-- Takes the messages out of the hands of the dead.
CREATE OR REPLACE FUNCTION ipc.return_messages(p_queue int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_queue(p_queue);
  PERFORM ipc.offer(p_queue, m.seq) FROM (SELECT seq FROM ipc.message
    WHERE queue = p_queue AND holder IS NOT NULL AND holder IS DISTINCT FROM ipc.me() AND ipc.dead(holder)
    ORDER BY seq) m; END $$;

-- The message that msgrcv would take.
CREATE OR REPLACE FUNCTION ipc.first_message(p_queue int, p_low bigint, p_high bigint, p_but bigint, p_sorted bool)
RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
  IF p_sorted OR p_low = p_high THEN
    RETURN (SELECT seq FROM ipc.message WHERE queue = p_queue AND holder IS NULL
      AND type BETWEEN p_low AND p_high ORDER BY type, seq LIMIT 1);
  END IF;
  RETURN (SELECT seq FROM ipc.message WHERE queue = p_queue AND holder IS NULL AND type <> p_but
    ORDER BY seq LIMIT 1); END $$;

-- Takes a message, or waits for one: a code, or a ticket, or the message with the code 0. One that is longer
-- than there is room for stays where it is.
CREATE OR REPLACE FUNCTION ipc.receive(
  p_sid int, p_queue int, p_low bigint, p_high bigint, p_but bigint, p_sorted bool, p_room bigint, p_hold bool, p_wait bool,
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
    IF p_room < (SELECT length(m.data) FROM ipc.message m WHERE m.seq = receive.seq) THEN code := -7; RETURN; END IF;
    UPDATE ipc.message m SET holder = p_sid, attempts = m.attempts + 1 WHERE m.seq = receive.seq;
    SELECT * INTO code, seq, type, attempts, data FROM ipc.take(p_sid, seq, p_hold);
  ELSIF NOT p_wait THEN code := -11;
  ELSE
    INSERT INTO ipc.receiver(queue, sid, low, high, but, room) VALUES (p_queue, p_sid, p_low, p_high, p_but, p_room)
      RETURNING receiver.seq INTO code;
    PERFORM ipc.listen(p_sid);
  END IF; END $$;

-- Gives out a message that is in the session's hands, for good unless it is held.
CREATE OR REPLACE FUNCTION ipc.take(
  p_sid int, p_seq bigint, p_hold bool, OUT code bigint, OUT seq bigint, OUT type bigint, OUT attempts int, OUT data bytea)
LANGUAGE plpgsql AS $$ BEGIN
  SELECT 0, m.seq, m.type, m.attempts, m.data INTO code, seq, type, attempts, data
    FROM ipc.message m WHERE m.seq = p_seq AND m.holder = p_sid;
  IF NOT FOUND THEN code := -43;
  ELSIF NOT p_hold THEN PERFORM ipc.done(p_sid, p_seq); END IF; END $$;

CREATE OR REPLACE FUNCTION ipc.done(p_sid int, p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_queue int; v_bytes bigint; BEGIN
  SELECT queue INTO v_queue FROM ipc.message WHERE seq = p_seq AND holder = p_sid;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock_queue(v_queue);
  DELETE FROM ipc.message WHERE seq = p_seq AND holder = p_sid RETURNING length(data) INTO v_bytes;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.count_in(v_queue, -v_bytes, -1), ipc.admit(v_queue), ipc.flush();
  RETURN true; END $$;

-- Puts a message back where it was. What was never seen does not count as an attempt.
CREATE OR REPLACE FUNCTION ipc.put_back(p_sid int, p_seq bigint, p_seen bool) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_queue int; BEGIN
  SELECT queue INTO v_queue FROM ipc.message WHERE seq = p_seq AND holder = p_sid;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock_queue(v_queue);
  UPDATE ipc.message SET attempts = attempts - CASE WHEN p_seen THEN 0 ELSE 1 END WHERE seq = p_seq;
  PERFORM ipc.offer(v_queue, p_seq);
  RETURN true; END $$;

CREATE OR REPLACE FUNCTION ipc.cancel_receive(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_queue int; BEGIN
  SELECT queue INTO v_queue FROM ipc.receiver WHERE seq = p_seq;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock_queue(v_queue);
  DELETE FROM ipc.receiver WHERE seq = p_seq;
  RETURN FOUND; END $$;

-- What stood behind the one that is cancelled may have room.
CREATE OR REPLACE FUNCTION ipc.cancel_send(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_queue int; BEGIN
  SELECT queue INTO v_queue FROM ipc.sender WHERE seq = p_seq;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock_queue(v_queue);
  DELETE FROM ipc.sender WHERE seq = p_seq;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.admit(v_queue);
  RETURN true; END $$;

-- A copy of the message at a position, from 0 for the oldest.
CREATE OR REPLACE FUNCTION ipc.peek(p_queue int, p_index int, OUT code bigint, OUT type bigint, OUT data bytea)
LANGUAGE plpgsql AS $$ BEGIN
  IF NOT EXISTS (SELECT FROM ipc.queue WHERE id = p_queue) THEN code := -43; RETURN; END IF;
  IF ipc.has_dead_holder(p_queue) THEN PERFORM ipc.return_messages(p_queue); END IF;
  SELECT 0, m.type, m.data INTO code, type, data FROM ipc.message m
    WHERE m.queue = p_queue AND m.holder IS NULL ORDER BY m.seq OFFSET p_index LIMIT 1;
  IF NOT FOUND THEN code := -11; END IF; END $$;

CREATE OR REPLACE FUNCTION ipc.describe_queue(
  p_queue int, OUT messages bigint, OUT held bigint, OUT bytes bigint, OUT max_bytes bigint) LANGUAGE sql AS $$
  SELECT (SELECT count(*) FROM ipc.message m WHERE m.queue = q.id AND m.holder IS NULL), h.held,
    h.bytes + (SELECT coalesce(sum(length(m.data)), 0) FROM ipc.message m WHERE m.queue = q.id AND m.holder IS NULL),
    q.max_bytes
  FROM ipc.queue q, LATERAL (SELECT count(*) AS held, coalesce(sum(length(m.data)), 0) AS bytes
    FROM ipc.message m WHERE m.queue = q.id AND m.holder IS NOT NULL) h WHERE q.id = p_queue $$;

-- Sets the most bytes, or none. What waits and can never have room is told so.
CREATE OR REPLACE FUNCTION ipc.resize_queue(p_queue int, p_max bigint) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_queue(p_queue);
  UPDATE ipc.queue SET max_bytes = p_max WHERE id = p_queue;
  IF NOT FOUND THEN RETURN -43; END IF;
  DELETE FROM ipc.fill WHERE queue = p_queue;
  IF p_max IS NOT NULL THEN
    INSERT INTO ipc.fill SELECT p_queue, 0, d.bytes, d.messages + d.held FROM ipc.describe_queue(p_queue) d;
  END IF;
  IF p_max > 0 THEN
    PERFORM ipc.tell(sid, '-22 0 0 '||seq) FROM ipc.sender WHERE queue = p_queue AND length(data) > p_max;
    DELETE FROM ipc.sender WHERE queue = p_queue AND length(data) > p_max;
  END IF;
  PERFORM ipc.admit(p_queue), ipc.flush();
  RETURN 0; END $$;

CREATE OR REPLACE FUNCTION ipc.remove_queue(p_queue int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_queue(p_queue);
  DELETE FROM ipc.queue WHERE id = p_queue;
  IF NOT FOUND THEN RETURN -43; END IF;
  PERFORM ipc.tell(w.sid, '-43 0 0 '||w.seq) FROM (
    SELECT sid, seq FROM ipc.receiver WHERE queue = p_queue
    UNION ALL SELECT sid, seq FROM ipc.sender WHERE queue = p_queue) w;
  DELETE FROM ipc.receiver WHERE queue = p_queue;
  DELETE FROM ipc.sender WHERE queue = p_queue;
  DELETE FROM ipc.message WHERE queue = p_queue;
  DELETE FROM ipc.fill WHERE queue = p_queue;
  PERFORM ipc.flush();
  RETURN 0; END $$;
`;
