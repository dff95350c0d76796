/**
 * The part of the schema that is called by sessions of former versions. They go on when a newer client has
 * migrated the schema under them, until they connect again.
 *
 * @module
 */

/** What sessions of version 1 call, whose queues had no limit, and no length that is too long. */
export const former = `
CREATE OR REPLACE FUNCTION ipc.open_queue(p_name text, OUT id int) LANGUAGE sql AS $$
  SELECT q.id FROM ipc.open_queue(p_name, NULL) q $$;

CREATE OR REPLACE FUNCTION ipc.send(p_sid int, p_queue int, p_type bigint, p_data bytea) RETURNS int LANGUAGE sql AS $$
  SELECT ipc.send(p_sid, p_queue, p_type, p_data, false)::int $$;

CREATE OR REPLACE FUNCTION ipc.receive(
  p_sid int, p_queue int, p_low bigint, p_high bigint, p_but bigint, p_sorted bool, p_hold bool, p_wait bool,
  OUT code bigint, OUT seq bigint, OUT type bigint, OUT attempts int, OUT data bytea) LANGUAGE sql AS $$
  SELECT * FROM ipc.receive(p_sid, p_queue, p_low, p_high, p_but, p_sorted, NULL, p_hold, p_wait) $$;

CREATE OR REPLACE FUNCTION ipc.queue_state(p_queue int, OUT messages int, OUT held int, OUT bytes bigint)
LANGUAGE sql AS $$ SELECT d.messages::int, d.held::int, d.bytes FROM ipc.describe_queue(p_queue) d $$;
`;
