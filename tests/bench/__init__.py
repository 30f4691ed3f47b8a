"""`make bench`: the figures of the README, measured on the kind cluster, against their bars."""
