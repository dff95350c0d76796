import os

import sysv_ipc

busy = sysv_ipc.Semaphore(int(os.environ["BUSY_KEY"]))
busy.undo = True  # each worker's operations are undone when it dies


def pre_request(worker, req):
    busy.release()  # adds 1


def post_request(worker, req, environ, resp):
    busy.acquire()  # subtracts 1, and never waits as this worker has added it
