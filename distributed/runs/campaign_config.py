"""What a campaign is: models × systems × integrator settings × seeds, each with replicas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from ...model.config import STRICT, Count, Ending, Integrator, NotNegative, Positive
from ..campaigns.assessment import Stop
from .config import ConfigError, from_dict, to_dict

GROWING = ("replicas", "frames", "systems", "seeds", "models", "settings")
"""What may grow when a campaign goes on."""
FREE = ("reference", "stop_when", "lost_share")
"""What may be anything then."""
STARTS = ("samples", "data")
"""Where replicas begin, without a file."""


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | int | Mapping) else value


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Langevin dynamics; what is left out is as the model's run had it."""

    integrator: Integrator | None = None
    """The paper's (OpenMM's LangevinIntegrator) or BAOAB."""
    timestep: Positive | None = None
    """Time step (ps)."""
    inner_steps: Count | None = None
    """Parts of each time step, made with the forces of the springs alone."""
    friction: NotNegative | None = None
    """Friction (1/ps)."""
    stride: Count | None = None
    """Steps from one kept frame to the next."""
    burn_in: Annotated[int, Field(ge=0)] | None = None
    """Steps of each replica that are dropped first."""
    force_time: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Diffusion time at which forces are read."""

    @property
    def given(self) -> dict[str, Any]:
        """What is not left out."""
        return {name: value for name, value in to_dict(self).items() if value is not None}


@dataclass(frozen=True, config=STRICT)
class CampaignConfig:
    """Simulations of many systems by many replicas."""

    models: Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
    """Model files, or folders of runs."""
    replicas: Count
    """Chains of each system."""
    frames: Count
    """Frames of each replica, at most."""
    systems: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """Sequences such as AC, or structures; none of the plane of a toy."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], BeforeValidator(_several)] = (0,)
    """Each makes replicas of its own."""
    settings: Annotated[tuple[Settings, ...], BeforeValidator(_several), Field(min_length=1)] = (Settings(),)
    """Each makes replicas of its own."""
    start: str = "samples"
    """Where replicas begin: samples of the model, data of its run, or a .npy file of frames (nm)."""
    reference: str | None = None
    """Dataset that all is compared with (none: that of the run, where a model is of one)."""
    ends_unless: Ending = "physical"
    """What a replica has to stay to go on: finite; or physical, without broken bonds and within range."""
    lost_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Part of a system's frames that lost replicas may cost; above it the system fails."""
    batch: Count | None = None
    """Replicas that advance together (none: measured when the campaign is made)."""
    segment: Count | None = None
    """Frames of each replica that are computed and saved at a time (none: of about 20 seconds)."""
    stop_when: Stop | None = None
    """None: after so many frames."""

    def __post_init__(self):
        for name in ("models", "systems", "seeds", "settings"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one of them twice")


class _Loader(yaml.SafeLoader):
    """One that refuses a name that is given twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ConfigError("is there twice", twice[0])
        return super().construct_mapping(node, deep)


def load(path: Path) -> CampaignConfig:
    """The campaign of a YAML file. ConfigError names the file, and what is wrong with it."""
    try:
        # A safe loader, of plain values alone.
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        if not isinstance(values, dict):
            raise ConfigError("has to name models, replicas and frames, each in a line: name: value")
        return from_dict(values, CampaignConfig)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ConfigError as error:
        if not error.field:
            raise ConfigError(f"{path} {error.problem}") from None
        raise ConfigError(f"{error.problem} (in {path})", error.field) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such as the 40th of May.
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from None


def require_growth(old: CampaignConfig, new: CampaignConfig) -> None:
    """ConfigError, with the field's name, unless a campaign can go on as another: grown, and not changed."""
    for name, was, now in ((n, getattr(old, n), getattr(new, n)) for n in to_dict(old)):
        if name in FREE or was == now or (name in ("batch", "segment") and now is None):
            continue
        if name in ("replicas", "frames") and now > was:
            continue
        if name in ("systems", "seeds") and set(now) >= set(was):
            continue
        if name in ("models", "settings") and now[: len(was)] == was:
            continue
        if name == "settings" and len(now) >= len(was):
            index = next(i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b)
            field = next(f for f in to_dict(was[index]) if getattr(was[index], f) != getattr(now[index], f))
            name, was, now = (
                f"settings.{index}.{field}",
                getattr(was[index], field),
                getattr(now[index], field),
            )
        raise ConfigError(
            f"the campaign was made with {_shown(was)}, not {_shown(now)}: take another --name for it; only "
            f"{', '.join(GROWING)} can grow, and {', '.join(FREE)} be changed",
            name,
        )


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(one, Settings) for one in value):
        return f"{len(value)} of them"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
