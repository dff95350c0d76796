/**
 * Constants and struct layouts by platform. A new platform is one entry here.
 *
 * glibc and musl have the same layouts on Linux: both hand over the kernel's structures,
 * and where their headers differ (musl declares `sem_nsems` with 16 bits) the kernel's are used.
 *
 * @module
 */

import { backend } from "./load.ts";
import type { Layout } from "./struct.ts";

/** What differs between platforms. */
export interface Abi {
  /** The names under which libc may be found, the likeliest first. */
  readonly libraries: readonly string[];
  /** The function that returns the address of errno. */
  readonly errnoLocation: string;
  /** Whether the calls of Linux alone are there. */
  readonly isLinux: boolean;
  /** Whether variadic arguments travel on the stack, which no FFI call knows by itself. */
  readonly variadicOnStack: boolean;
  /** The numbers of the errors that do not have one everywhere. */
  readonly errors: Readonly<Record<PlatformError, number>>;
  /** The numbers of signals. */
  readonly signals: { readonly SIGURG: number };
  /** The signals that a program may listen to, and that no runtime handles for itself. */
  readonly programSignals: readonly number[];
  /** The function that returns the number of the thread; macOS has none, and its stand-in never returns the number of a process. */
  readonly gettid: string;
  /** The number of the system call tgkill; -1 where there is none. */
  readonly tgkill: number;
  /** The number of the system call futex; -1 where there is none. */
  readonly futex: number;
  /** The argument by which pthread_sigmask unblocks. */
  readonly SIG_UNBLOCK: number;
  /** RTLD_DEFAULT, where dlsym looks for what is loaded. */
  readonly defaultSymbols: number;
  /** The commands and flags that do not have one value everywhere; -1 where there is none. */
  readonly constants: Readonly<Record<PlatformConstant, number>>;
  /** struct epoll_event, <sys/epoll.h>: uint32_t events at 0, epoll_data_t data; its size in bytes. */
  readonly epollEvent: { readonly size: number; readonly data: number };
  /** The flags of open and fcntl. */
  readonly flags: {
    readonly O_CREAT: number;
    readonly O_NONBLOCK: number;
    readonly O_CLOEXEC: number;
  };
  readonly layouts: Readonly<
    Record<"ipcPerm" | "semid" | "msqid" | "shmid", Layout>
  >;
}

type PlatformError =
  | "EDEADLK"
  | "EOWNERDEAD"
  | "EOPNOTSUPP"
  | "EAGAIN"
  | "ENOMSG"
  | "EIDRM"
  | "ENOSYS"
  | "ETIMEDOUT"
  | "ENAMETOOLONG"
  | "ELOOP"
  | "EOVERFLOW";

type PlatformConstant =
  | "GETPID"
  | "GETVAL"
  | "GETALL"
  | "GETNCNT"
  | "GETZCNT"
  | "SETVAL"
  | "SETALL"
  | "IPC_INFO"
  | "SEM_STAT"
  | "SEM_INFO"
  | "SEM_STAT_ANY"
  | "MSG_EXCEPT"
  | "MSG_COPY"
  | "MSG_STAT"
  | "MSG_INFO"
  | "MSG_STAT_ANY"
  | "SHM_LOCK"
  | "SHM_UNLOCK"
  | "SHM_STAT"
  | "SHM_INFO"
  | "SHM_STAT_ANY"
  | "SHMLBA";

const linuxConstants = {
  GETPID: 11,
  GETVAL: 12,
  GETALL: 13,
  GETNCNT: 14,
  GETZCNT: 15,
  SETVAL: 16,
  SETALL: 17,
  IPC_INFO: 3,
  SEM_STAT: 18,
  SEM_INFO: 19,
  SEM_STAT_ANY: 20,
  MSG_EXCEPT: 0o20000,
  MSG_COPY: 0o40000,
  MSG_STAT: 11,
  MSG_INFO: 12,
  MSG_STAT_ANY: 13,
  SHM_LOCK: 11,
  SHM_UNLOCK: 12,
  SHM_STAT: 13,
  SHM_INFO: 14,
  SHM_STAT_ANY: 15,
} as const;

// struct ipc64_perm, <asm-generic/ipcbuf.h>, Linux
const linuxIpcPerm: Layout = {
  size: 48,
  fields: {
    __key: [0, 4, "signed"], // __kernel_key_t key
    uid: [4, 4], //             __kernel_uid32_t uid
    gid: [8, 4], //             __kernel_gid32_t gid
    cuid: [12, 4], //           __kernel_uid32_t cuid
    cgid: [16, 4], //           __kernel_gid32_t cgid
    mode: [20, 4], //           __kernel_mode_t mode
    __seq: [24, 2], //          unsigned short seq
  },
};

