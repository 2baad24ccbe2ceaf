"""What both peers in Python need: the struct, and System V shared memory by way of ctypes."""

import ctypes
import os

IPC_CREAT, IPC_EXCL, IPC_RMID, IPC_STAT, SHM_RDONLY = 0o1000, 0o2000, 0, 2, 0o10000
SIZE = 1024

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]


class Message(ctypes.Structure):
    """struct { int id; size_t size; char text[1008]; }, laid out as the C compiler does it."""

    _fields_ = [
        ("id", ctypes.c_int),  # 1; 0 while there is no message yet
        ("size", ctypes.c_size_t),  # of the text in bytes, without the NUL
        ("text", ctypes.c_ubyte * (SIZE - 2 * ctypes.sizeof(ctypes.c_size_t))),  # ends in NUL
    ]


def check(result, call):
    """Turns the -1 of a failed call into an OSError."""
    if result in (-1, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def key_of(path):
    return check(libc.ftok(os.fsencode(path), 1), "ftok")


def record_of(segment):
    """Who attached or detached last, and how many are attached: shm_lpid and shm_nattch of Linux on 64 bits."""
    record = ctypes.create_string_buffer(256)
    check(libc.shmctl(segment, IPC_STAT, record), "shmctl")
    last_pid = ctypes.c_int.from_buffer(record, 84).value
    attached = ctypes.c_ulong.from_buffer(record, 88).value
    return last_pid, attached
