"""Who holds a lease: host, boot, process and its start time, so that another process can see that the holder is dead.

Only what can be proven counts. A different boot or a different PID namespace proves nothing (host names repeat in containers),
so those leases simply run out.
"""

import os
import secrets
import socket
from pathlib import Path

PROC = Path("/proc")


def me() -> str:
    """`host|boot|pid|start|nonce` of this process; the nonce tells apart two holders inside it."""
    pid = os.getpid()
    return "|".join((socket.gethostname().replace("|", "_"), _boot(), str(pid), _started(pid) or "-", secrets.token_hex(4)))


def is_dead(owner: str) -> bool:
    """True only if the owner was a process of this very host and is certainly gone."""
    host, boot, pid, start = (*owner.split("|"), "", "", "", "")[:4]
    here = _boot()
    if here == "-" or (host, boot) != (socket.gethostname().replace("|", "_"), here) or not pid.isdecimal() or start in ("", "-"):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # somebody is there; the start time tells whether it is the owner
    now = _started(int(pid))
    return now is not None and now != start


def _boot() -> str:
    """This boot of this PID namespace, or `-` where there is no /proc."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{(PROC / 'self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return "-"


def _started(pid: int) -> str | None:
    """Start time of a process in ticks since boot; `gone` for one that only waits to be reaped."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "gone" if fields[0] in "ZX" else fields[19]
