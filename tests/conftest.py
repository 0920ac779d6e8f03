"""Every test runs with jaxtyping's shapes and the annotations of fokker's functions checked by beartype."""

from jaxtyping import install_import_hook

install_import_hook("fokker", "beartype.beartype")
