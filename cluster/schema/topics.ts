/**
 * The part of the schema behind shared variables and broadcasts: items in sequence, of which the last
 * few are kept.
 *
 * @module
 */

/** Functions of topics. */
export const topics = `
CREATE OR REPLACE FUNCTION ipc.lock_topic(p_topic int) RETURNS void LANGUAGE sql AS
$$ SELECT pg_advisory_xact_lock(1769235304, p_topic) $$;

-- Finds a topic or makes it: with a first item, which has the number 1, or with none.
CREATE OR REPLACE FUNCTION ipc.open_topic(
  p_name text, p_kind text, p_codec text, p_keep int, p_data bytea, OUT id int, OUT codec text, OUT made bool)
LANGUAGE plpgsql AS $$ BEGIN
  made := false;
  LOOP
    SELECT t.id, t.codec INTO id, codec FROM ipc.topic t WHERE t.kind = p_kind AND t.name = p_name;
    EXIT WHEN FOUND;
    INSERT INTO ipc.topic AS t(name, kind, codec, keep) VALUES (p_name, p_kind, p_codec, p_keep)
      ON CONFLICT (kind, name) DO NOTHING RETURNING t.id, t.codec INTO id, codec;
    IF FOUND THEN
      made := true;
      INSERT INTO ipc.post VALUES (id, CASE WHEN p_data IS NULL THEN 0 ELSE 1 END, p_data);
      PERFORM ipc.flush();
      EXIT;
    END IF;
  END LOOP; END $$;

-- Adds an item, unless another one than expected is the last, and returns its number: or 0 if it is, or -43.
CREATE OR REPLACE FUNCTION ipc.post(p_topic int, p_data bytea, p_last bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_last bigint; v_keep int; BEGIN
  PERFORM ipc.lock_topic(p_topic);
  SELECT keep INTO v_keep FROM ipc.topic WHERE id = p_topic;
  IF NOT FOUND THEN RETURN -43; END IF;
  SELECT seq INTO v_last FROM ipc.post WHERE topic = p_topic ORDER BY seq DESC LIMIT 1;
  IF v_last <> p_last THEN RETURN 0; END IF;
  INSERT INTO ipc.post VALUES (p_topic, v_last + 1, p_data);
  DELETE FROM ipc.post WHERE topic = p_topic AND seq = v_last + 1 - v_keep;
  PERFORM ipc.tell(q.sid, '0 0 0 '||q.seqs) FROM (
    SELECT sid, string_agg(seq::text, ' ') AS seqs FROM ipc.reader WHERE topic = p_topic
      GROUP BY sid, seq / 200) q;
  DELETE FROM ipc.reader WHERE topic = p_topic;
  PERFORM ipc.flush();
  RETURN v_last + 1; END $$;

-- The number of the last item; -43 if the topic is gone.
CREATE OR REPLACE FUNCTION ipc.last_post(p_topic int) RETURNS bigint LANGUAGE sql AS $$
  SELECT coalesce((SELECT seq FROM ipc.post WHERE topic = p_topic ORDER BY seq DESC LIMIT 1), -43) $$;

-- Waits for an item after this one: 0 if it is there, or a ticket, or -43.
CREATE OR REPLACE FUNCTION ipc.await_post(p_sid int, p_topic int, p_after bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_last bigint; v_ticket bigint; BEGIN
  PERFORM ipc.check_session(p_sid), ipc.lock_topic(p_topic);
  v_last := ipc.last_post(p_topic);
  IF v_last < 0 THEN RETURN v_last; END IF;
  IF v_last > p_after THEN RETURN 0; END IF;
  INSERT INTO ipc.reader(topic, sid) VALUES (p_topic, p_sid) RETURNING seq INTO v_ticket;
  PERFORM ipc.listen(p_sid);
  RETURN v_ticket; END $$;

CREATE OR REPLACE FUNCTION ipc.cancel_read(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM ipc.reader WHERE seq = p_seq;
  RETURN FOUND; END $$;

CREATE OR REPLACE FUNCTION ipc.remove_topic(p_topic int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_topic(p_topic);
  DELETE FROM ipc.topic WHERE id = p_topic;
  IF NOT FOUND THEN RETURN -43; END IF;
  PERFORM ipc.tell(sid, '-43 0 0 '||seq) FROM ipc.reader WHERE topic = p_topic;
  DELETE FROM ipc.reader WHERE topic = p_topic;
  DELETE FROM ipc.post WHERE topic = p_topic;
  PERFORM ipc.flush();
  RETURN 0; END $$;
`;
