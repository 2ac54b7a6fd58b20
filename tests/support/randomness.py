"""A Linux without random bytes, as in some sandboxes."""

import ctypes
import errno
import os
import platform
import struct

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_ALL_THREADS = 1
_ALLOW = 0x7FFF0000
_FAIL = 0x00050000

# The numbers of seccomp and getrandom.
_CALLS = {"x86_64": (317, 318), "aarch64": (277, 278)}


def withhold_randomness() -> None:
    """Makes `getrandom` fail in every thread of this process, permanently."""
    seccomp, getrandom = _CALLS[platform.machine()]
    instructions = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),  # load the number of the call
            (0x15, 0, 1, getrandom),  # skip one instruction unless it is this one
            (0x06, 0, 0, _FAIL | errno.EIO),
            (0x06, 0, 0, _ALLOW),
        )
    )
    buffer = ctypes.create_string_buffer(instructions)
    program = struct.pack("@HxxxxxxP", len(instructions) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for outcome in (
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        libc.syscall(seccomp, _SET_MODE_FILTER, _ALL_THREADS, program),
    ):
        if outcome != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
