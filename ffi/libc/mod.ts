/**
 * The System V calls of libc under their C names: constants and struct
 * members are spelled as in C, results are plain values, and a call that fails throws
 * {@linkcode IpcError}. Nothing is hidden and nothing cleaned up. A call that waits blocks the thread.
 *
 * @example Counting with undo, line by line as in C or Python
 * ```ts
 * import { GETVAL, IPC_PRIVATE, IPC_RMID, SEM_UNDO, semctl, semget, semop } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const sem = semget(IPC_PRIVATE, 1, 0o600);
 * semop(sem, [[0, 1, SEM_UNDO]]);
 * assertEquals(semctl(sem, 0, GETVAL), 1);
 * semctl(sem, 0, IPC_RMID);
 * ```
 *
 * @module
 */

export { IpcError, type IpcErrorOptions } from "../error.ts";
export {
  ftok,
  IPC_CREAT,
  IPC_EXCL,
  IPC_INFO,
  IPC_NOWAIT,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
  type IpcPerm,
  type IpcPermChange,
} from "./ipc.ts";
export {
  GETALL,
  GETNCNT,
  GETPID,
  GETVAL,
  GETZCNT,
  SEM_INFO,
  SEM_STAT,
  SEM_STAT_ANY,
  SEM_UNDO,
  type Sembuf,
  semctl,
  semget,
  type SemidDs,
  type Seminfo,
  semop,
  semtimedop,
  SETALL,
  SETVAL,
} from "./sem.ts";
export {
  MSG_COPY,
  MSG_EXCEPT,
  MSG_INFO,
  MSG_NOERROR,
  MSG_STAT,
  MSG_STAT_ANY,
  type Msgbuf,
  msgctl,
  msgget,
  type Msginfo,
  msgrcv,
  msgsnd,
  type MsqidDs,
} from "./msg.ts";
export {
  SHM_DEST,
  SHM_EXEC,
  SHM_HUGETLB,
  SHM_INFO,
  SHM_LOCK,
  SHM_LOCKED,
  SHM_NORESERVE,
  SHM_R,
  SHM_STAT,
  SHM_STAT_ANY,
  SHM_UNLOCK,
  SHM_W,
  shmat,
  shmctl,
  shmdt,
  shmget,
  type ShmidDs,
  type ShmInfo,
  type Shminfo,
  SHMLBA,
} from "./shm.ts";
