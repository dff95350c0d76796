/**
 * The one connection of a session: queries in their order, and whether the server still answers.
 *
 * @module
 */

// @ts-types="@types/pg"
import type pg from "pg";
import { SessionLostError } from "./errors.ts";
import { hangUp } from "./setup.ts";

/** A query that is prepared once. */
export interface Statement {
  /** The name under which the server keeps it. */
  readonly name: string;
  readonly text: string;
}

/** Makes a statement that calls a function of the schema, of so many arguments of these types. */
export function call(name: string, types: string, from = false): Statement {
  const parameters = types === "" ? [] : types.split(" ").map((type, i) => `$${i + 1}::${type}`);
  const invocation = `ipc.${name}(${parameters.join(", ")})`;
  const text = from ? `SELECT * FROM ${invocation}` : `SELECT ${invocation} AS result`;
  return { name: `ipc_${name}`, text };
}

/** Operations on a set. */
export interface Operation {
  readonly set: number;
  /** Triples of index, delta, and 1 if it is undone. */
  readonly ops: readonly number[];
  /** Whether to wait if they cannot be performed. */
  readonly waits: boolean;
}

interface Query {
  readonly statement: Statement;
  readonly values: readonly unknown[];
  settle(rows: readonly object[]): void;
  reject(error: unknown): void;
}

interface PendingOperation extends Operation {
  settle(answer: string): void;
  reject(error: unknown): void;
}

type Job = Query | PendingOperation;

const semop = call("semop", "int int int[] bool");
const semops = call("semops", "int int[]");
const heartbeat: Statement = { name: "ipc_heartbeat", text: "SELECT 1" };

/** The most operations that travel together. */
const MAX_BATCH = 200;
/** Milliseconds between looks at whether the server answers. */
const BEAT = 1000;
/** A look that comes so much too late, in milliseconds, says that this process was stopped. */
const STOPPED = 500;
/** What PostgreSQL says when lock_timeout has passed, or to one of two that wait for each other. */
const AGAIN: readonly unknown[] = ["55P03", "40P01"];

/** A connection that works through what it is asked, one query at a time, in order. */
export class Link {
  /** How many queries were sent. */
  queries = 0;
  /** Called about once a second, with whether nothing is asked just then; returns what to ask, if anything. */
  onBeat: (idle: boolean) => (() => Promise<unknown>) | undefined = () => undefined;
  readonly #client: pg.Client;
  readonly #sid: number;
  readonly #lostAfter: number;
  readonly #lost = new AbortController();
  readonly #jobs: Job[] = [];
  readonly #beats: ReturnType<typeof setInterval>;
  #working = false;
  /** When the query was sent whose answer is due. */
  #askedAt: number | undefined;
  #beatAt = performance.now();
  /** Whether what the last beat asked has no answer yet. */
  #beating = false;
  #closed = false;

