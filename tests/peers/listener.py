"""A listener in Python, which shares nothing with the sender but a path.

    listener.py PATH

It does what `sigshm --listen --path PATH` does. Prints its PID and waits for SIGUSR1; prints the message and ends. To
stay short it prints the bytes as they are, and takes what lies there from whoever has put it there.
"""

import ctypes
import os
import signal
import sys

from peer import SHM_RDONLY, SIZE, Message, check, key_of, libc


def look(path):
    """Returns the text of the message, or None if there is none: the signal may have been anybody's."""
    segment = libc.shmget(key_of(path), SIZE, 0)
    if segment == -1:
        return None
    address = check(libc.shmat(segment, None, SHM_RDONLY), "shmat")
    # Copied once, and only then looked at: the sender could still write.
    message = Message.from_buffer_copy(ctypes.string_at(address, SIZE))
    libc.shmdt(address)
    if message.id == 0:
        return None  # a segment, but nothing in it yet
    if message.id != 1 or message.size >= len(message.text) or message.text[-1] != 0:
        sys.exit("listener.py: what the segment holds is not a message")
    return bytes(message.text[: message.size])


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: listener.py PATH")
    # Blocked, SIGUSR1 waits until sigwait takes it. The handler is there to be seen: a sender may look for one.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    print(f"# Listening on PID={os.getpid()}", flush=True)
    text = None
    while text is None:
        number = signal.sigwait([signal.SIGUSR1])
        text = look(sys.argv[1])
    print(f"# PID={os.getpid()} received signal {int(number)}", flush=True)
    sys.stdout.buffer.write(b"# Received: " + text + b"\n")


main()
