"""A seccomp filter, as bubblewrap loads it: refuses calls to the host's kernel that no lab needs.

Those that need privileges are not named: a job has none. What is left are the calls by which
unprivileged programs have broken out of sandboxes, and user namespaces, in which they would have
privileges again. The filter is a classic BPF program. Source: the kernel's documentation of
seccomp filters.
"""

import errno
import platform
import struct

# AUDIT_ARCH_* in linux/audit.h, by machine.
_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
# Call numbers by machine: asm/unistd_64.h of x86-64, asm-generic/unistd.h for the other.
_REFUSED = {
    # Keyrings belong to a user id and to no namespace.
    "add_key": {"x86_64": 248, "aarch64": 217},
    "request_key": {"x86_64": 249, "aarch64": 218},
    "keyctl": {"x86_64": 250, "aarch64": 219},
    # Code and structures of the kernel's that programs can build.
    "bpf": {"x86_64": 321, "aarch64": 280},
    "perf_event_open": {"x86_64": 298, "aarch64": 241},
    "userfaultfd": {"x86_64": 323, "aarch64": 282},
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},
    # Other processes.
    "ptrace": {"x86_64": 101, "aarch64": 117},
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "process_vm_writev": {"x86_64": 311, "aarch64": 271},
    # Namespaces.
    "unshare": {"x86_64": 272, "aarch64": 97},
    "setns": {"x86_64": 308, "aarch64": 268},
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435  # on both
_CLONE_NEWUSER = 0x1000_0000
_X32_CALLS = 0x4000_0000  # numbers from here on are x86-64's second table

# Classic BPF: linux/bpf_common.h and linux/seccomp.h.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
# Offsets in struct seccomp_data; the low half of an argument comes first on both machines.
_CALL, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def is_supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _ARCHITECTURES


def filter_program() -> bytes:
    """Return the filter for this machine, one of those that `is_supported` knows."""
    machine = platform.machine()
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        # A 32-bit program has other numbers.
        _instruction(_JUMP_EQUAL, _ARCHITECTURES[machine], if_true=1),
        _refuse(errno.ENOSYS),
        _instruction(_LOAD, _CALL),
    ]
    for test, number, code in (
        (_JUMP_AT_LEAST, _X32_CALLS, errno.ENOSYS),
        # Its flags are in memory, where a filter cannot look; without it, libraries use clone.
        (_JUMP_EQUAL, _CLONE3, errno.ENOSYS),
        *((_JUMP_EQUAL, numbers[machine], errno.EPERM) for numbers in _REFUSED.values()),
    ):
        program += [_instruction(test, number, if_false=1), _refuse(code)]
    program += [
        _instruction(_JUMP_EQUAL, _CLONE[machine], if_false=3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_JUMP_BITS, _CLONE_NEWUSER, if_false=1),
        _refuse(errno.EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _refuse(error: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | error)
