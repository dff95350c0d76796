/**
 * Objects in the text format of Prometheus, for the textfile collector of node_exporter.
 *
 * @module
 */

import { limits, type ListedObject, orphans } from "../ipc/inventory.ts";
import { hex } from "./target.ts";

type Labels = Readonly<Record<string, string>>;

/** The samples of a metric, under its name. */
class Metrics {
  readonly #samples = new Map<string, string[]>();

  add(name: string, help: string, labels: Labels, value: number): void {
    const full = `sysv_ipc_${name}`;
    const samples = this.#samples.get(full) ??
      [`# HELP ${full} ${help}`, `# TYPE ${full} gauge`];
    const shown = Object.entries(labels).map(([label, text]) => `${label}="${escape(text)}"`);
    this.#samples.set(full, [...samples, `${full}{${shown.join(",")}} ${value}`]);
  }

  get lines(): string[] {
    return [...this.#samples.values()].flat();
  }
}

function escape(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

/** Makes the lines of some objects, and of the limits; `names` tells by which name one was asked for. */
export function metricsOf(
  objects: readonly ListedObject[],
  names: ReadonlyMap<string, string>,
): string[] {
  const metrics = new Metrics();
  for (const object of objects) {
    const { type, id, key } = object;
    const name = names.get(`${type} ${id}`);
    const labels: Record<string, string> = { id: String(id) };
    if (key !== undefined) labels.key = hex(key);
    if (name !== undefined) labels.name = name;
    addObject(metrics, object, labels);
  }
  addSystem(metrics);
  return metrics.lines;
}

function addObject(metrics: Metrics, object: ListedObject, labels: Labels): void {
  if (object.type === "queue") {
    metrics.add("queue_messages", "Messages in the queue.", labels, object.messages);
    metrics.add("queue_bytes", "Bytes of the messages in the queue.", labels, object.bytes);
    metrics.add("queue_max_bytes", "The most bytes that the queue holds.", labels, object.maxBytes);
  } else if (object.type === "memory") {
    metrics.add("memory_bytes", "Size of the segment.", labels, object.size);
    metrics.add("memory_attachments", "Attachments of the segment.", labels, object.attachments);
  } else addSemaphores(metrics, object, labels);
}

function addSemaphores(
  metrics: Metrics,
  { kind, values, waiting, inUse }: ListedObject & { type: "sem" },
  labels: Labels,
): void {
  if (values === undefined || waiting === undefined) return;
  const all = { ...labels, kind: kind ?? "foreign" };
  const waiters = waiting.reduce((sum, count) => sum + count, 0);
  metrics.add("semaphore_waiting", "Processes that wait for the set.", all, waiters);
  if (kind === "gauge") {
    metrics.add("gauge_value", "How many are inside the gauge.", labels, values[0]!);
  } else if (kind === "bulkhead") {
    const [room = 0, tickets = 0] = values;
    metrics.add("bulkhead_tickets", "Tickets of the bulkhead.", labels, tickets);
    metrics.add("bulkhead_in_use", "Tickets that are out.", labels, 16383 + tickets - room);
  } else if (kind === "mutex" || kind === "leader" || kind === "rwlock") {
    metrics.add("held", "Whether a process holds it.", all, inUse ? 1 : 0);
  } else {
    for (const [index, value] of values.entries()) {
      metrics.add("semaphore_value", "Value of the semaphore.", {
        ...all,
        index: String(index),
      }, value);
    }
  }
}

function addSystem(metrics: Metrics): void {
  for (const { name, max, used } of limits()) {
    if (used === undefined) continue;
    metrics.add("limit", "A limit of the system.", { name }, max);
    metrics.add("limit_used", "How much of the limit is used.", { name }, used);
  }
  const left = orphans();
  for (const type of ["sem", "queue", "memory"] as const) {
    const count = left.filter(({ object }) => object.type === type).length;
    metrics.add("orphans", "Objects that dead programs seem to have left.", { type }, count);
  }
}
