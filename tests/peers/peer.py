"""Does with sysv_ipc what it is told in lines, and answers each with a line."""

import hashlib
import sys

import sysv_ipc


def key(name):
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF or 1


def ftok(path, project):
    return sysv_ipc.ftok(path, int(project), silence_warning=True)


def create_semaphore(key, value):
    return sysv_ipc.Semaphore(int(key), sysv_ipc.IPC_CREX, initial_value=int(value)).id


def value(key):
    return sysv_ipc.Semaphore(int(key)).value


def operate(key, delta, undo=None):
    semaphore, delta = sysv_ipc.Semaphore(int(key)), int(delta)
    semaphore.undo = undo is not None
    if delta > 0:
        semaphore.release(delta)
    else:
        semaphore.acquire(None, -delta)
    return "done"


def create_queue(key):
    return sysv_ipc.MessageQueue(int(key), sysv_ipc.IPC_CREX).id


def send(key, type, text):
    sysv_ipc.MessageQueue(int(key)).send(text.encode(), True, int(type))
    return "done"


def receive(key, type):
    message, type = sysv_ipc.MessageQueue(int(key)).receive(True, int(type))
    return f"{type} {message.decode()}"


def create_memory(key, size):
    return sysv_ipc.SharedMemory(int(key), sysv_ipc.IPC_CREX, size=int(size)).id


def write(key, offset, text):
    sysv_ipc.SharedMemory(int(key)).write(text.encode(), int(offset))
    return "done"


def read(key, offset, length):
    return sysv_ipc.SharedMemory(int(key)).read(int(length), int(offset)).decode()


sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
for line in sys.stdin:
    verb, *words = line.split()
    print(globals()[verb](*words), flush=True)
