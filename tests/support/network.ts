/**
 * A host of its own for tests, behind a router that can cut it off.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";

function ip(...args: string[]): boolean {
  return spawnSync("ip", args, { stdio: "ignore" }).status === 0;
}

/** Why there can be no such host, if that is so. */
export function missingNetwork(): string | undefined {
  const probe = `sysv-ipc-${process.pid}`;
  const made = ip("netns", "add", probe);
  if (made) ip("netns", "delete", probe);
  return made ? undefined : "no network namespaces";
}

/** A host that reaches this one through a router. Disposing it ends both. */
export class Host implements Disposable {
  /** The address of this machine, as the host sees it. */
  readonly server: string;
  /** The network from which the host comes. */
  readonly network: string;
  /** The command that runs a program on the host. */
  readonly within: readonly string[];
  readonly #net: string;
  readonly #router: string;
  readonly #host: string;

  constructor() {
    const { pid } = process;
    // Two networks of half a byte each, which no other process has.
    const net = this.#net = `10.${100 + (pid >> 8) % 100}.${pid & 255}`;
    const router = this.#router = `sysv-ipc-r${pid}`;
    const host = this.#host = `sysv-ipc-h${pid}`;
    this.server = `${net}.1`;
    this.network = `${net}.128/25`;
    this.within = ["ip", "netns", "exec", host];
    const [outside, inside, near, far] = ["a", "b", "c", "d"].map((end) => `svi${end}${pid}`);
    // A test may be filtered out while this is at work.
    const end = () => this[Symbol.dispose]();
    process.on("exit", end);
    globalThis.addEventListener?.("unload", end);
    this.#run("netns", "add", router);
    this.#run("netns", "add", host);
    this.#run("link", "add", outside!, "type", "veth", "peer", "name", inside!, "netns", router);
    this.#run(
      "-n",
      router,
      "link",
      "add",
      near!,
      "type",
      "veth",
      "peer",
      "name",
      far!,
      "netns",
      host,
    );
    this.#run("address", "add", `${net}.1/25`, "dev", outside!);
    this.#run("-n", router, "address", "add", `${net}.2/25`, "dev", inside!);
    this.#run("-n", router, "address", "add", `${net}.130/25`, "dev", near!);
    this.#run("-n", host, "address", "add", `${net}.129/25`, "dev", far!);
    this.#run("link", "set", outside!, "up");
    for (const [where, device] of [[router, inside], [router, near], [host, far]] as const) {
      this.#run("-n", where, "link", "set", device!, "up");
    }
    this.#run("-n", host, "link", "set", "lo", "up");
    this.#run("route", "add", `${net}.128/25`, "via", `${net}.2`);
    this.#run("-n", host, "route", "add", "default", "via", `${net}.130`);
    this.#run("netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1");
  }

  /** Has the router drop what comes from the host and goes to it, in silence. */
  cut(): void {
    for (const part of [0, 128]) {
      this.#run("-n", this.#router, "route", "del", `${this.#net}.${part}/25`);
      this.#run("-n", this.#router, "route", "add", "blackhole", `${this.#net}.${part}/25`);
    }
  }

  [Symbol.dispose](): void {
    ip("netns", "delete", this.#host);
    ip("netns", "delete", this.#router);
  }

  #run(...args: string[]): void {
    if (ip(...args)) return;
    this[Symbol.dispose]();
    throw new Error(`ip ${args.join(" ")} failed`);
  }
}
