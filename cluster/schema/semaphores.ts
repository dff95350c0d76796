/**
 * The part of the schema that does what semop(2) does.
 *
 * Functions return the numbers of the kernel: 0 done, -11 would wait (EAGAIN), -34 out of
 * range (ERANGE), -43 removed (EIDRM).
 *
 * @module
 */

/** Functions of semaphore sets. */
export const semaphores = `
-- One transaction at a time operates on a set. Not by a row lock, which would be one more write.
CREATE OR REPLACE FUNCTION ipc.lock(p_id int) RETURNS void LANGUAGE sql AS
$$ SELECT pg_advisory_xact_lock(1769235301, p_id) $$;

CREATE OR REPLACE FUNCTION ipc.open(
  p_name text, p_kind text, p_vals int[], p_idle interval, OUT id int, OUT size int, OUT kind text, OUT made bool)
LANGUAGE plpgsql AS $$
DECLARE v_zeros int[] := array_fill(0, ARRAY[cardinality(p_vals)]); BEGIN
  made := false;
  LOOP
    UPDATE ipc.sem s SET opened = now() WHERE s.name = p_name
      AND (s.idle IS NOT NULL AND s.opened < now() - s.idle / 4);
    SELECT s.id, cardinality(s.zeros), s.kind INTO id, size, kind FROM ipc.sem s WHERE s.name = p_name;
    EXIT WHEN FOUND;
    INSERT INTO ipc.sem AS s(name, kind, zeros, idle) VALUES (p_name, p_kind, v_zeros, p_idle)
      ON CONFLICT (name) DO NOTHING RETURNING s.id, cardinality(s.zeros), s.kind INTO id, size, kind;
    IF FOUND THEN
      made := true;
      INSERT INTO ipc.val SELECT id, f.ver + 1, p_vals, v_zeros, v_zeros FROM ipc.floor f;
      PERFORM ipc.flush();
      EXIT;
    END IF;
  END LOOP; END $$;

-- The newest version of a set, or nothing if it was removed.
CREATE OR REPLACE FUNCTION ipc.newest(p_id int) RETURNS ipc.val LANGUAGE plpgsql AS $$
DECLARE s ipc.val; BEGIN
  SELECT * INTO s FROM ipc.val WHERE id = p_id ORDER BY ver DESC LIMIT 1;
  RETURN s; END $$;

CREATE OR REPLACE FUNCTION ipc.save(p_was bigint, s ipc.val) RETURNS void LANGUAGE sql AS $$
  UPDATE ipc.val SET ver = s.ver, vals = s.vals, raised = s.raised, lowered = s.lowered, at = now()
    WHERE id = s.id AND ver = p_was $$;

-- What the kernel's perform_atomic_semop() does, on values and on what a session has to undo.
CREATE OR REPLACE FUNCTION ipc.apply(INOUT vals int[], INOUT adj int[], ops int[], OUT code int)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE i int := 1; n int; d int; r int; u int; BEGIN
  code := 0;
  WHILE i <= cardinality(ops) LOOP
    n := ops[i] + 1; d := ops[i+1];
    IF d = 0 THEN
      IF vals[n] <> 0 THEN code := -11; RETURN; END IF;
    ELSE
      r := vals[n] + d;
      IF r < 0 THEN code := -11; RETURN; END IF;
      IF r > 32767 THEN code := -34; RETURN; END IF;
      IF ops[i+2] = 1 THEN
        u := adj[n] - d;
        IF u NOT BETWEEN -32768 AND 32767 THEN code := -34; RETURN; END IF;
        adj[n] := u;
      END IF;
      vals[n] := r;
    END IF;
    i := i + 3;
  END LOOP; END $$;

-- What kind of operations they are: whether they alter anything, undo anything, and outlive a session,
-- as something is altered and not undone. Whether the dead may have made them possible.
CREATE OR REPLACE FUNCTION ipc.look(
  ops int[], raised int[], lowered int[], OUT alters bool, OUT undoes bool, OUT lasts bool, OUT doubtful bool)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE i int := 1; n int; BEGIN
  alters := false; undoes := false; lasts := false; doubtful := false;
  WHILE i <= cardinality(ops) LOOP
    n := ops[i] + 1;
    IF ops[i+1] <> 0 THEN
      alters := true;
      IF ops[i+2] = 1 THEN undoes := true; ELSE lasts := true; END IF;
    END IF;
    doubtful := doubtful OR (ops[i+1] < 0 AND raised[n] > 0) OR (ops[i+1] = 0 AND lowered[n] > 0);
    i := i + 3;
  END LOOP; END $$;

CREATE OR REPLACE FUNCTION ipc.adj_of(p_id int, p_sid int, p_size int) RETURNS int[] LANGUAGE sql AS $$
  SELECT coalesce(
    (SELECT adj FROM ipc.undo WHERE id = p_id AND sid = p_sid ORDER BY ver DESC LIMIT 1),
    array_fill(0, ARRAY[p_size])) $$;

-- Brings what the values owe to holders up to date.
CREATE OR REPLACE FUNCTION ipc.owe(INOUT s ipc.val, was int[], adj int[]) LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
  FOR i IN 1..cardinality(was) LOOP
    IF was[i] <> adj[i] THEN
      s.raised[i] := s.raised[i] + greatest(0, -adj[i]) - greatest(0, -was[i]);
      s.lowered[i] := s.lowered[i] + greatest(0, adj[i]) - greatest(0, was[i]);
    END IF;
  END LOOP; END $$;

CREATE OR REPLACE FUNCTION ipc.set_adj(INOUT s ipc.val, p_sid int, was int[], p_adj int[]) LANGUAGE plpgsql AS $$ BEGIN
  UPDATE ipc.undo SET ver = ver + 1, adj = p_adj WHERE id = s.id AND sid = p_sid
    AND ver = (SELECT t.ver FROM ipc.undo t WHERE t.id = s.id AND t.sid = p_sid ORDER BY t.ver DESC LIMIT 1);
  IF NOT FOUND THEN INSERT INTO ipc.undo VALUES (s.id, p_sid, 0, p_adj); END IF;
  s := ipc.owe(s, was, p_adj); END $$;

-- What a session is told of an operation: the code, the version and the values after it.
CREATE OR REPLACE FUNCTION ipc.told(p_code int, s ipc.val) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT p_code||' '||s.ver||' '||array_to_string(s.vals, ',') $$;

-- What the kernel's update_queue() does, on a locked set: completes waiting operations on behalf of
-- those who wait. First all that change nothing and can be done; then the others in their order, from
-- the first again after each that could. Of equal ones only the first is tried.
CREATE OR REPLACE FUNCTION ipc.serve(INOUT s ipc.val) LANGUAGE plpgsql AS $$
DECLARE v_me int := ipc.me(); r record; BEGIN
  IF NOT EXISTS (SELECT FROM ipc.wait WHERE id = s.id) THEN RETURN; END IF;
  LOOP
    PERFORM ipc.serve_readers(s);
    r := ipc.serve_one(s, v_me);
    EXIT WHEN NOT r.served;
    s := r.s;
  END LOOP; END $$;

CREATE OR REPLACE FUNCTION ipc.serve_readers(s ipc.val) RETURNS void LANGUAGE plpgsql AS $$
DECLARE w record; t record; BEGIN
  FOR w IN WITH RECURSIVE h AS (
      (SELECT ops FROM ipc.wait WHERE id = s.id AND NOT alters ORDER BY ops LIMIT 1)
      UNION ALL SELECT (SELECT x.ops FROM ipc.wait x
        WHERE id = s.id AND NOT alters AND x.ops > h.ops ORDER BY x.ops LIMIT 1)
      FROM h WHERE h.ops IS NOT NULL) SELECT ops FROM h WHERE ops IS NOT NULL LOOP
    SELECT * INTO t FROM ipc.apply(s.vals, NULL, w.ops);
    CONTINUE WHEN t.code = -11;
    WITH d AS (DELETE FROM ipc.wait WHERE id = s.id AND NOT alters AND ops = w.ops RETURNING seq, sid),
      n AS (SELECT seq, sid, row_number() OVER (PARTITION BY sid ORDER BY seq) / 200 AS part FROM d)
    SELECT count(ipc.tell(sid, q.told)) INTO t FROM (
      SELECT sid, ipc.told(0, s)||' '||string_agg(seq::text, ' ' ORDER BY seq) AS told FROM n GROUP BY sid, part) q;
  END LOOP; END $$;

-- Completes the first operation that can be, if there is one.
CREATE OR REPLACE FUNCTION ipc.serve_one(INOUT s ipc.val, p_me int, OUT served bool) LANGUAGE plpgsql AS $$
DECLARE w record; t record; v_adj int[]; BEGIN
  served := true;
  FOR w IN WITH RECURSIVE h AS (
      (SELECT ops, seq, sid FROM ipc.wait WHERE id = s.id AND alters ORDER BY ops, seq LIMIT 1)
      UNION ALL SELECT n.* FROM h, LATERAL (SELECT x.ops, x.seq, x.sid FROM ipc.wait x
        WHERE id = s.id AND alters AND x.ops > h.ops ORDER BY x.ops, x.seq LIMIT 1) n
    ) SELECT * FROM h ORDER BY seq LOOP
    v_adj := ipc.adj_of(s.id, w.sid, cardinality(s.vals));
    SELECT * INTO t FROM ipc.apply(s.vals, v_adj, w.ops);
    CONTINUE WHEN t.code = -11;
    IF w.sid IS DISTINCT FROM p_me AND ipc.dead(w.sid) THEN
      DELETE FROM ipc.wait WHERE id = s.id AND sid = w.sid;
      RETURN;
    END IF;
    DELETE FROM ipc.wait WHERE seq = w.seq;
    IF t.code = 0 THEN
      s.vals := t.vals;
      s.ver := s.ver + 1;
      IF v_adj <> t.adj THEN s := ipc.set_adj(s, w.sid, v_adj, t.adj); END IF;
      IF (ipc.look(w.ops, s.raised, s.lowered)).lasts THEN PERFORM ipc.flush(); END IF;
    END IF;
    PERFORM ipc.tell(w.sid, ipc.told(t.code, s)||' '||w.seq);
    RETURN;
  END LOOP;
  served := false; END $$;

-- Performs operations, or waits: "code version values", or a ticket alone.
CREATE OR REPLACE FUNCTION ipc.semop(p_sid int, p_id int, p_ops int[], p_wait bool) RETURNS text LANGUAGE plpgsql AS $$
DECLARE c record; s ipc.val; t record; k record; v_adj int[]; v_ticket bigint; BEGIN
  IF current_setting('ipc.sid', true) IS DISTINCT FROM p_sid::text THEN PERFORM ipc.check_session(p_sid); END IF;
  PERFORM ipc.lock(p_id);
  SELECT x.*, y.adj, y.ver AS adj_ver, EXISTS (SELECT FROM ipc.wait w WHERE w.id = p_id) AS awaited INTO c
    FROM (SELECT * FROM ipc.val WHERE id = p_id ORDER BY ver DESC LIMIT 1) x
    LEFT JOIN LATERAL (SELECT * FROM ipc.undo WHERE id = p_id AND sid = p_sid ORDER BY ver DESC LIMIT 1) y ON true;
  IF NOT FOUND THEN RETURN '-43'; END IF;
  v_adj := coalesce(c.adj, array_fill(0, ARRAY[cardinality(c.vals)]));
  SELECT * INTO t FROM ipc.apply(c.vals, v_adj, p_ops);
  SELECT * INTO k FROM ipc.look(p_ops, c.raised, c.lowered);
  -- The dead are in the way, or it is only thanks to them that it could be done.
  IF (t.code <> 0 OR k.doubtful) AND ipc.has_dead(p_id) THEN
    PERFORM ipc.bury_in(p_id);
    RETURN ipc.semop(p_sid, p_id, p_ops, p_wait);
  END IF;
  IF t.code = -11 AND p_wait THEN
    INSERT INTO ipc.wait(id, sid, alters, ops) VALUES (p_id, p_sid, k.alters, p_ops) RETURNING seq INTO v_ticket;
    PERFORM ipc.listen(p_sid);
    RETURN v_ticket;
  END IF;
  IF t.code <> 0 THEN RETURN t.code; END IF;
  s := (p_id, c.ver, t.vals, c.raised, c.lowered, c.at);
  IF NOT k.alters THEN RETURN ipc.told(0, s); END IF;
  s.ver := c.ver + 1;
  IF k.undoes AND t.adj <> v_adj THEN
    IF c.adj IS NULL THEN INSERT INTO ipc.undo VALUES (p_id, p_sid, 0, t.adj);
    ELSE UPDATE ipc.undo SET ver = c.adj_ver + 1, adj = t.adj WHERE id = p_id AND sid = p_sid AND ver = c.adj_ver;
    END IF;
    s := ipc.owe(s, v_adj, t.adj);
  END IF;
  IF k.lasts THEN PERFORM ipc.flush(); END IF;
  IF c.awaited AND t.vals <> c.vals THEN
    PERFORM ipc.save(c.ver, ipc.serve(s));
  ELSE
    UPDATE ipc.val SET ver = s.ver, vals = s.vals, raised = s.raised, lowered = s.lowered, at = now()
      WHERE id = p_id AND ver = c.ver;
  END IF;
  RETURN ipc.told(0, s); END $$;

-- Several of them in one round trip, each as its own. Flat: the set, 1 if it waits, n, and n triples, of each.
-- All sets are locked first, in order, so that no two batches wait for each other.
CREATE OR REPLACE FUNCTION ipc.semops(p_sid int, p_all int[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE r text[] := '{}'; i int := 1; n int; v_ids int[] := '{}'; BEGIN
  WHILE i <= cardinality(p_all) LOOP v_ids := v_ids || p_all[i]; i := i + 3 + 3 * p_all[i+2]; END LOOP;
  PERFORM ipc.lock(q.id) FROM (SELECT DISTINCT unnest(v_ids) AS id ORDER BY 1) q;
  i := 1;
  WHILE i <= cardinality(p_all) LOOP
    n := p_all[i+2];
    r := r || ipc.semop(p_sid, p_all[i], p_all[i+3:i+2+3*n], p_all[i+1] = 1);
    i := i + 3 + 3 * n;
  END LOOP;
  RETURN r; END $$;

-- Ends a wait, and returns whether it was still there. If not, it is over, and its notification comes.
CREATE OR REPLACE FUNCTION ipc.cancel(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_id int; BEGIN
  SELECT id INTO v_id FROM ipc.wait WHERE seq = p_seq;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock(v_id);
  DELETE FROM ipc.wait WHERE seq = p_seq;
  RETURN FOUND; END $$;

CREATE OR REPLACE FUNCTION ipc.read(p_id int) RETURNS int[] LANGUAGE plpgsql AS $$ BEGIN
  IF ipc.has_dead(p_id) THEN RETURN (ipc.bury_in(p_id)).vals; END IF;
  RETURN (ipc.newest(p_id)).vals; END $$;

CREATE OR REPLACE FUNCTION ipc.remove(p_id int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE s ipc.val; BEGIN
  PERFORM ipc.lock(p_id);
  s := ipc.newest(p_id);
  IF s.id IS NULL THEN RETURN -43; END IF;
  UPDATE ipc.floor SET ver = s.ver WHERE ver < s.ver;
  PERFORM ipc.tell(sid, '-43 0 0 '||seq) FROM ipc.wait WHERE id = p_id;
  DELETE FROM ipc.wait WHERE id = p_id;
  DELETE FROM ipc.undo WHERE id = p_id;
  DELETE FROM ipc.val WHERE id = p_id;
  DELETE FROM ipc.sem WHERE id = p_id;
  PERFORM ipc.flush();
  RETURN 0; END $$;

-- Which of these sets are gone.
CREATE OR REPLACE FUNCTION ipc.gone(p_ids int[]) RETURNS int[] LANGUAGE sql AS $$
  SELECT coalesce(array_agg(i), '{}') FROM unnest(p_ids) i WHERE NOT EXISTS (SELECT FROM ipc.sem WHERE id = i) $$;
`;
