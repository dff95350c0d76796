/**
 * The seam in Node: `node:ffi`.
 *
 * @module
 */

import type { Backend, Calls, Pointer, Prototype, Prototypes, WorkerHandle } from "./backend.ts";

/** The part of `node:ffi` that is used here; its types are only known to Node. */
interface NodeFfi {
  readonly DynamicLibrary: new (library: string) => NodeLibrary;
  toArrayBuffer(address: bigint, length: number, copy: boolean): ArrayBuffer;
  getRawPointer(memory: Uint8Array): bigint;
}
interface NodeLibrary {
  getFunction(
    name: string,
    signature: { arguments: readonly string[]; return: string },
  ): (...given: unknown[]) => unknown;
}
declare const process: {
  platform: string;
  arch: string;
  version: string;
  eventNames(): readonly (string | symbol)[];
  getBuiltinModule(name: "node:ffi"): NodeFfi;
  getBuiltinModule(name: "node:worker_threads"): {
    readonly isMainThread: boolean;
    Worker: new (url: URL, options: object) => WorkerHandle & {
      on(event: "error", listener: () => void): void;
    };
  };
};

function platform(): string {
  return `${process.platform} ${process.arch === "x64" ? "x86_64" : "aarch64"}`;
}

/**
 * Node checks every argument in JavaScript, and how a function is declared decides what that costs: what has
 * more than three parameters is cheaper with a pointer of type "function" among them, and 64-bit numbers are
 * cheaper as pointers.
 */
function open<Table extends Prototypes>(libraries: readonly string[], table: Table): Calls<Table> {
  const ffi = process.getBuiltinModule("node:ffi") as NodeFfi | undefined;
  if (ffi === undefined) {
    throw new Error(
      "Cannot call libc: this Node was built without node:ffi, or runs with --no-experimental-ffi",
    );
  }
  type Call = (...given: unknown[]) => unknown;
  type Convert = (value: never) => unknown;
  // A number does not keep memory from the collector.
  let held: Uint8Array | null;
  // All are methods, as a bundler that keeps names would wrap anything else.
  const { i64, buffer, same } = {
    i64(value: number | bigint) {
      return value === 0 ? 0n : BigInt.asUintN(64, BigInt(value));
    },
    buffer(value: Uint8Array | null) {
      held = value;
      return held === null ? 0n : ffi.getRawPointer(held);
    },
    same(value: unknown) {
      return value;
    },
  };
  const convertersOf: Readonly<Record<string, Convert>> = { i64, address: i64, buffer };
  const parts = {
    /** Converts arguments; without an array of them up to the usual number. */
    converting(call: Call, converters: readonly Convert[]): Call {
      const [a = same, b = same, c = same, d = same] = converters as readonly Call[];
      switch (converters.length) {
        case 1:
          return (v) => call(a(v));
        case 2:
          return (v, w) => call(a(v), b(w));
        case 3:
          return (v, w, x) => call(a(v), b(w), c(x));
        case 4:
          return (v, w, x, y) => call(a(v), b(w), c(x), d(y));
        default:
          return (...given) => call(...given.map((value, i) => converters[i]!(value as never)));
      }
    },
    bind(library: NodeLibrary, name: string, { parameters, result }: Prototype): Call {
      const isLong = parameters.length > 3;
      const pointer = isLong ? "function" : "pointer";
      const types: string[] = parameters.map((type) =>
        type === "i32" || type === "u32" ? type : pointer
      );
      const converts = parameters.map((type) => convertersOf[type] ?? same);
      if (isLong && !types.includes(pointer)) {
        types[types.length - 1] = pointer;
        converts[types.length - 1] = i64;
      }
      const returns = result === "address" ? "i64" : result;
      const call = library.getFunction(name, { arguments: types, return: returns });
      const given = converts.every((convert) => convert === same)
        ? call
        : parts.converting(call, converts);
      return result === "address" ? (...values) => Number(given(...values)) : given;
    },
  };

  let failure: unknown;
  for (const library of libraries) {
    try {
      // Node binds a name once a library: a second prototype of the same name takes another.
      const opened: { library: NodeLibrary; names: Set<string> }[] = [];
      const calls: Record<string, Call> = {};
      for (const [key, prototype] of Object.entries(table)) {
        const { name = key } = prototype;
        let free = opened.find(({ names }) => !names.has(name));
        if (free === undefined) {
          free = { library: new ffi.DynamicLibrary(library), names: new Set() };
          opened.push(free);
        }
        free.names.add(name);
        calls[key] = parts.bind(free.library, name, prototype);
      }
      return calls as unknown as Calls<Table>;
    } catch (error) {
      failure ??= error;
      if ((error as { code?: unknown }).code === "ERR_ACCESS_DENIED") {
        throw new Error("Cannot call libc: the permission is missing: run with --allow-ffi", {
          cause: error,
        });
      }
    }
  }
  throw new Error(`Cannot open libc: none of ${libraries.join(", ")} loads`, { cause: failure });
}

function view(address: number, length: number): ArrayBuffer {
  return process.getBuiltinModule("node:ffi").toArrayBuffer(BigInt(address), length, false);
}

function addressOf(memory: Uint8Array): number {
  return Number(process.getBuiltinModule("node:ffi").getRawPointer(memory));
}

function pointerTo(memory: Uint8Array): Pointer {
  return process.getBuiltinModule("node:ffi").getRawPointer(memory) as unknown as Pointer;
}

function startWorker(text: string, data: unknown, failed: () => void): WorkerHandle {
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  const source = `(${text})(process.getBuiltinModule("node:worker_threads").workerData);`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const worker = new Worker(url, {
    workerData: data,
    // Not what the program is started with, in flags or in NODE_OPTIONS: that may load something first.
    execArgv: ["--disable-warning=ExperimentalWarning"],
    env: {},
  });
  worker.on("error", failed);
  return worker;
}

/** Node tells no Worker of signals, and listens itself to the size of a terminal. */
function listensToSignals(): boolean {
  const { isMainThread } = process.getBuiltinModule("node:worker_threads");
  return isMainThread &&
    process.eventNames().some((name) =>
      typeof name === "string" && name.startsWith("SIG") && name !== "SIGWINCH"
    );
}

/** The seam in Node. */
export const node: Backend = {
  name: "Node",
  version: () => process.version.slice(1),
  leastVersion: "26.9.0", // which has node:ffi without a flag
  platform,
  tellsWorkersOfSignals: false,
  handlesSignalsItself: false,
  listensToSignals,
  makesBuffersFast: false,
  joinsThreads: true,
  open,
  startWorker,
  view,
  addressOf,
  pointerTo,
};
