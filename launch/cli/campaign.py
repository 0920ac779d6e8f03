"""`fokker campaign`: simulations of many systems, from a file that says which."""

import socket
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from ...distributed.config import ClusterConfig
from ...distributed.runs.config import ConfigError
from ...model.config import STRICT, Count
from . import parsing
from .command import Command
from .values import HomePath, matching

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

SIMULATING = (
    *("address", "device", "simulate_on", "place_deadline", "simulators", "segment_deadline", "autoscaled"),
)
OF_TRAINING = {(ClusterConfig, one.name) for one in fields(ClusterConfig) if one.name not in SIMULATING}
"""Settings of clusters that only a training has."""
FAILURES = ("number", "system", "what", "replica", "last good step", "reason")
PROGRESS = ("system", "segments", "done", "steps/s of an actor")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is no file: name the YAML file of a campaign")
    return path


def _folder(path: Path) -> Path:
    if not (path / "campaign.json").is_file():
        raise ValueError(f"{path} is not the folder of a campaign: campaign.json is missing")
    return path


Folder = Annotated[HomePath, AfterValidator(_folder)]
CampaignFile = Annotated[HomePath, AfterValidator(_file)]
CampaignName = Annotated[str | None, matching(r"[\w.+-]+", "has to be a name for a folder")]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class RunArguments:
    """The same command again goes on, with what was added to the file since: only what is missing runs."""

    file: tyro.conf.Positional[CampaignFile]
    """YAML file that says which models, systems and replicas."""
    name: CampaignName = None
    """Of its folder (none: that of the file)."""
    campaigns_dir: HomePath = Path("campaigns")
    """Folder of all campaigns."""
    dry_run: bool = False
    """Say what would run, and how long that would take, and do nothing."""
    cluster: ClusterConfig = ClusterConfig()


@dataclass(frozen=True, config=STRICT)
class FolderArguments:
    """Also while it runs, from another terminal."""

    campaign: tyro.conf.Positional[Folder]
    """Folder of the campaign, such as campaigns/NAME."""


@dataclass(frozen=True, config=STRICT)
class VerifyArguments:
    """Segments are drawn at random and computed again: the bits have to be the same."""

    campaign: tyro.conf.Positional[Folder]
    """Folder of the campaign, such as campaigns/NAME."""
    count: Count = 3
    """Segments."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the draw."""


@dataclass(frozen=True, config=STRICT)
class ReplayArguments:
    """The segment in which a replica was lost runs again up to that step, and every step of it is kept."""

    campaign: tyro.conf.Positional[Folder]
    """Folder of the campaign, such as campaigns/NAME."""
    failure: tyro.conf.Positional[Count]
    """Its number, as fokker campaign status lists it."""
    out: HomePath | None = None
    """File, .xtc of a molecule and .npy of a toy (none: failure-NUMBER in the campaign's folder)."""


@dataclass(frozen=True, config=STRICT)
class ExportArguments:
    """A file for each replica, in the order of time, with the beads as PDB beside it."""

    campaign: tyro.conf.Positional[Folder]
    """Folder of the campaign, such as campaigns/NAME."""
    out: HomePath | None = None
    """Folder that they go to (none: trajectories in the campaign's folder)."""
    states: bool = False
    """Positions and velocities at the end as well, as states.npz of each system."""


def run(arguments: RunArguments, display: "Display") -> None:
    """Carry out what is missing of a campaign, or say what that would be."""
    from ...distributed.cluster import joining
    from ...distributed.runs import campaign_run, campaign_tools
    from ...distributed.runs.campaign import Campaign
    from ...distributed.runs.campaign_config import load
    from ...distributed.runs.run import locked

    config = load(arguments.file)
    directory = (arguments.campaigns_dir / (arguments.name or arguments.file.stem)).absolute()
    planned = Campaign.plan(directory, config)  # What is wrong with it, before a folder is made.
    if arguments.dry_run:
        campaign_tools.announce(planned, display)
        return
    with joining.leaving(), locked(directory) as note:
        if note:
            display.stage("note", note)
        campaign = campaign_run.prepare(planned, arguments.cluster, display)
        campaign_tools.announce(campaign, display)
        result = campaign_run.carry_out(campaign, arguments.cluster, display)
        campaign_tools.show(result, campaign.config.start, display)
        display.stage("report", str(directory / campaign_run.REPORT))
        campaign_run.require_kept(campaign, result)


