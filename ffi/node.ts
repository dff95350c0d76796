/**
 * The seam in Node: `node:ffi`.
 *
 * @module
 */

import type { Backend, Calls, Pointer, Prototypes, WorkerHandle } from "./backend.ts";

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
  const toAddress = (value: number | bigint) =>
    value === 0 ? 0n : BigInt.asUintN(64, BigInt(value));
  // A number does not keep memory from the collector.
  let held: Uint8Array | null;
  const toBuffer = (value: Uint8Array | null) =>
    (held = value) === null ? 0n : ffi.getRawPointer(held);
  const converters: Record<string, unknown> = {
    i64: toAddress,
    address: toAddress,
    buffer: toBuffer,
  };
  const same = (value: unknown) => value;

  /** Converts arguments; without an array of them up to the usual number. */
  const converting = (call: Call, converters: readonly Call[]): Call => {
    const [a = same, b = same, c = same, d = same] = converters;
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
        return (...given) => call(...given.map((value, i) => converters[i]!(value)));
    }
  };

  const bind = (library: NodeLibrary, key: string): Call => {
    const { name = key, parameters, result } = table[key]!;
    const isLong = parameters.length > 3;
    const pointer = isLong ? "function" : "pointer";
    const types: string[] = parameters.map((type) =>
      type === "i32" || type === "u32" ? type : pointer
    );
    const converts = parameters.map((type) => (converters[type] ?? same) as Call);
    if (isLong && !types.includes(pointer)) {
      types[types.length - 1] = pointer;
      converts[types.length - 1] = toAddress as Call;
    }
    const call = library.getFunction(name, {
      arguments: types,
      return: result === "address" ? "i64" : result,
    });
    const given = converts.every((convert) => convert === same) ? call : converting(call, converts);
    return result === "address" ? (...values) => Number(given(...values)) : given;
  };

  let failure: unknown;
  for (const library of libraries) {
    try {
      // Node binds a name once a library: a second prototype of the same function takes another.
      const opened: { library: NodeLibrary; names: Set<string> }[] = [];
      const calls: Record<string, Call> = {};
      for (const [key, { name = key }] of Object.entries(table)) {
        let free = opened.find(({ names }) => !names.has(name));
        if (free === undefined) {
          free = { library: new ffi.DynamicLibrary(library), names: new Set() };
          opened.push(free);
        }
        free.names.add(name);
        calls[key] = bind(free.library, key);
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
  joinsThreads: true,
  open,
  startWorker,
  view,
  addressOf,
  pointerTo,
};
