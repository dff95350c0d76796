/**
 * The seam between this module and a runtime: all that is asked of Deno, of Bun, or of the next one.
 *
 * @module
 */

/**
 * The types that a parameter may have: a `buffer` is memory of ours, a `pointer` is the address of such
 * memory, an `address` is a number.
 */
export type ParameterType = "i32" | "u32" | "i64" | "address" | "buffer" | "pointer";

/** Where memory of ours stands, as the runtime likes it best. */
export type Pointer = { readonly pointer: unique symbol };

/** The types that a result may have: an `address` is -1 for `(void *) -1`. */
export type ResultType = "i32" | "address" | "void";

/** One C function, as a runtime binds it. */
export interface Prototype {
  /** The name in C, where it differs from the one in the table. */
  readonly name?: string;
  readonly parameters: readonly ParameterType[];
  /** How many parameters are not variadic, where some are. */
  readonly fixed?: number;
  readonly result: ResultType;
}

/** A table of C functions by name. */
export type Prototypes = Readonly<Record<string, Prototype>>;

interface Values {
  i32: number;
  u32: number;
  i64: number | bigint;
  address: number;
  buffer: Uint8Array | null;
  pointer: Pointer;
  void: void;
}

type Given<Types extends readonly ParameterType[]> = {
  -readonly [I in keyof Types]: Values[Types[I]];
};

/** The functions that a table of prototypes becomes. */
export type Calls<Table extends Prototypes> = {
  readonly [Name in keyof Table]: (
    ...given: Given<Table[Name]["parameters"]>
  ) => Values[Table[Name]["result"]];
};

/** A worker that was started: it keeps the process alive until it is unref'ed. */
export interface WorkerHandle {
  ref(): void;
  unref(): void;
}

/**
 * What a runtime must offer. `open` and `view` name nothing outside itself but globals of their runtime,
 * as their text also runs in the waiter threads, which import nothing.
 */
export interface Backend {
  /** What the runtime calls itself. */
  readonly name: string;
  /** The version of the runtime that runs, such as `"2.9.6"`. */
  version(): string;
  /** The least version that will do, and why: see docs/runtimes.md. */
  readonly leastVersion: string;
  /** Names the system and the processor as `uname -sm` does, in lower case: `linux x86_64`. */
  platform(): string;
  /** Whether Workers hear signals, too: else the main thread alone does. */
  readonly tellsWorkersOfSignals: boolean;
  /** Whether the runtime handles SIGTERM and its like for itself, so that they end blocking calls. */
  readonly handlesSignalsItself: boolean;
  /**
   * Whether the program listens to signals on this thread: for a runtime whose own handlers stand all the time,
   * so that those in the kernel say nothing.
   */
  listensToSignals?(): boolean;
  /**
   * Whether the runtime waits for its threads when the program or a Worker ends: for ever if one is in a call
   * that blocks.
   */
  readonly joinsThreads: boolean;
  /** Whether a small buffer of its own costs less than a view of a larger one. */
  readonly makesBuffersFast: boolean;
  /** Opens the first of the libraries that exists and binds the functions of the table. */
  open<Table extends Prototypes>(libraries: readonly string[], table: Table): Calls<Table>;
  /** Starts a worker that runs a function, given as its text, on the data; says if it fails. */
  startWorker(text: string, data: unknown, failed: () => void): WorkerHandle;
  /** Shows memory that is not ours: alive as long as what stands there, and not a moment longer. */
  view(address: number, length: number): ArrayBuffer;
  /** Tells where memory of ours stands. It stays there as long as it is referenced. */
  addressOf(memory: Uint8Array): number;
  /** The same as is passed fastest. It does not keep the memory from the collector. */
  pointerTo(memory: Uint8Array): Pointer;
}
