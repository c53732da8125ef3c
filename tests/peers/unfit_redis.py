"""Servers that roompool refuses."""

from deploy.local.valkey import Valkey


class EvictingValkey(Valkey):
    """One that forgets what it likes when its memory is full."""

    def _argv(self) -> list[str]:
        return [*super()._argv(), "--maxmemory-policy", "allkeys-lru"]


class ClusterValkey(Valkey):
    """One that thinks it is a part of a cluster."""

    def _argv(self) -> list[str]:
        return [*super()._argv(), "--cluster-enabled", "yes"]
