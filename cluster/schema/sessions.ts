/**
 * The part of the schema that knows who lives.
 *
 * @module
 */

/** Functions of sessions. */
export const sessions = `
CREATE OR REPLACE FUNCTION ipc.attach(p_label text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_sid int := nextval('ipc.sid'); BEGIN
  PERFORM pg_advisory_lock(1769235300, v_sid);
  PERFORM set_config('ipc.sid', v_sid::text, false);
  INSERT INTO ipc.session(sid, label) VALUES (v_sid, p_label);
  RETURN v_sid; END $$;

-- The session that calls; NULL for one that has not attached.
CREATE OR REPLACE FUNCTION ipc.me() RETURNS int LANGUAGE sql AS
$$ SELECT nullif(current_setting('ipc.sid', true), '')::int $$;

-- Never asked of the session that calls, which can always take its own lock again.
CREATE OR REPLACE FUNCTION ipc.dead(p_sid int) RETURNS bool LANGUAGE sql AS
$$ SELECT pg_try_advisory_xact_lock_shared(1769235300, p_sid) $$;

-- Every call says for which session it is: behind a pooler it could arrive in another one.
CREATE OR REPLACE FUNCTION ipc.check_session(p_sid int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF ipc.me() IS NOT DISTINCT FROM p_sid THEN RETURN; END IF;
  RAISE EXCEPTION 'ipc: this is not session %', p_sid USING ERRCODE = 'IPC01',
    HINT = 'A connection pooler gives each transaction another session: connect without it'; END $$;

-- Has the commit of this transaction wait for the disk.
CREATE OR REPLACE FUNCTION ipc.flush() RETURNS void LANGUAGE sql AS
$$ SELECT set_config('synchronous_commit', 'on', true) $$;

-- Has the session listen from the end of this transaction on, so that no notification is missed.
CREATE OR REPLACE FUNCTION ipc.listen(p_sid int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'LISTEN ipc_'||p_sid; END $$;

CREATE OR REPLACE FUNCTION ipc.tell(p_sid int, p_text text) RETURNS void LANGUAGE sql AS
$$ SELECT pg_notify('ipc_'||p_sid, p_text) $$;
`;