def status(arguments: FolderArguments, display: "Display") -> None:
    """How far every system is, what is known of it, and what was lost."""
    from ...distributed.runs import campaign_run, campaign_tools
    from ...distributed.runs.campaign import Campaign

    campaign = Campaign.read(arguments.campaign)
    result, failures = campaign_run.read_results(campaign), campaign_tools.failures(campaign)
    rows = []
    for name, tally in campaign_tools.missing_of(campaign):
        total = tally.total
        rate = f"{total.steps / total.seconds:,.0f}" if total and total.seconds else ""
        rows.append((name, f"{tally.done}/{tally.segments}", f"{tally.done / tally.segments:.0%}", rate))
    display.table(PROGRESS, rows)
    campaign_tools.show(result, campaign.config.start, display)
    if failures:
        display.table(FAILURES, [one.row(number) for number, one in enumerate(failures, 1)])


def cancel(arguments: FolderArguments, display: "Display") -> None:
    """Stop the process that is at work on it, which keeps what is done."""
    from ...data import fence
    from ...distributed.runs.run import is_locked

    other = fence.last(arguments.campaign)
    here = f" of host {socket.gethostname()}," in other  # Of whom we see the lock.
    if not other or (here and not is_locked(arguments.campaign)):
        raise ConfigError(f"nobody is at work on {arguments.campaign}")
    fence.let_go(fence.take(arguments.campaign))
    display.stage("cancel", f"{other}, stops within {2 * fence.BEAT_SECONDS:g} s; what is done is kept")


def verify(arguments: VerifyArguments, display: "Display") -> int:
    """Compute segments again; status 1 if one differs."""
    from ...distributed.cluster import joining
    from ...distributed.runs import campaign_tools
    from ...distributed.runs.campaign import Campaign

    campaign = Campaign.read(arguments.campaign)
    with joining.leaving():
        found = campaign_tools.verify(campaign, arguments.count, arguments.seed)
    display.table(
        ("system", "segment", "bits"),
        [(name, segment, "the same" if same else "differ") for name, segment, same in found],
    )
    return 0 if all(same for *_, same in found) else 1


def replay(arguments: ReplayArguments, display: "Display") -> None:
    """Run a replica again to the step at which it was lost, with every frame."""
    from ...distributed.cluster import joining
    from ...distributed.runs import campaign_tools
    from ...distributed.runs.campaign import Campaign

    campaign = Campaign.read(arguments.campaign)
    known = campaign_tools.failures(campaign)
    if arguments.failure > len(known):
        raise ConfigError(
            f"{arguments.campaign} has {len(known)} failures, as its status lists them", "FAILURE"
        )
    with joining.leaving():
        path, frames = campaign_tools.replay(
            campaign, known[arguments.failure - 1], arguments.failure, arguments.out
        )
    display.stage("replay", f"{frames} frames, of every step: {path}")


def export(arguments: ExportArguments, display: "Display") -> None:
    """Write trajectories of every replica."""
    from ...distributed.runs import campaign_tools
    from ...distributed.runs.campaign import Campaign

    campaign = Campaign.read(arguments.campaign)
    out = (arguments.out or campaign.directory / "trajectories").absolute()
    for name, files in campaign_tools.export(campaign, out, arguments.states):
        display.stage("export", f"{name}: {f'{files} replicas in {out / name}' if files else 'no frame yet'}")


COMMANDS = {
    "campaign run": Command(
        "simulate many systems, and go on where that stopped",
        RunArguments,
        run,
        partial(parsing.read, hidden=OF_TRAINING),
    ),
    "campaign status": Command("say how far a campaign is, and what was lost", FolderArguments, status),
    "campaign cancel": Command("stop who is at work on a campaign", FolderArguments, cancel),
    "campaign verify": Command("compute segments again and compare their bits", VerifyArguments, verify),
    "campaign replay": Command("show how a replica was lost", ReplayArguments, replay),
    "campaign export": Command("write a trajectory for each replica", ExportArguments, export),
}
