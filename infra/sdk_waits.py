"""What Pulumi's SDK waits for without need; sparing it makes a preview a third faster (bench.engine)."""

from __future__ import annotations

import asyncio

import pulumi
from pulumi.runtime.settings import _get_rpc_manager


def spare_debug_lines() -> None:
    """Each of them, several a resource, is a call that waits for the engine's answer."""
    pulumi.log.debug = lambda *_, **__: None


def wait_for_calls_first() -> None:
    """Give the SDK a call to wait for when the program has ended; inside a program, which runs in its event loop.

    Without one it looks before any registration has begun, and waits for the outputs instead: thousands of them, all
    anew whenever one is there.
    """
    _get_rpc_manager().rpcs.append(asyncio.ensure_future(asyncio.sleep(0)))
