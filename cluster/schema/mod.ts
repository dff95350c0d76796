/**
 * All that stands in the database, as SQL.
 *
 * @module
 */

import { deaths } from "./deaths.ts";
import { queues } from "./queues.ts";
import { semaphores } from "./semaphores.ts";
import { sessions } from "./sessions.ts";
import { topics } from "./topics.ts";

/** The steps from an empty database: a schema of version n has had the first n of them. */
export const migrations: readonly string[] = [
  [
    "CREATE SCHEMA ipc;",
    "CREATE TABLE ipc.version(number int NOT NULL); INSERT INTO ipc.version VALUES (0);",
    sessions,
    semaphores,
    queues,
    topics,
    deaths,
  ].join("\n"),
];

/** The version that this module speaks. */
export const version: number = migrations.length;

/** The SQL that brings a schema of some version up to date; to be run in one transaction. */
export function migrationFrom(found: number): string {
  return [
    ...migrations.slice(found),
    `UPDATE ipc.version SET number = ${version};`,
  ].join("\n");
}

/** The SQL that lets a role use the schema, which its owner has to run. */
export function grantsTo(role: string): string {
  const name = `"${role.replaceAll('"', '""')}"`;
  return [
    `GRANT USAGE ON SCHEMA ipc TO ${name};`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ipc TO ${name};`,
    `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ipc TO ${name};`,
  ].join("\n");
}
