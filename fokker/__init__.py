"""Energy-based diffusion models of molecules whose samples and dynamics agree."""

from importlib.metadata import version

__version__ = version("fokker")
