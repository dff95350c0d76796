/**
 * `ipc completions`: scripts that complete the command line in a shell.
 *
 * @module
 */

import { type Command, HELP_OPTION } from "./command.ts";
import { allCommands } from "./commands.ts";
import { DONE, UsageError } from "./errors.ts";
import { print } from "./output.ts";

/** The words that may come first behind a command. */
const firstWords: Readonly<Record<string, readonly string[]>> = {
  create: ["sem", "queue", "memory"],
  completions: ["bash", "zsh", "fish"],
};

const optionsOf = ({ options }: Command) => [...options, HELP_OPTION];
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const words = [
      ...optionsOf(command).map(({ name }) => `--${name}`),
      ...(firstWords[command.name] ?? []),
    ];
    return `    ${command.name}) words=${quoted(words.join(" "))} ;;`;
  });
  const choices = [
    ...new Map(
      commands.flatMap(({ options }) =>
        options.flatMap(({ name, choices }) =>
          choices === undefined ? [] : [[`--${name}`, choices.join(" ")] as const]
        )
      ),
    ),
  ].map(([option, words]) => `    ${option}) words=${quoted(words)} ;;`);
  return `# ipc completions bash
_ipc() {
  local words current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
  esac
  case $previous in
${choices.join("\n")}
  esac
  ((COMP_CWORD > 1)) || words=${quoted(commands.map(({ name }) => name).join(" "))}
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _ipc ipc`;
}

function zsh(commands: readonly Command[]): string {
  const described = (text: string) => text.replaceAll(/[[\]:]/g, " ");
  const cases = commands.map((command) => {
    const options = optionsOf(command).map(({ name, value, choices, help }) => {
      const action = value === undefined
        ? ""
        : `:${value}:${choices === undefined ? "" : `(${choices.join(" ")})`}`;
      return quoted(`--${name}[${described(help)}]${action}`);
    });
    const words = firstWords[command.name];
    const rest = words === undefined ? "'*::_default'" : quoted(`1:what:(${words.join(" ")})`);
    return `    ${command.name}) _arguments ${[...options, rest].join(" ")} ;;`;
  });
  return `#compdef ipc
_ipc() {
  if ((CURRENT == 2)); then
    local -a commands=(${
    commands.map(({ name, summary }) => quoted(`${name}:${described(summary)}`)).join(" ")
  })
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join("\n")}
  esac
}
compdef _ipc ipc`;
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const inside = `-n '__fish_seen_subcommand_from ${command.name}'`;
    return [
      `complete -c ipc -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.summary)}`,
      ...optionsOf(command).map(({ name, short, value, choices, help }) =>
        [
          `complete -c ipc ${inside} -l ${name}`,
          ...(short === undefined ? [] : [`-s ${short}`]),
          ...(value === undefined ? [] : ["-x"]),
          ...(choices === undefined ? [] : [`-a ${quoted(choices.join(" "))}`]),
          `-d ${quoted(help)}`,
        ].join(" ")
      ),
      ...(firstWords[command.name] ?? []).map((word) => `complete -c ipc ${inside} -a ${word}`),
    ];
  });
  return ["# ipc completions fish", ...lines].join("\n");
}

const shells: Readonly<Record<string, (commands: readonly Command[]) => string>> = {
  bash,
  zsh,
  fish,
};

export const command: Command = {
  name: "completions",
  summary: "Print a script that completes ipc in a shell.",
  usage: ["bash|zsh|fish"],
  options: [],
  notes: [
    "bash:  source <(ipc completions bash)",
    "zsh:   source <(ipc completions zsh)",
    "fish:  ipc completions fish | source",
  ],
  async run(given) {
    const [shell = "", ...more] = given.words;
    if (!Object.hasOwn(shells, shell) || more.length > 0) {
      throw new UsageError("expected bash, zsh or fish", "completions");
    }
    print(shells[shell]!(await allCommands()));
    return DONE;
  },
};
