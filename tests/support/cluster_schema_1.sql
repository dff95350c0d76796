CREATE SCHEMA ipc;
CREATE TABLE ipc.version(number int NOT NULL); INSERT INTO ipc.version VALUES (0);

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

CREATE FUNCTION ipc.attach(p_label text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_sid int := nextval('ipc.sid'); BEGIN
  PERFORM pg_advisory_lock(1769235300, v_sid);
  PERFORM set_config('ipc.sid', v_sid::text, false);
  INSERT INTO ipc.session(sid, label) VALUES (v_sid, p_label);
  RETURN v_sid; END $$;

-- The session that calls; NULL for one that has not attached.
CREATE FUNCTION ipc.me() RETURNS int LANGUAGE sql AS
$$ SELECT nullif(current_setting('ipc.sid', true), '')::int $$;

-- Never asked of the session that calls, which can always take its own lock again.
CREATE FUNCTION ipc.dead(p_sid int) RETURNS bool LANGUAGE sql AS
$$ SELECT pg_try_advisory_xact_lock_shared(1769235300, p_sid) $$;

-- Every call says for which session it is: behind a pooler it could arrive in another one.
CREATE FUNCTION ipc.check_session(p_sid int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF ipc.me() IS NOT DISTINCT FROM p_sid THEN RETURN; END IF;
  RAISE EXCEPTION 'ipc: this is not session %', p_sid USING ERRCODE = 'IPC01',
    HINT = 'A connection pooler gives each transaction another session: connect without it'; END $$;

-- Has the commit of this transaction wait for the disk.
CREATE FUNCTION ipc.flush() RETURNS void LANGUAGE sql AS
$$ SELECT set_config('synchronous_commit', 'on', true) $$;

-- Has the session listen from the end of this transaction on, so that no notification is missed.
CREATE FUNCTION ipc.listen(p_sid int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'LISTEN ipc_'||p_sid; END $$;

CREATE FUNCTION ipc.tell(p_sid int, p_text text) RETURNS void LANGUAGE sql AS
$$ SELECT pg_notify('ipc_'||p_sid, p_text) $$;


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
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- What is added to each value when the session dies: semadj.
CREATE TABLE ipc.undo(
  id int NOT NULL,
  sid int NOT NULL,
  ver bigint NOT NULL,
  adj int[] NOT NULL,
  PRIMARY KEY (id, sid, ver)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- ops: triples of index, delta, and 1 if it is undone. No second index on the set: the planner would
-- take it, and walk over all dead versions.
CREATE TABLE ipc.wait(
  seq bigint PRIMARY KEY DEFAULT nextval('ipc.ticket'),
  id int NOT NULL,
  sid int NOT NULL,
  alters bool NOT NULL,
  ops int[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX ON ipc.wait(id, alters, ops, seq);

-- No set that is made begins below the version of one that was removed, so that terms never go back.
CREATE TABLE ipc.floor(ver bigint NOT NULL);
INSERT INTO ipc.floor VALUES (0);

-- One transaction at a time operates on a set. Not by a row lock, which would be one more write.
CREATE FUNCTION ipc.lock(p_id int) RETURNS void LANGUAGE sql AS
$$ SELECT pg_advisory_xact_lock(1769235301, p_id) $$;

CREATE FUNCTION ipc.open(
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
CREATE FUNCTION ipc.newest(p_id int) RETURNS ipc.val LANGUAGE plpgsql AS $$
DECLARE s ipc.val; BEGIN
  SELECT * INTO s FROM ipc.val WHERE id = p_id ORDER BY ver DESC LIMIT 1;
  RETURN s; END $$;

CREATE FUNCTION ipc.save(p_was bigint, s ipc.val) RETURNS void LANGUAGE sql AS $$
  UPDATE ipc.val SET ver = s.ver, vals = s.vals, raised = s.raised, lowered = s.lowered, at = now()
    WHERE id = s.id AND ver = p_was $$;

-- What the kernel's perform_atomic_semop() does, on values and on what a session has to undo.
CREATE FUNCTION ipc.apply(INOUT vals int[], INOUT adj int[], ops int[], OUT code int)
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
CREATE FUNCTION ipc.look(
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

CREATE FUNCTION ipc.adj_of(p_id int, p_sid int, p_size int) RETURNS int[] LANGUAGE sql AS $$
  SELECT coalesce(
    (SELECT adj FROM ipc.undo WHERE id = p_id AND sid = p_sid ORDER BY ver DESC LIMIT 1),
    array_fill(0, ARRAY[p_size])) $$;

-- Brings what the values owe to holders up to date.
CREATE FUNCTION ipc.owe(INOUT s ipc.val, was int[], adj int[]) LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
  FOR i IN 1..cardinality(was) LOOP
    IF was[i] <> adj[i] THEN
      s.raised[i] := s.raised[i] + greatest(0, -adj[i]) - greatest(0, -was[i]);
      s.lowered[i] := s.lowered[i] + greatest(0, adj[i]) - greatest(0, was[i]);
    END IF;
  END LOOP; END $$;

CREATE FUNCTION ipc.set_adj(INOUT s ipc.val, p_sid int, was int[], p_adj int[]) LANGUAGE plpgsql AS $$ BEGIN
  UPDATE ipc.undo SET ver = ver + 1, adj = p_adj WHERE id = s.id AND sid = p_sid
    AND ver = (SELECT t.ver FROM ipc.undo t WHERE t.id = s.id AND t.sid = p_sid ORDER BY t.ver DESC LIMIT 1);
  IF NOT FOUND THEN INSERT INTO ipc.undo VALUES (s.id, p_sid, 0, p_adj); END IF;
  s := ipc.owe(s, was, p_adj); END $$;

-- What a session is told of an operation: the code, the version and the values after it.
CREATE FUNCTION ipc.told(p_code int, s ipc.val) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT p_code||' '||s.ver||' '||array_to_string(s.vals, ',') $$;

-- What the kernel's update_queue() does, on a locked set: completes waiting operations on behalf of
-- those who wait. First all that change nothing and can be done; then the others in their order, from
-- the first again after each that could. Of equal ones only the first is tried.
CREATE FUNCTION ipc.serve(INOUT s ipc.val) LANGUAGE plpgsql AS $$
DECLARE v_me int := ipc.me(); r record; BEGIN
  IF NOT EXISTS (SELECT FROM ipc.wait WHERE id = s.id) THEN RETURN; END IF;
  LOOP
    PERFORM ipc.serve_readers(s);
    r := ipc.serve_one(s, v_me);
    EXIT WHEN NOT r.served;
    s := r.s;
  END LOOP; END $$;

CREATE FUNCTION ipc.serve_readers(s ipc.val) RETURNS void LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ipc.serve_one(INOUT s ipc.val, p_me int, OUT served bool) LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ipc.semop(p_sid int, p_id int, p_ops int[], p_wait bool) RETURNS text LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ipc.semops(p_sid int, p_all int[]) RETURNS text[] LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ipc.cancel(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE v_id int; BEGIN
  SELECT id INTO v_id FROM ipc.wait WHERE seq = p_seq;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM ipc.lock(v_id);
  DELETE FROM ipc.wait WHERE seq = p_seq;
  RETURN FOUND; END $$;

CREATE FUNCTION ipc.read(p_id int) RETURNS int[] LANGUAGE plpgsql AS $$ BEGIN
  IF ipc.has_dead(p_id) THEN RETURN (ipc.bury_in(p_id)).vals; END IF;
  RETURN (ipc.newest(p_id)).vals; END $$;

CREATE FUNCTION ipc.remove(p_id int) RETURNS int LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ipc.gone(p_ids int[]) RETURNS int[] LANGUAGE sql AS $$
  SELECT coalesce(array_agg(i), '{}') FROM unnest(p_ids) i WHERE NOT EXISTS (SELECT FROM ipc.sem WHERE id = i) $$;


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
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Who waits for the next item.
CREATE TABLE ipc.reader(
  seq bigint PRIMARY KEY DEFAULT nextval('ipc.ticket'),
  topic int NOT NULL,
  sid int NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX ON ipc.reader(topic, sid);

CREATE FUNCTION ipc.lock_topic(p_topic int) RETURNS void LANGUAGE sql AS
$$ SELECT pg_advisory_xact_lock(1769235304, p_topic) $$;

-- Finds a topic or makes it: with a first item, which has the number 1, or with none.
CREATE FUNCTION ipc.open_topic(
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
CREATE FUNCTION ipc.post(p_topic int, p_data bytea, p_last bigint) RETURNS bigint LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ipc.last_post(p_topic int) RETURNS bigint LANGUAGE sql AS $$
  SELECT coalesce((SELECT seq FROM ipc.post WHERE topic = p_topic ORDER BY seq DESC LIMIT 1), -43) $$;

-- Waits for an item after this one: 0 if it is there, or a ticket, or -43.
CREATE FUNCTION ipc.await_post(p_sid int, p_topic int, p_after bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE v_last bigint; v_ticket bigint; BEGIN
  PERFORM ipc.check_session(p_sid), ipc.lock_topic(p_topic);
  v_last := ipc.last_post(p_topic);
  IF v_last < 0 THEN RETURN v_last; END IF;
  IF v_last > p_after THEN RETURN 0; END IF;
  INSERT INTO ipc.reader(topic, sid) VALUES (p_topic, p_sid) RETURNING seq INTO v_ticket;
  PERFORM ipc.listen(p_sid);
  RETURN v_ticket; END $$;

CREATE FUNCTION ipc.cancel_read(p_seq bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM ipc.reader WHERE seq = p_seq;
  RETURN FOUND; END $$;

CREATE FUNCTION ipc.remove_topic(p_topic int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.lock_topic(p_topic);
  DELETE FROM ipc.topic WHERE id = p_topic;
  IF NOT FOUND THEN RETURN -43; END IF;
  PERFORM ipc.tell(sid, '-43 0 0 '||seq) FROM ipc.reader WHERE topic = p_topic;
  DELETE FROM ipc.reader WHERE topic = p_topic;
  DELETE FROM ipc.post WHERE topic = p_topic;
  PERFORM ipc.flush();
  RETURN 0; END $$;


CREATE FUNCTION ipc.has_dead(p_id int) RETURNS bool LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM ipc.undo
    WHERE id = p_id AND sid IS DISTINCT FROM ipc.me() AND NOT 0 = ALL(adj) AND ipc.dead(sid)) $$;

-- What the kernel's exit_sem() does for one session, on a locked set.
CREATE FUNCTION ipc.undo_one(INOUT s ipc.val, p_sid int, p_adj int[]) LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM ipc.undo WHERE id = s.id AND sid = p_sid;
  DELETE FROM ipc.wait WHERE id = s.id AND sid = p_sid;
  s := ipc.owe(s, p_adj, array_fill(0, ARRAY[cardinality(s.vals)]));
  FOR i IN 1..cardinality(s.vals) LOOP
    s.vals[i] := least(32767, greatest(0, s.vals[i] + p_adj[i]));
  END LOOP;
  s.ver := s.ver + 1;
  s := ipc.serve(s); END $$;

-- Undoes what all dead sessions hold of a set.
CREATE FUNCTION ipc.bury_in(p_id int) RETURNS ipc.val LANGUAGE plpgsql AS $$
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

-- One of all sessions that wait looks for the dead: the one that has the watch, a session lock. Asks for
-- it; not together with the first look, which may fail, as the lock would stay. Returns how many wait.
CREATE FUNCTION ipc.claim_watch(p_sid int, OUT waiting int, OUT mine bool) LANGUAGE plpgsql AS $$ BEGIN
  PERFORM ipc.check_session(p_sid);
  SELECT count(DISTINCT sid) INTO waiting FROM (SELECT sid FROM ipc.wait UNION ALL SELECT sid FROM ipc.receiver) w;
  mine := pg_try_advisory_lock(1769235302, 1); END $$;

-- Looks for the dead among those who hold what is waited for.
CREATE FUNCTION ipc.watch(p_sid int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE q record; BEGIN
  PERFORM ipc.check_session(p_sid);
  FOR q IN SELECT DISTINCT u.id FROM ipc.undo u
      WHERE u.id IN (SELECT DISTINCT w.id FROM ipc.wait w) AND u.sid <> p_sid
        AND NOT 0 = ALL(u.adj) AND ipc.dead(u.sid) ORDER BY u.id LOOP
    PERFORM ipc.bury_in(q.id);
  END LOOP;
  FOR q IN SELECT DISTINCT r.queue FROM ipc.receiver r ORDER BY r.queue LOOP
    IF ipc.has_dead_holder(q.queue) THEN PERFORM ipc.return_messages(q.queue); END IF;
  END LOOP; END $$;

-- Gives the watch up, and has another session that waits take it.
CREATE FUNCTION ipc.unwatch(p_sid int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_unlock(1769235302, 1);
  PERFORM ipc.tell(sid, 'watch') FROM (
    SELECT sid FROM (SELECT sid, seq FROM ipc.wait UNION ALL SELECT sid, seq FROM ipc.receiver) w
      WHERE sid <> p_sid ORDER BY seq LIMIT 1) q; END $$;

-- Forgets the dead, and removes the sets that were idle for too long. Sets are locked before queues, as
-- everywhere.
CREATE FUNCTION ipc.sweep() RETURNS int LANGUAGE plpgsql AS $$
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
  FOR q IN SELECT DISTINCT queue FROM ipc.message WHERE holder = ANY(v_dead) ORDER BY queue LOOP
    PERFORM ipc.return_messages(q.queue);
  END LOOP;
  DELETE FROM ipc.receiver WHERE sid = ANY(v_dead);
  DELETE FROM ipc.reader WHERE sid = ANY(v_dead);
  DELETE FROM ipc.session WHERE sid = ANY(v_dead);
  RETURN cardinality(v_dead); END $$;

-- Removes a set that nobody holds or waits for, and nobody has used for as long as it may be idle.
CREATE FUNCTION ipc.remove_idle(p_id int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  -- The dead first: what they hold is not used.
  PERFORM ipc.bury_in(p_id);
  IF NOT EXISTS (SELECT FROM ipc.undo WHERE id = p_id AND NOT 0 = ALL(adj))
    AND NOT EXISTS (SELECT FROM ipc.wait WHERE id = p_id)
    AND (ipc.newest(p_id)).at < now() - (SELECT idle FROM ipc.sem WHERE id = p_id)
  THEN PERFORM ipc.remove(p_id); END IF; END $$;

-- Ends the part of a session in everything, at once, as exit(2) would.
CREATE FUNCTION ipc.detach(p_sid int) RETURNS void LANGUAGE plpgsql AS $$
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
  FOR q IN SELECT DISTINCT queue FROM ipc.message WHERE holder = p_sid ORDER BY queue LOOP
    PERFORM ipc.lock_queue(q.queue);
    PERFORM ipc.offer(m.queue, m.seq) FROM (
      SELECT queue, seq FROM ipc.message WHERE queue = q.queue AND holder = p_sid ORDER BY seq) m;
  END LOOP;
  DELETE FROM ipc.session WHERE sid = p_sid;
  PERFORM set_config('ipc.sid', '', false), pg_advisory_unlock(1769235300, p_sid); END $$;

UPDATE ipc.version SET number = 1;
