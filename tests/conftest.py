"""Every test runs with jaxtyping's shapes and the annotations of fokker's functions checked by beartype."""

import signal

from jaxtyping import install_import_hook

install_import_hook("fokker", "beartype.beartype")

# Shells start background jobs with SIGINT ignored, and then Ctrl-C raises nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
