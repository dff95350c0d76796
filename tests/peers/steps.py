"""Performs steps of semaphore sets with libc's semop, as it is told in lines: operate ID STEP, try
ID STEP, values ID SIZE, where a step is index,delta[,undo] index,delta[,undo] and so on."""

import ctypes
import errno
import sys

libc = ctypes.CDLL(None, use_errno=True)
GETALL, SEM_UNDO, IPC_NOWAIT = 13, 0x1000, 0o4000


class sembuf(ctypes.Structure):
    _fields_ = [("num", ctypes.c_ushort), ("op", ctypes.c_short), ("flg", ctypes.c_short)]


def perform(id, step, flags):
    parts = [part.split(",") for part in step]
    operations = (sembuf * len(parts))(
        *(sembuf(int(i), int(delta), flags | (SEM_UNDO if undo else 0)) for i, delta, *undo in parts)
    )
    if libc.semop(int(id), operations, len(parts)) == 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]


def operate(id, *step):
    return perform(id, step, 0)


def attempt(id, *step):
    return perform(id, step, IPC_NOWAIT)


def values(id, size):
    found = (ctypes.c_ushort * 16)()
    if libc.semctl(int(id), 0, GETALL, found) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return ",".join(str(value) for value in found[: int(size)])


verbs = {"operate": operate, "try": attempt, "values": values}
for line in sys.stdin:
    verb, *words = line.split()
    print(verbs[verb](*words), flush=True)
