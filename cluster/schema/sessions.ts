/**
 * The part of the schema that knows who lives.
 *
 * @module
 */

/** Tables and functions of sessions. */
export const sessions = `
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
`;
