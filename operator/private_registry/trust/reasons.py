"""Why a node does or does not trust a registry, in words that a program may act on and with the fix for a person.

An agent reports them in its NodeTrust; the operator passes reason and message on as they are.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The reasons of one registry on one node."""

    TRUSTED = "Trusted"
    # on the way
    APPLYING = "Applying"
    UNDOING = "Undoing"
    # the node
    NO_RUNTIME = "NoRuntime"
    RUNTIME_UNAVAILABLE = "RuntimeUnavailable"
    CONFIG_PATH_UNSET = "ConfigPathUnset"
    CONFIG_PATH_UNREADABLE = "ConfigPathUnreadable"
    DAEMON_CONFIG_INVALID = "DaemonConfigInvalid"
    NOT_HONOURED = "NotHonoured"
    CONFLICT = "Conflict"
    FILE_SYSTEM_ERROR = "FileSystemError"
    # the registry, as seen from the node
    UNREACHABLE = "Unreachable"
    CERTIFICATE_INVALID = "CertificateInvalid"
    SCHEME_MISMATCH = "SchemeMismatch"
    PROOF_FAILED = "ProofFailed"
    # the entry
    ENTRY_NOT_UNDERSTOOD = "EntryNotUnderstood"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    HOST_TAKEN = "HostTaken"


@dataclass(frozen=True)
class Verdict:
    """What an agent concludes of a registry: the reason and, unless it is trusted, what is wrong and what cures it.

    The message of one that is trusted is what people have to know all the same.
    """

    reason: Reason
    message: str = ""

    @property
    def trusted(self) -> bool:
        return self.reason is Reason.TRUSTED


TRUSTED = Verdict(Reason.TRUSTED)
