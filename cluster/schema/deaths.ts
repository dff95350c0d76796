/**
 * The part of the schema that undoes what the dead have left.
 *
 * @module
 */

/** Functions that find dead sessions. */
export const deaths = `
CREATE OR REPLACE FUNCTION ipc.has_dead(p_id int) RETURNS bool LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM ipc.undo
    WHERE id = p_id AND sid IS DISTINCT FROM ipc.me() AND NOT 0 = ALL(adj) AND ipc.dead(sid)) $$;

-- What the kernel's exit_sem() does for one session, on a locked set.
CREATE OR REPLACE FUNCTION ipc.undo_one(INOUT s ipc.val, p_sid int, p_adj int[]) LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM ipc.undo WHERE id = s.id AND sid = p_sid;
  DELETE FROM ipc.wait WHERE id = s.id AND sid = p_sid;
  s := ipc.owe(s, p_adj, array_fill(0, ARRAY[cardinality(s.vals)]));
  FOR i IN 1..cardinality(s.vals) LOOP
    s.vals[i] := least(32767, greatest(0, s.vals[i] + p_adj[i]));
  END LOOP;
  s.ver := s.ver + 1;
  s := ipc.serve(s); END $$;

-- Undoes what all dead sessions hold of a set.
CREATE OR REPLACE FUNCTION ipc.bury_in(p_id int) RETURNS ipc.val LANGUAGE plpgsql AS $$
DECLARE s ipc.val; was ipc.val; u record; BEGIN
  PERFORM ipc.lock(p_id);
  s := ipc.newest(p_id);
  IF s.id IS NULL THEN RETURN NULL; END IF;
  was := s;
  FOR u IN SELECT sid, adj FROM ipc.undo
      WHERE id = p_id AND sid IS DISTINCT FROM ipc.me() AND NOT 0 = ALL(adj) AND ipc.dead(sid) ORDER BY sid LOOP
    s := ipc.undo_one(s, u.sid, u.adj);
  END LOOP;
  IF s.ver <> was.ver THEN PERFORM ipc.save(was.ver, s); END IF;
  RETURN s; END $$;

CREATE OR REPLACE FUNCTION ipc.has_dead_sender(p_queue int) RETURNS bool LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM (SELECT DISTINCT sid FROM ipc.sender
    WHERE queue = p_queue AND sid IS DISTINCT FROM ipc.me()) s WHERE ipc.dead(s.sid)) $$;

-- Takes what the dead would have sent out of the line, so that others have the room.
CREATE OR REPLACE FUNCTION ipc.forget_senders(p_queue int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_queue(p_queue);
  DELETE FROM ipc.sender WHERE queue = p_queue AND sid IS DISTINCT FROM ipc.me() AND ipc.dead(sid);
  PERFORM ipc.admit(p_queue); END $$;

-- One of all sessions that wait looks for the dead: the one that has the watch, a session lock. Asks for
-- it; not together with the first look, which may fail, as the lock would stay. Returns how many wait.
CREATE OR REPLACE FUNCTION ipc.claim_watch(p_sid int, OUT waiting int, OUT mine bool) LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.check_session(p_sid);
  SELECT count(DISTINCT sid) INTO waiting FROM (SELECT sid FROM ipc.wait
    UNION ALL SELECT sid FROM ipc.receiver UNION ALL SELECT sid FROM ipc.sender) w;
  mine := pg_try_advisory_lock(1769235302, 1); END $$;

-- Looks for the dead among those who hold what is waited for, and those who wait for room before others.
CREATE OR REPLACE FUNCTION ipc.watch(p_sid int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE q record; BEGIN
  PERFORM ipc.check_session(p_sid);
  FOR q IN SELECT DISTINCT u.id FROM ipc.undo u
      WHERE u.id IN (SELECT DISTINCT w.id FROM ipc.wait w) AND u.sid <> p_sid
        AND NOT 0 = ALL(u.adj) AND ipc.dead(u.sid) ORDER BY u.id LOOP
    PERFORM ipc.bury_in(q.id);
  END LOOP;
  FOR q IN SELECT DISTINCT w.queue FROM (SELECT queue FROM ipc.receiver UNION ALL SELECT queue FROM ipc.sender) w
      ORDER BY w.queue LOOP
    IF ipc.has_dead_holder(q.queue) THEN PERFORM ipc.return_messages(q.queue); END IF;
    IF ipc.has_dead_sender(q.queue) THEN PERFORM ipc.forget_senders(q.queue); END IF;
  END LOOP; END $$;

-- Gives the watch up, and has another session that waits take it.
CREATE OR REPLACE FUNCTION ipc.unwatch(p_sid int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_unlock(1769235302, 1);
  PERFORM ipc.tell(sid, 'watch') FROM (
    SELECT sid FROM (SELECT sid, seq FROM ipc.wait
      UNION ALL SELECT sid, seq FROM ipc.receiver UNION ALL SELECT sid, seq FROM ipc.sender) w
      WHERE sid <> p_sid ORDER BY seq LIMIT 1) q; END $$;

-- Forgets the dead, and removes the sets that were idle for too long. Sets are locked before queues, as
-- everywhere.
CREATE OR REPLACE FUNCTION ipc.sweep() RETURNS int LANGUAGE plpgsql AS $$
DECLARE q record; v_dead int[]; BEGIN
  IF NOT pg_try_advisory_xact_lock(1769235302, 2) THEN RETURN 0; END IF;
  SELECT coalesce(array_agg(sid), '{}') INTO v_dead FROM ipc.session
    WHERE sid IS DISTINCT FROM ipc.me() AND ipc.dead(sid);
  FOR q IN SELECT DISTINCT id FROM (SELECT id FROM ipc.undo WHERE sid = ANY(v_dead)
      UNION ALL SELECT id FROM ipc.wait WHERE sid = ANY(v_dead)) x ORDER BY id LOOP
    PERFORM ipc.lock(q.id);
    DELETE FROM ipc.wait WHERE id = q.id AND sid = ANY(v_dead);
    PERFORM ipc.bury_in(q.id);
    DELETE FROM ipc.undo WHERE id = q.id AND sid = ANY(v_dead);
  END LOOP;
  FOR q IN SELECT id FROM ipc.sem WHERE idle IS NOT NULL AND opened < now() - idle ORDER BY id LOOP
    PERFORM ipc.remove_idle(q.id);
  END LOOP;
  FOR q IN SELECT DISTINCT queue FROM (SELECT queue FROM ipc.message WHERE holder = ANY(v_dead)
      UNION ALL SELECT queue FROM ipc.sender WHERE sid = ANY(v_dead)) x ORDER BY queue LOOP
    PERFORM ipc.return_messages(q.queue), ipc.forget_senders(q.queue);
  END LOOP;
  DELETE FROM ipc.receiver WHERE sid = ANY(v_dead);
  DELETE FROM ipc.reader WHERE sid = ANY(v_dead);
  DELETE FROM ipc.session WHERE sid = ANY(v_dead);
  RETURN cardinality(v_dead); END $$;

-- Removes a set that nobody holds or waits for, and nobody has used for as long as it may be idle.
CREATE OR REPLACE FUNCTION ipc.remove_idle(p_id int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  -- The dead first: what they hold is not used.
  PERFORM ipc.bury_in(p_id);
  IF NOT EXISTS (SELECT FROM ipc.undo WHERE id = p_id AND NOT 0 = ALL(adj))
    AND NOT EXISTS (SELECT FROM ipc.wait WHERE id = p_id)
    AND (ipc.newest(p_id)).at < now() - (SELECT idle FROM ipc.sem WHERE id = p_id)
  THEN PERFORM ipc.remove(p_id); END IF; END $$;

-- Ends the part of a session in everything, at once, as exit(2) would.
CREATE OR REPLACE FUNCTION ipc.detach(p_sid int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE q record; s ipc.val; v_was bigint; u record; BEGIN
  PERFORM ipc.check_session(p_sid);
  FOR q IN SELECT DISTINCT id FROM (SELECT id FROM ipc.undo WHERE sid = p_sid
      UNION ALL SELECT id FROM ipc.wait WHERE sid = p_sid) x ORDER BY id LOOP
    PERFORM ipc.lock(q.id);
    DELETE FROM ipc.wait WHERE id = q.id AND sid = p_sid;
    s := ipc.newest(q.id);
    CONTINUE WHEN s.id IS NULL;
    v_was := s.ver;
    FOR u IN SELECT adj FROM ipc.undo WHERE id = q.id AND sid = p_sid LOOP
      s := ipc.undo_one(s, p_sid, u.adj);
    END LOOP;
    IF s.ver <> v_was THEN PERFORM ipc.save(v_was, s); END IF;
  END LOOP;
  DELETE FROM ipc.receiver WHERE sid = p_sid;
  DELETE FROM ipc.reader WHERE sid = p_sid;
  FOR q IN SELECT DISTINCT queue FROM (SELECT queue FROM ipc.message WHERE holder = p_sid
      UNION ALL SELECT queue FROM ipc.sender WHERE sid = p_sid) x ORDER BY queue LOOP
    PERFORM ipc.lock_queue(q.queue);
    DELETE FROM ipc.sender WHERE queue = q.queue AND sid = p_sid;
    PERFORM ipc.offer(m.queue, m.seq) FROM (
      SELECT queue, seq FROM ipc.message WHERE queue = q.queue AND holder = p_sid ORDER BY seq) m;
    PERFORM ipc.admit(q.queue);
  END LOOP;
  DELETE FROM ipc.session WHERE sid = p_sid;
  PERFORM set_config('ipc.sid', '', false), pg_advisory_unlock(1769235300, p_sid); END $$;
`;
