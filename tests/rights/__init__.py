"""Least privilege, measured: what the installation grants against what the requests of the tests needed."""

DIRECTORY = "RIGHTS_DIRECTORY"
"""The variable by which `tests.suite` tells its stages where to keep what they used; unset, nothing is kept."""
PART = "RIGHTS_PART"
"""The variable by which it tells them under which name."""