  /** Takes over a connection whose session is attached as this one. */
  constructor(client: pg.Client, sid: number, lostAfter: number) {
    this.#client = client;
    this.#sid = sid;
    this.#lostAfter = lostAfter;
    client.on("error", (error: Error) => this.#lose(error));
    client.on("end", () => this.#lose(new Error("The server closed the connection")));
    this.#beats = setInterval(() => this.#beat(), Math.min(BEAT, lostAfter / 3));
  }

  /** Fires when the session is lost; the reason is a {@linkcode SessionLostError}. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether {@linkcode close} was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Asks the server, in turn. */
  ask<Row extends object>(statement: Statement, values: readonly unknown[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      const settle = resolve as (rows: readonly object[]) => void;
      this.#push({ statement, values, settle, reject });
    });
  }

  /** Performs operations, in turn: what the schema's semop returns. */
  operate(operation: Operation): Promise<string> {
    return new Promise((settle, reject) => this.#push({ ...operation, settle, reject }));
  }

  /** Ends the connection as soon as all is answered that was asked. */
  async close(last: Statement): Promise<void> {
    if (this.#closed) return;
    const detached = this.ask(last, [this.#sid]);
    this.#closed = true;
    clearInterval(this.#beats);
    // However that ends, what was held comes back with the end of the connection.
    await detached.catch(() => {});
    await this.#client.end().catch(() => {});
  }

  #push(job: Job): void {
    if (this.#lost.signal.aborted) return job.reject(this.#lost.signal.reason);
    if (this.#closed) return job.reject(closedError());
    this.#jobs.push(job);
    if (!this.#working) this.#work();
  }

  async #work(): Promise<void> {
    this.#working = true;
    while (this.#jobs.length > 0) {
      const batch = this.#nextBatch();
      try {
        await this.#perform(batch);
      } catch (error) {
        // The server says so as the answer to what it was just asked, before it closes the connection.
        if (isFatal(error)) this.#lose(error);
        if (this.#lost.signal.aborted) batch.forEach((job) => job.reject(this.#lost.signal.reason));
        // Nothing has happened, and the answer says that the server is there: ask again.
        else if (AGAIN.includes(codeOf(error))) this.#jobs.unshift(...batch);
        else batch.forEach((job) => job.reject(error));
      }
    }
    this.#working = false;
  }

  /** The next query, or all operations before it. */
  #nextBatch(): readonly [Query] | PendingOperation[] {
    const job = this.#jobs.shift()!;
    if ("statement" in job) return [job];
    const batch = [job];
    while (batch.length < MAX_BATCH) {
      const next = this.#jobs[0];
      if (next === undefined || "statement" in next) break;
      batch.push(next);
      this.#jobs.shift();
    }
    return batch;
  }

  async #perform(batch: readonly [Query] | PendingOperation[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    if ("statement" in first) return first.settle(await this.#send(first.statement, first.values));
    const operations = batch as readonly PendingOperation[];
    if (operations.length === 1) {
      const values = [this.#sid, first.set, `{${first.ops}}`, first.waits];
      const [row] = await this.#send<{ result: string }>(semop, values);
      return first.settle(row!.result);
    }
    const flat = operations.flatMap(({ set, waits, ops }) => [
      set,
      waits ? 1 : 0,
      ops.length / 3,
      ...ops,
    ]);
    const [row] = await this.#send<{ result: string[] }>(semops, [this.#sid, `{${flat}}`]);
    operations.forEach((operation, i) => operation.settle(row!.result[i]!));
  }

  async #send<Row extends object>(
    { name, text }: Statement,
    values: readonly unknown[],
  ): Promise<Row[]> {
    this.queries++;
    this.#askedAt = performance.now();
    try {
      const { rows } = await this.#client.query({ name, text, values: [...values] });
      return rows;
    } finally {
      this.#askedAt = undefined;
    }
  }

  #beat(): void {
    const now = performance.now();
    const late = now - this.#beatAt - Math.min(BEAT, this.#lostAfter / 3);
    this.#beatAt = now;
    // A process that was stopped has not been waiting for the answer.
    if (this.#askedAt !== undefined && late > STOPPED) this.#askedAt = now;
    if (this.#askedAt !== undefined && now - this.#askedAt > this.#lostAfter) {
      return this.#lose(new Error(`The server has not answered for ${this.#lostAfter} ms`));
    }
    if (!this.#beating) this.#askAtBeat(this.#askedAt === undefined);
  }

  async #askAtBeat(idle: boolean): Promise<void> {
    const due = this.onBeat(idle) ?? (idle ? () => this.ask(heartbeat) : undefined);
    if (due === undefined) return;
    this.#beating = true;
    // What goes wrong is told to the next question, or tried again at the next beat.
    await due().catch(() => {});
    this.#beating = false;
  }

  #lose(cause: unknown): void {
    if (this.#lost.signal.aborted || this.#closed) return;
    const message = "The session with the server is lost: what it held goes to others";
    const error = new SessionLostError(message, { cause });
    clearInterval(this.#beats);
    this.#lost.abort(error);
    for (const job of this.#jobs.splice(0)) job.reject(error);
    // Whatever the server still sends comes too late.
    hangUp(this.#client);
  }
}

/** What is asked of a cluster that is closed rejects with this. */
export function closedError(): ReferenceError {
  return new ReferenceError("Cannot use this cluster: it is closed");
}

/** Whether an error of the server ends the session. */
function isFatal(error: unknown): boolean {
  return error instanceof Error && "severity" in error &&
    (error.severity === "FATAL" || error.severity === "PANIC");
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
