import type { Command } from "./command.ts";
export const command: Command = {
  name: "top",
  summary: "Watch.",
  usage: [""],
  options: [],
  run: () => 0,
};
