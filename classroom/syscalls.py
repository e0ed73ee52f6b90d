"""Which calls of the kernel are refused to a student's code?

Those that give memory which lies in no process, where nobody counts it, and those that were ways
out of sandboxes before and that no exercise needs. bubblewrap hands the kernel this filter, a
program for its packet filter (seccomp(2), linux/filter.h).
"""

import errno
import platform
import struct

# By machine: how the kernel names it (linux/audit.h), and its numbers of these calls.
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
REFUSED = {
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "bpf": (321, 280),
    "perf_event_open": (298, 241), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "open_tree": (428, 428), "fsopen": (430, 430),
    "open_by_handle_at": (304, 265),
}  # fmt: skip
# Of these, which argument is looked at, through which mask, and what it may be.
CONDITIONS = {
    "clone": ((56, 220), 0, 0x10000000, (0,)),  # no CLONE_NEWUSER
    "mmap": ((9, 222), 3, 0x21, (0x00, 0x01, 0x20)),  # not MAP_SHARED and MAP_ANONYMOUS at once
    "socket": ((41, 198), 0, 0xFFFFFFFF, (1, 2, 10)),  # AF_UNIX, AF_INET, AF_INET6: no neighbours
}
CLONE3 = 435  # hides its flags; who is told that there is none takes clone

LOAD, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
NUMBER, MACHINE, ARGUMENTS = 0, 4, 16  # where they lie in seccomp_data
KILL, ALLOW, FAIL = 0x80000000, 0x7FFF0000, 0x00050000


def program() -> bytes:
    """Return the filter for this machine; empty where its calls are not known here."""
    name, column = MACHINES.get(platform.machine(), (0, 0))
    if not name:
        return b""
    steps = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, name), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    steps += _fail((EQUAL, 0, 1, CLONE3), errno.ENOSYS)
    steps += _fail((AT_LEAST, 0, 1, 0x40000000))  # x86-64 has other numbers for the same there
    for numbers in REFUSED.values():
        steps += _fail((EQUAL, 0, 1, numbers[column]))
    for numbers, argument, mask, allowed in CONDITIONS.values():
        value = [(LOAD, 0, 0, ARGUMENTS + 8 * argument), (AND, 0, 0, mask)]
        value += [(EQUAL, len(allowed) - i, 0, one) for i, one in enumerate(allowed)]
        value += [(RETURN, 0, 0, FAIL | errno.EPERM), (RETURN, 0, 0, ALLOW)]
        steps += [(EQUAL, 0, len(value), numbers[column]), *value]
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, (RETURN, 0, 0, ALLOW)])


def _fail(where: tuple[int, ...], error: int = errno.EPERM) -> list[tuple[int, ...]]:
    return [where, (RETURN, 0, 0, FAIL | error)]
