"""JAX in the process of the command itself, where there is no worker to compute."""

import os

import jax

from ..distributed.cluster import joining
from ..distributed.runs.config import ConfigError


def on_cpu() -> None:
    """Let JAX be what it is in a worker on CPUs, whatever the user asks of others."""
    environment = joining.worker_environment(on_gpu=False)
    os.environ.update(environment)
    # JAX was imported with the display, and has read its part of the environment.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", environment.get("JAX_COMPILATION_CACHE_DIR"))


def require() -> None:
    """ConfigError unless JAX finds a device of the kind that the user wants, by JAX_PLATFORMS."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # The latter where the plugin is not installed at all.
        wanted = os.environ.get("JAX_PLATFORMS", "")
        reason = str(error).partition("\n")[0].partition(" (you may need")[0]
        why = f" ({reason})" if reason else ""
        raise ConfigError(
            f"JAX_PLATFORMS={wanted}: JAX finds no such device here{why}: unset it, or set it to cpu"
        ) from None
