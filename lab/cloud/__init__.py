"""An embedded AWS: moto, made as strict and as slow as AWS is. See `cloud.py` for its API."""

from lab.cloud.calls import Call, Credentials, Principal
from lab.cloud.cloud import Cloud
from lab.cloud.machinery import AgentUnreachable, Delivery, Machinery, Nothing
from lab.cloud.settings import Latencies, Settings

__all__ = [
    "AgentUnreachable",
    "Call",
    "Cloud",
    "Credentials",
    "Delivery",
    "Latencies",
    "Machinery",
    "Nothing",
    "Principal",
    "Settings",
]
