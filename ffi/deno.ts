/**
 * The seam in Deno: `Deno.dlopen` and its pointers.
 *
 * @module
 */

import type { Backend, Calls, Pointer, Prototypes, WorkerHandle } from "./backend.ts";

/** The part of Deno that is used here; its types are only known to Deno. */
interface DenoFfi {
  readonly build: { readonly os: string; readonly arch: string };
  readonly version: { readonly deno: string };
  readonly permissions: { requestSync(permission: { name: "ffi" }): unknown };
  readonly errors: { readonly NotCapable: new (message: string, options: ErrorOptions) => Error };
  dlopen(
    library: string,
    symbols: Record<string, DenoSymbol>,
  ): { symbols: Record<string, (...given: unknown[]) => unknown> };
  readonly UnsafePointer: {
    create(address: bigint): DenoPointer | null;
    of(memory: Uint8Array): DenoPointer;
    value(pointer: DenoPointer): bigint;
  };
  readonly UnsafePointerView: {
    getArrayBuffer(pointer: DenoPointer, length: number): ArrayBuffer;
  };
}
interface DenoSymbol {
  name: string;
  parameters: string[];
  result: string;
}
type DenoPointer = { readonly deno: unique symbol };
declare const Deno: DenoFfi;

function platform(): string {
  return `${Deno.build.os} ${Deno.build.arch}`;
}

function open<Table extends Prototypes>(libraries: readonly string[], table: Table): Calls<Table> {
  const types = {
    i32: "i32",
    u32: "u32",
    i64: "i64",
    address: "u64",
    buffer: "buffer",
    pointer: "pointer",
  } as const;
  const symbols: Record<string, DenoSymbol> = {};
  for (const [key, { name = key, parameters, result }] of Object.entries(table)) {
    symbols[key] = {
      name,
      parameters: parameters.map((type) => types[type]),
      result: result === "address" ? "i64" : result,
    };
  }
  // Where dlopen has to ask, in a terminal, it opens the library in the current folder once the answer is yes.
  Deno.permissions.requestSync({ name: "ffi" });
  let failure: unknown;
  for (const library of libraries) {
    try {
      const opened = Deno.dlopen(library, symbols).symbols;
      const calls: Record<string, (...given: unknown[]) => unknown> = {};
      for (const [key, { result }] of Object.entries(table)) {
        const call = opened[key]!;
        calls[key] = result === "address" ? (...given) => Number(call(...given)) : call;
      }
      return calls as unknown as Calls<Table>;
    } catch (error) {
      failure ??= error;
      if (error instanceof Deno.errors.NotCapable) {
        throw new Deno.errors.NotCapable(
          "Cannot call libc: the permission is missing: run with --allow-ffi, without a path",
          { cause: error },
        );
      }
    }
  }
  throw new Error(`Cannot open libc: none of ${libraries.join(", ")} loads`, { cause: failure });
}

function view(address: number, length: number): ArrayBuffer {
  const pointer = Deno.UnsafePointer.create(BigInt(address));
  if (pointer === null) throw new TypeError("Cannot view memory at address 0");
  try {
    return Deno.UnsafePointerView.getArrayBuffer(pointer, length);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new Deno.errors.NotCapable(
      "Cannot view memory: the permission is limited to paths: run with --allow-ffi, without a path",
      { cause: error },
    );
  }
}

function addressOf(memory: Uint8Array): number {
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory)));
}

function pointerTo(memory: Uint8Array): Pointer {
  return Deno.UnsafePointer.of(memory) as unknown as Pointer;
}

function startWorker(text: string, data: unknown, failed: () => void): WorkerHandle {
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  const source = `(${text})(process.getBuiltinModule("node:worker_threads").workerData);`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  // Without an environment of its own it would copy the program's, for which Deno asks the user.
  const worker = new Worker(url, { workerData: data, env: {} });
  worker.on("error", failed);
  return worker;
}

/** The seam in Deno. */
export const deno: Backend = {
  name: "Deno",
  version: () => Deno.version.deno,
  leastVersion: "2.7.6", // whose loop goes on for a promise of Atomics.waitAsync
  platform,
  tellsWorkersOfSignals: true,
  handlesSignalsItself: true,
  makesBuffersFast: false,
  joinsThreads: false,
  open,
  startWorker,
  view,
  addressOf,
  pointerTo,
};