// struct msqid64_ds, <asm-generic/msgbuf.h>, Linux with 64 bits
const linuxMsqid: Layout = {
  size: 120,
  fields: {
    msg_stime: [48, 8, "signed"], // long msg_stime
    msg_rtime: [56, 8, "signed"], // long msg_rtime
    msg_ctime: [64, 8, "signed"], // long msg_ctime
    msg_cbytes: [72, 8], //          unsigned long msg_cbytes
    msg_qnum: [80, 8], //            unsigned long msg_qnum
    msg_qbytes: [88, 8], //          unsigned long msg_qbytes
    msg_lspid: [96, 4, "signed"], // __kernel_pid_t msg_lspid
    msg_lrpid: [100, 4, "signed"], // __kernel_pid_t msg_lrpid
  },
};

// struct shmid64_ds, <asm-generic/shmbuf.h>, Linux with 64 bits
const linuxShmid: Layout = {
  size: 112,
  fields: {
    shm_segsz: [48, 8], //           size_t shm_segsz
    shm_atime: [56, 8, "signed"], // long shm_atime
    shm_dtime: [64, 8, "signed"], // long shm_dtime
    shm_ctime: [72, 8, "signed"], // long shm_ctime
    shm_cpid: [80, 4, "signed"], //  __kernel_pid_t shm_cpid
    shm_lpid: [84, 4, "signed"], //  __kernel_pid_t shm_lpid
    shm_nattch: [88, 8], //          unsigned long shm_nattch
  },
};

const linux = {
  errors: {
    EAGAIN: 11,
    EDEADLK: 35,
    EOWNERDEAD: 130,
    EOPNOTSUPP: 95,
    ENAMETOOLONG: 36,
    ENOSYS: 38,
    ELOOP: 40,
    ENOMSG: 42,
    EIDRM: 43,
    EOVERFLOW: 75,
    ETIMEDOUT: 110,
  },
  errnoLocation: "__errno_location",
  isLinux: true,
  flags: { O_CREAT: 0o100, O_NONBLOCK: 0o4000, O_CLOEXEC: 0o2000000 },
  signals: { SIGURG: 23 },
  // SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN,
  // SIGTTOU, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGWINCH, SIGIO
  programSignals: [1, 2, 3, 10, 12, 14, 15, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29],
  gettid: "gettid",
  SIG_UNBLOCK: 1,
  defaultSymbols: 0,
  variadicOnStack: false,
} as const;

const linuxX86: Abi = {
  ...linux,
  constants: { ...linuxConstants, SHMLBA: 4096 },
  libraries: ["libc.so.6", "libc.musl-x86_64.so.1"],
  tgkill: 234,
  futex: 202,
  epollEvent: { size: 12, data: 4 }, // packed on x86_64 alone
  layouts: {
    ipcPerm: linuxIpcPerm,
    // struct semid64_ds, <asm/sembuf.h>, Linux x86_64
    semid: {
      size: 104,
      fields: {
        sem_otime: [48, 8, "signed"], // __kernel_long_t sem_otime
        sem_ctime: [64, 8, "signed"], // __kernel_long_t sem_ctime
        sem_nsems: [80, 8], //           __kernel_ulong_t sem_nsems
      },
    },
    msqid: linuxMsqid,
    shmid: linuxShmid,
  },
};

const linuxArm: Abi = {
  ...linux,
  constants: { ...linuxConstants, SHMLBA: 4 * 4096 }, // four pages, which can also be larger
  libraries: ["libc.so.6", "libc.musl-aarch64.so.1"],
  tgkill: 131,
  futex: 98,
  epollEvent: { size: 16, data: 8 },
  layouts: {
    ipcPerm: linuxIpcPerm,
    // struct semid64_ds, <asm-generic/sembuf.h>, Linux aarch64
    semid: {
      size: 88,
      fields: {
        sem_otime: [48, 8, "signed"], // long sem_otime
        sem_ctime: [56, 8, "signed"], // long sem_ctime
        sem_nsems: [64, 8], //           unsigned long sem_nsems
      },
    },
    msqid: linuxMsqid,
    shmid: linuxShmid,
  },
};

