/**
 * The prototypes of what starts programs and becomes one.
 *
 * @module
 */

import type { Prototypes } from "./backend.ts";
import { descriptorPrototypes, interruptPrototypes, linuxDescriptorPrototypes } from "./symbols.ts";

/** Starting a program in a process of its own, on Linux alone. */
export const spawnPrototypes = {
  pipe2: linuxDescriptorPrototypes.pipe2,
  write: descriptorPrototypes.write,
  posix_spawnp: {
    parameters: [
      "buffer", // pid_t *pid
      "buffer", // const char *file
      "buffer", // const posix_spawn_file_actions_t *file_actions
      "buffer", // const posix_spawnattr_t *attrp
      "buffer", // char *const argv[]
      "address", // char *const envp[]
    ],
    result: "i32",
  },
  adddup2: {
    name: "posix_spawn_file_actions_adddup2",
    parameters: [
      "buffer", // posix_spawn_file_actions_t *file_actions
      "i32", // int fildes
      "i32", // int newfildes
    ],
    result: "i32",
  },
  dlsym: interruptPrototypes.dlsym,
} as const satisfies Prototypes;

/** Closing all descriptors from one on: glibc since 2.34 alone. */
export const closeFromPrototypes = {
  addclosefrom: {
    name: "posix_spawn_file_actions_addclosefrom_np",
    parameters: [
      "buffer", // posix_spawn_file_actions_t *file_actions
      "i32", // int from
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** What is needed once the program runs. */
export const spawnedPrototypes = {
  read: descriptorPrototypes.read,
  close: descriptorPrototypes.close,
  destroy: {
    name: "posix_spawn_file_actions_destroy",
    parameters: [
      "buffer", // posix_spawn_file_actions_t *file_actions
    ],
    result: "i32",
  },
  waitpid: {
    parameters: [
      "i32", // pid_t pid
      "buffer", // int *wstatus
      "i32", // int options
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Becoming another program, the environment, and the names of users. */
export const programPrototypes = {
  fcntl: descriptorPrototypes.fcntl,
  execvp: {
    parameters: [
      "buffer", // const char *file
      "buffer", // char *const argv[]
    ],
    result: "i32",
  },
  getenv: {
    parameters: [
      "buffer", // const char *name
    ],
    result: "address",
  },
  getpwuid: {
    parameters: [
      "u32", // uid_t uid
    ],
    result: "address",
  },
  strlen: {
    parameters: [
      "address", // const char *s
    ],
    result: "i32",
  },
} as const satisfies Prototypes;
