/**
 * All that stands in the database, as SQL.
 *
 * @module
 */

import { deaths } from "./deaths.ts";
import { former } from "./former.ts";
import { queues } from "./queues.ts";
import { semaphores } from "./semaphores.ts";
import { sessions } from "./sessions.ts";
import { steps } from "./tables.ts";
import { topics } from "./topics.ts";

/** The version that this module speaks. */
export const version: number = steps.length;

/** All functions. They keep nothing, so each version has its own, in place of those before. */
const functions = [sessions, semaphores, queues, topics, deaths, former].join("\n");

/** Gives what a migration creates to the owner of the schema. */
const asOwner = `
SELECT set_config('role', r.rolname, true) FROM pg_namespace n, pg_roles r
  WHERE n.nspname = 'ipc' AND r.oid = n.nspowner;
`;

/** Lets those use what is new who were let use what was there. */
const grantAgain = `
DO $$ DECLARE r record; BEGIN
  FOR r IN SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
      FROM pg_class c, aclexplode(c.relacl) a
      WHERE c.oid = 'ipc.version'::regclass AND a.grantee <> c.relowner LOOP
    EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ipc TO '||r.name;
    EXECUTE 'GRANT USAGE ON ALL SEQUENCES IN SCHEMA ipc TO '||r.name;
    EXECUTE 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ipc TO '||r.name;
  END LOOP; END $$;
`;

/** The SQL that brings a schema of some version up to date; to be run in one transaction. */
export function migrationFrom(found: number): string {
  const changes = [
    ...steps.slice(found),
    functions,
    `UPDATE ipc.version SET number = ${version};`,
  ];
  return (found === 0 ? changes : [asOwner, ...changes, grantAgain]).join("\n");
}

/** The SQL that lets a role use the schema, which its owner has to run. */
export function grantsTo(role: string): string {
  const name = `"${role.replaceAll('"', '""')}"`;
  return [
    `GRANT USAGE ON SCHEMA ipc TO ${name};`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ipc TO ${name};`,
    `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ipc TO ${name};`,
    `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ipc TO ${name};`,
  ].join("\n");
}