// Written from the sources of XNU, never run.
const macos: Omit<Abi, "variadicOnStack"> = {
  libraries: ["libSystem.B.dylib"],
  errnoLocation: "__error",
  isLinux: false,
  flags: { O_CREAT: 0x200, O_NONBLOCK: 0x4, O_CLOEXEC: 0x1000000 },
  epollEvent: { size: 0, data: 0 },
  signals: { SIGURG: 16 },
  programSignals: [1, 2, 3, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31],
  gettid: "pthread_main_np",
  tgkill: -1,
  futex: -1,
  SIG_UNBLOCK: 2,
  defaultSymbols: -2,
  errors: {
    EAGAIN: 35,
    EDEADLK: 11,
    EOWNERDEAD: 105,
    EOPNOTSUPP: 102,
    ETIMEDOUT: 60,
    ELOOP: 62,
    ENAMETOOLONG: 63,
    ENOSYS: 78,
    EOVERFLOW: 84,
    EIDRM: 90,
    ENOMSG: 91,
  },
  constants: {
    GETPID: 4,
    GETVAL: 5,
    GETALL: 6,
    GETNCNT: 3,
    GETZCNT: 7,
    SETVAL: 8,
    SETALL: 9,
    IPC_INFO: -1,
    SEM_STAT: -1,
    SEM_INFO: -1,
    SEM_STAT_ANY: -1,
    MSG_EXCEPT: -1,
    MSG_COPY: -1,
    MSG_STAT: -1,
    MSG_INFO: -1,
    MSG_STAT_ANY: -1,
    SHM_LOCK: -1,
    SHM_UNLOCK: -1,
    SHM_STAT: -1,
    SHM_INFO: -1,
    SHM_STAT_ANY: -1,
    SHMLBA: 4096,
  },
  layouts: {
    // struct __ipc_perm_new, <sys/ipc.h>, macOS, packed to 4 bytes as all below
    ipcPerm: {
      size: 24,
      fields: {
        uid: [0, 4], //             uid_t uid
        gid: [4, 4], //             gid_t gid
        cuid: [8, 4], //            uid_t cuid
        cgid: [12, 4], //           gid_t cgid
        mode: [16, 2], //           mode_t mode
        __seq: [18, 2], //          unsigned short _seq
        __key: [20, 4, "signed"], // key_t _key
      },
    },
    // struct __semid_ds_new, <sys/sem.h>, macOS
    semid: {
      size: 72,
      fields: {
        sem_nsems: [28, 2], //           unsigned short sem_nsems
        sem_otime: [32, 8, "signed"], // time_t sem_otime
        sem_ctime: [44, 8, "signed"], // time_t sem_ctime
      },
    },
    // struct __msqid_ds_new, <sys/msg.h>, macOS
    msqid: {
      size: 116,
      fields: {
        msg_cbytes: [32, 8], //          msglen_t msg_cbytes
        msg_qnum: [40, 8], //            msgqnum_t msg_qnum
        msg_qbytes: [48, 8], //          msglen_t msg_qbytes
        msg_lspid: [56, 4, "signed"], // pid_t msg_lspid
        msg_lrpid: [60, 4, "signed"], // pid_t msg_lrpid
        msg_stime: [64, 8, "signed"], // time_t msg_stime
        msg_rtime: [76, 8, "signed"], // time_t msg_rtime
        msg_ctime: [88, 8, "signed"], // time_t msg_ctime
      },
    },
    // struct __shmid_ds_new, <sys/shm.h>, macOS
    shmid: {
      size: 76,
      fields: {
        shm_segsz: [24, 8], //           size_t shm_segsz
        shm_lpid: [32, 4, "signed"], //  pid_t shm_lpid
        shm_cpid: [36, 4, "signed"], //  pid_t shm_cpid
        shm_nattch: [40, 2], //          shmatt_t shm_nattch
        shm_atime: [44, 8, "signed"], // time_t shm_atime
        shm_dtime: [52, 8, "signed"], // time_t shm_dtime
        shm_ctime: [60, 8, "signed"], // time_t shm_ctime
      },
    },
  },
};

const platforms: Readonly<Record<string, Abi>> = {
  "linux x86_64": linuxX86,
  "linux aarch64": linuxArm,
  "darwin x86_64": { ...macos, variadicOnStack: false },
  "darwin aarch64": {
    ...macos,
    constants: { ...macos.constants, SHMLBA: 4 * 4096 },
    variadicOnStack: true,
  },
};

/** Whether this platform has an entry. Importing never fails: the first call does. */
export const supported: boolean = backend !== undefined &&
  backend.platform() in platforms;

/** What holds on this platform; elsewhere something to name constants by. */
export const abi: Abi = platforms[backend?.platform() ?? ""] ?? linuxX86;

// struct seminfo, <linux/sem.h>: int each
export const seminfo: Layout = {
  size: 40,
  fields: {
    semmap: [0, 4, "signed"],
    semmni: [4, 4, "signed"],
    semmns: [8, 4, "signed"],
    semmnu: [12, 4, "signed"],
    semmsl: [16, 4, "signed"],
    semopm: [20, 4, "signed"],
    semume: [24, 4, "signed"],
    semusz: [28, 4, "signed"],
    semvmx: [32, 4, "signed"],
    semaem: [36, 4, "signed"],
  },
};

// struct msginfo, <linux/msg.h>: int each, the last unsigned short
export const msginfo: Layout = {
  size: 32,
  fields: {
    msgpool: [0, 4, "signed"],
    msgmap: [4, 4, "signed"],
    msgmax: [8, 4, "signed"],
    msgmnb: [12, 4, "signed"],
    msgmni: [16, 4, "signed"],
    msgssz: [20, 4, "signed"],
    msgtql: [24, 4, "signed"],
    msgseg: [28, 2],
  },
};

// struct shminfo64, <asm-generic/shmbuf.h>: unsigned long each
export const shminfo: Layout = {
  size: 72,
  fields: {
    shmmax: [0, 8],
    shmmin: [8, 8],
    shmmni: [16, 8],
    shmseg: [24, 8],
    shmall: [32, 8],
  },
};

// struct shm_info, <linux/shm.h>: int, then unsigned long each
export const shm_info: Layout = {
  size: 48,
  fields: {
    used_ids: [0, 4, "signed"],
    shm_tot: [8, 8],
    shm_rss: [16, 8],
    shm_swp: [24, 8],
    swap_attempts: [32, 8],
    swap_successes: [40, 8],
  },
};
