"""A sender in Python, which shares nothing with the listener but a path.

    sender.py PATH PID MESSAGE

It does what `sigshm --path PATH --to PID MESSAGE` does, but is short: it does not look whether PID has a
handler, so be sure that it has; it removes no segment that somebody has left behind, nor its own if a signal kills it;
and it believes that the message has been read as soon as PID has looked, even if somebody else's signal made it look
before the message was there.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

from peer import IPC_CREAT, IPC_EXCL, IPC_RMID, SIZE, Message, check, key_of, libc, record_of


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: sender.py PATH PID MESSAGE")
    path, listener, text = sys.argv[1], int(sys.argv[2]), os.fsencode(sys.argv[3])
    if listener <= 0:
        sys.exit("sender.py: to kill, 0 and less mean several processes")
    message = Message(id=1, size=len(text))
    if len(text) >= len(message.text):
        sys.exit("sender.py: the message is too long")
    message.text[: len(text)] = text

    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one sender at a time
        segment = check(libc.shmget(key_of(path), SIZE, IPC_CREAT | IPC_EXCL | 0o600), "shmget")
        try:
            address = check(libc.shmat(segment, None, 0), "shmat")
            # The id last: a listener that somebody else wakes must not find half a message.
            shared, start = Message.from_address(address), Message.size.offset
            ctypes.memmove(address + start, ctypes.byref(message, start), SIZE - start)
            shared.id = message.id
            os.kill(listener, signal.SIGUSR1)

            # The kernel's record tells that it has been read: the listener was the last to attach or detach, and
            # only we are attached. Nobody says so.
            deadline = time.monotonic() + 5
            while record_of(segment) != (listener, 1):
                if time.monotonic() > deadline:
                    sys.exit(f"sender.py: PID {listener} has not read the message")
                time.sleep(0.001)
            print("# All done. Freeing memory.")
            libc.shmdt(address)
        finally:
            check(libc.shmctl(segment, IPC_RMID, None), "shmctl")


main()
