# sysv_ipc in the same loops. Each line on stdin asks for a batch of so many rounds, whose numbers go
# out as JSON.
#
#     contender.py ROW KEY KEY

import json
import multiprocessing
import sys
from time import perf_counter_ns

import sysv_ipc

row, first_key, second_key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if row.startswith("message"):
    queue = sysv_ipc.MessageQueue(first_key)
else:
    first = sysv_ipc.Semaphore(first_key)
    second = sysv_ipc.Semaphore(second_key)
text = b"x" * 64


def timed(run):
    def batch(count):
        start = perf_counter_ns()
        run(count)
        return {"ns": (perf_counter_ns() - start) / count}
    return batch


def pairs(count):
    for _ in range(count):
        first.acquire()
        first.release()


def acquire(count):
    first.undo = True
    pairs(count)


def try_acquire(count):
    first.undo = True
    for _ in range(count):
        first.acquire(0)
        first.release()


def value(count):
    for _ in range(count):
        first.value


def lock(count):
    mutex = multiprocessing.Lock()
    for _ in range(count):
        mutex.acquire()
        mutex.release()


def message(count):
    for _ in range(count):
        queue.send(text, False)
        queue.receive(False)


def hand_over(count):
    times = []
    for _ in range(count):
        start = perf_counter_ns()
        second.release()
        first.acquire()
        times.append(perf_counter_ns() - start)
    return {"us": sorted(times)[count // 2] / 1000}


def answer(_):
    while True:
        second.acquire()
        first.release()


batch = {
    "acquire": timed(acquire),
    "try-acquire": timed(try_acquire),
    "increment": timed(pairs),
    "increment-undo": timed(acquire),
    "value": timed(value),
    "lock": timed(lock),
    "message": timed(message),
    "sync": hand_over,
    "answer-sync": answer,
}[row]
for line in sys.stdin:
    print(json.dumps(batch(int(line))), flush=True)
