"""What can be wrong with the sandbox itself; what a confined process did wrong is a `Stop`."""

from trtlab.errors import TrtLabError


class SandboxError(TrtLabError):
    """A process could not be confined, or does not talk any more."""


class SandboxMissing(SandboxError):
    """The programs that confine are not installed, or not allowed to on this machine."""
