"""Run a command with the network cut: python tools/offline.py COMMAND [ARGUMENT ...].

On Linux the command gets a network namespace of its own that holds the loopback device
and nothing else, so Jupyter kernels work and every connection beyond this machine fails.
Where the system does not allow that, the command runs with the network as it is, and a
line says so; with --strict it does not run at all.
"""

import ctypes
import os
import socket
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def cut_network() -> bool:
    """Move this process into an empty network namespace; tell whether that worked."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl  # Unix only

    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    # Root needs no user namespace; others get one in which they may make the network's.
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        for name, content in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(content)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack_from("h", request, 16)[0] | IFF_UP
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))
    return True


def main() -> None:
    """Cut the network, then become the command."""
    arguments = sys.argv[1:]
    strict = arguments[:1] == ["--strict"]
    command = arguments[strict:]
    if not command:
        sys.exit(__doc__)
    if not cut_network():
        message = "this system allows no network namespaces: the network is NOT cut"
        if strict:
            sys.exit(f"offline: {message}, so nothing was run")
        print(f"offline: {message}", file=sys.stderr)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
