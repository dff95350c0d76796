/**
 * Reads what a runtime reports of its tests, in the form of JUnit.
 *
 * @module
 */

/** The results of some tests. */
export interface Report {
  passed: number;
  skipped: number;
  /** The names of those that failed, with their files. */
  failed: string[];
}

const attribute = (tag: string, name: string) =>
  unescape(new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1] ?? "");

/** Reads a report of JUnit, as both runtimes write it. */
export function reportOf(xml: string): Report {
  const report: Report = { passed: 0, skipped: 0, failed: [] };
  let file = "";
  for (const [, suite, test, end, body] of xml.matchAll(elements)) {
    if (suite !== undefined) file = attribute(suite, "name").replace(/^\.\//, "");
    else if (end === "/" || !/^\s*<(?:failure|error|skipped)/.test(body!)) report.passed++;
    else if (/^\s*<skipped/.test(body!)) report.skipped++;
    else report.failed.push(`${file}: ${attribute(test!, "name")}`);
  }
  return report;
}

const elements = /<testsuite (.*?)>|<testcase (.*?)(?:(\/)>|>(.*?)<\/testcase>)/gs;

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
