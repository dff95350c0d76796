/**
 * The seam in Bun: `bun:ffi`.
 *
 * @module
 */

import type { Backend, Calls, Pointer, Prototypes, WorkerHandle } from "./backend.ts";

/** The part of `bun:ffi` that is used here; its types are only known to Bun. */
interface BunFfi {
  dlopen(
    library: string,
    symbols: Record<string, BunSymbol>,
  ): { symbols: Record<string, BunFunction> };
  linkSymbols(symbols: Record<string, BunSymbol>): { symbols: Record<string, BunFunction> };
  toArrayBuffer(address: number, offset: number, length: number): ArrayBuffer;
  ptr(memory: Uint8Array): number;
}
interface BunSymbol {
  args: string[];
  returns: string;
  ptr?: number;
}
interface BunFunction {
  (...given: unknown[]): unknown;
  ptr: number;
}
/** The part of Bun's Worker that is used here; types without the DOM's do not know it. */
declare const Worker: new (url: string) => WorkerHandle & {
  onerror: () => void;
  postMessage(data: unknown): void;
};
declare const process: {
  platform: string;
  arch: string;
  versions: { bun: string };
  getBuiltinModule(name: "bun:ffi"): BunFfi;
};

function platform(): string {
  return `${process.platform} ${process.arch === "x64" ? "x86_64" : "aarch64"}`;
}

function open<Table extends Prototypes>(libraries: readonly string[], table: Table): Calls<Table> {
  const { dlopen, linkSymbols } = process.getBuiltinModule("bun:ffi");
  const types = {
    i32: "i32",
    u32: "u32",
    i64: "i64",
    address: "u64",
    buffer: "ptr",
    pointer: "ptr",
    void: "void",
  } as const;
  const entries = Object.entries(table).map(([key, { name = key, parameters, result }]) => ({
    key,
    name,
    args: parameters.map((type) => types[type]),
    returns: result === "address" ? "i64" : types[result],
  }));
  let failure: unknown;
  for (const library of libraries) {
    try {
      const opened = dlopen(
        library,
        Object.fromEntries(entries.map(({ name, args, returns }) => [name, { args, returns }])),
      );
      // Bun binds a name once: a second prototype of the same function is linked by its address.
      const linked = linkSymbols(Object.fromEntries(entries.map(({ key, name, args, returns }) => {
        return [key, { args, returns, ptr: opened.symbols[name]!.ptr }];
      })));
      const calls: Record<string, (...given: unknown[]) => unknown> = {};
      for (const [key, { result }] of Object.entries(table)) {
        const call = linked.symbols[key]!;
        calls[key] = result === "address" ? (...given) => Number(call(...given)) : call;
      }
      return calls as unknown as Calls<Table>;
    } catch (error) {
      failure ??= error;
    }
  }
  throw new Error(`Cannot open libc: none of ${libraries.join(", ")} loads`, { cause: failure });
}

function view(address: number, length: number): ArrayBuffer {
  return process.getBuiltinModule("bun:ffi").toArrayBuffer(address, 0, length);
}

function addressOf(memory: Uint8Array): number {
  return process.getBuiltinModule("bun:ffi").ptr(memory);
}

function pointerTo(memory: Uint8Array): Pointer {
  return memory as unknown as Pointer;
}

/** Bun's own Worker starts in a quarter of the time that node:worker_threads takes. */
function startWorker(text: string, data: unknown, failed: () => void): WorkerHandle {
  const source = `onmessage = ({ data }) => { onmessage = null; (${text})(data); };`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`);
  worker.onerror = failed;
  worker.postMessage(data);
  return worker;
}

/** The seam in Bun. */
export const bun: Backend = {
  name: "Bun",
  version: () => process.versions.bun,
  leastVersion: "1.4.0", // which has the addresses of functions
  platform,
  tellsWorkersOfSignals: false,
  handlesSignalsItself: false,
  makesBuffersFast: true,
  joinsThreads: false,
  open,
  startWorker,
  view,
  addressOf,
  pointerTo,
};
