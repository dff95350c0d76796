/**
 * Reads what a runtime reports of its tests, in the form of JUnit.
 *
 * @module
 */

/** The results of some tests. */
export interface Report {
  passed: number;
  skipped: number;
  /** The names of those that failed. */
  failed: string[];
}

/** Reads a report of JUnit, as all three runtimes write it. */
export function reportOf(xml: string): Report {
  const report: Report = { passed: 0, skipped: 0, failed: [] };
  for (const [, attributes, end, body] of xml.matchAll(tests)) {
    if (end === "/" || !/^\s*<(?:failure|error|skipped)/.test(body!)) report.passed++;
    else if (/^\s*<skipped/.test(body!)) report.skipped++;
    else report.failed.push(nameIn(attributes!));
  }
  return report;
}

// An attribute may have a ">" in it.
const tests = /<testcase ((?:[^">/]|"[^"]*")*)(?:(\/)>|>(.*?)<\/testcase>)/gs;

function nameIn(attributes: string): string {
  return unescape(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? "");
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
};

function unescape(text: string): string {
  return text.replace(
    /&(?:#(\d+)|(\w+));/g,
    (entity, code, name) =>
      code === undefined ? entities[name] ?? entity : String.fromCodePoint(Number(code)),
  );
}
