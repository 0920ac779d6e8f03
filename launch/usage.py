"""The texts of `--help`, at most 80 columns wide; those of all commands, hence the length."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ..distributed.devices import DEVICES
from .config import Config, Method, Recipe
from .presets import PRESETS
from .settings import option, sections, settings
from .targets import TARGETS

WIDTH = 80
STAGES = {
    "data": "generate the training and the reference configurations",
    "train": "train the experts on them, all at the same time",
    "sample": "draw independent samples from the trained model",
    "simulate": "run Langevin dynamics in the learned potential",
    "evaluate": "compare samples and simulations with the reference",
    "report": "write the report and its figures",
}
COMMANDS = {
    "run": "carry out every stage below, from data to report",
    **STAGES,
    "plan": "say what a training would take on a cluster, without training",
    "deploy": "print a run as a job that Kubernetes takes",
    "slurm": "write the script of a job that carries a run out on a cluster with Slurm",
    "checkpoint": "list what a run could go on from, or verify it",
    "export": "write the trained model of molecules as one file to take away",
    "reproduce": "train and evaluate every row of a table of the paper",
    "clean": "list what a run has made, and remove it once you agree",
    "submit": "carry out any of these as a job of a Ray cluster",
}
DATA_COMMANDS = {
    "generate": (
        "SEQUENCE ... [--out DIR]",
        "Simulate peptides such as AC or ACE-ALA-NME with OpenMM, all atoms in implicit solvent, under a "
        "bias on φ that is learned and taken away again. DIR (default peptides/train) gets them in "
        "Timewarp's layout; --data peptides trains on them. The same command again goes on where it stopped.",
    ),
    "convert": (
        "PATH ... [--out DIR] [--trajectories]",
        "Map trajectories to beads, in parallel; those of one molecule become one system. DIR (default "
        "dataset) can be given to --data. --trajectories prints a row for each.",
    ),
    "inspect": (
        "PATH ... [--figure FILE.png] [--trajectories]",
        "Say what a dataset, a run's data or trajectories hold, a row a system: all frames are read and "
        "checked. --trajectories prints a row for each as well. FILE gets the Ramachandran planes (a "
        "dataset's go to its own folder unless it is given).",
    ),
}
"""Of `fokker data`, beside the presets: what follows each, and what it does."""
READING = ("topology", "sequence", "beads", "unit", "skip_damaged")
"""Settings of trajectories that are read."""
TABLES = {"table1": "alanine-dipeptide", "table2": "dipeptides", "table6": "mueller-brown"}
"""Tables of the paper, and the preset of each."""
TABLE_METHODS = {
    "table1": "diffusion,two-for-one,mixture,fokker-planck,both",
    "table2": "diffusion,two-for-one,mixture,fokker-planck,both",
    "table6": "diffusion,mixture,fokker-planck,both",
}
TABLE_SEEDS = {"table1": "3", "table2": "1", "table6": "3"}
SIZES = ("full", "small")

_METHODS = ", ".join(get_args(Method))
_RECIPES = ", ".join(get_args(Recipe))
OPTIONS = {
    "--method": ("METHOD", f"row of the paper's tables (default both): {_METHODS}"),
    "--recipe": ("RECIPE", f"the paper's protocol, or ours (default fokker): {_RECIPES}"),
    "--data": ("PATH", "file or folder of your trajectories of molecules (short for --data.path)"),
    "--profile": ("A:B", "trace steps A to B of every expert for TensorBoard (needs its plugin xprof)"),
    "--allow-changed": ("LIST", "settings that may differ from those the run began with, such as train.clip"),
    "--name": ("NAME", "name of the run (default: the preset, with the method and recipe if not the usual)"),
    "--runs-dir": ("DIR", "folder of all runs (default runs); this run lives in DIR/NAME"),
    "--help": ("", "this text; with a preset, every setting as well"),
}
RESULT_OPTION = {
    "--result": ("N", "number of the samples and of the simulation to judge (default: those made last)"),
}
"""Of `fokker evaluate` and `fokker report`, before those of a run."""
CLEAN_OPTIONS = {
    "--only": ("LIST", "parts to remove, as they are listed: simulate/1,experts (default: all of the run)"),
    "--yes": ("", "remove without asking"),
    "--runs-dir": ("DIR", "folder of all runs (default runs)"),
    "--help": ("", "this text"),
}
SUBMIT_OPTIONS = {
    "--address": (
        "URL",
        "dashboard of the cluster (default $RAY_API_SERVER_ADDRESS, or this machine's)",
    ),
    "--wait": ("", "follow the job, and end with its status (the default)"),
    "--no-wait": ("", "only submit it"),
    "--help": ("", "this text"),
}
PLAN_OPTIONS = {
    "--device": ("NAME", f"what each device is (default cpu, a thread here): {', '.join(DEVICES)}"),
    "--hosts": ("N", "hosts of the cluster (default 1)"),
    "--devices-per-host": ("N", "devices of each host (default: that of --cluster.devices-per-host)"),
    "--frames": ("N", "training frames (default: those of the data, or what the settings would make)"),
    "--beads": ("N", "beads of the largest molecule (default: those of the data or of the sequences)"),
    "--json": ("FILE", "write the numbers to this file as well"),
}
"""Of `fokker plan`, before those of a run."""
DEPLOY_OPTIONS = {
    "--target": ("NAME", f"kind of cluster: {', '.join(TARGETS)}"),
    "--command": ("NAME", "what the job does: run (default), or sample or simulate on spot nodes"),
    "--machine": ("TYPE", "type of its GPU nodes (default: the largest of the usual ones)"),
    "--cpus": ("N", "CPUs of each worker of the target cpu (default 4)"),
    "--memory": ("GIB", "memory of each worker of the target cpu in GiB (default 16)"),
    "--hosts": ("N", "workers (default: one an expert), or simulators' at most (default 4)"),
    "--spot": ("", "put the experts of a run on nodes that the cloud may take back, too"),
    "--image": ("IMAGE", "your image (default: a name that a kustomization has to replace)"),
    "--namespace": ("NAME", "namespace of the job (default fokker)"),
    "--hours": ("N", "after which the job is ended, the wait for nodes included (default 72)"),
    "--frames": ("N", "training frames, where the data are on the volume alone"),
    "--beads": ("N", "beads of the largest molecule, likewise"),
    **OPTIONS,
    "--runs-dir": ("DIR", "folder of all runs (default /shared/runs); this run lives in DIR/NAME"),
}
"""Of `fokker deploy render`."""
SLURM_OPTIONS = {
    "--nodes": ("N", "nodes (default: what the groups of --cluster.hosts need at a time, or 1)"),
    "--gpus-per-node": (
        "[TYPE:]G",
        "GPUs of each (default 0; with --cluster.device gpu, as many as a group takes)",
    ),
    "--cpus-per-task": ("C", "CPUs of each (default 8, or 8 for each GPU)"),
    "--mem": ("SIZE", "memory of each, such as 64G (default: what the cluster gives)"),
    "--time": (
        "TIME",
        "as Slurm writes it (default 24:00:00); what is left by then is done by the job again",
    ),
    "--partition": ("NAME", "partition, or several with commas (default: the cluster's)"),
    "--account": ("NAME", "who is charged (default: yours)"),
    "--container": ("IMAGE", "run in this image, by apptainer (default: what fokker is on PATH)"),
    "--setup": ("COMMANDS", "what the job begins with, such as 'module load python'"),
    "--temp-dir": ("DIR", "folder for temporary files on every node (default /tmp); a short name"),
}
"""Of `fokker slurm render`, before those of a run."""
REPRODUCE_OPTIONS = {
    "--seeds": ("N", "models of each method, which differ in their seed (default 3; table2 1)"),
    "--methods": ("LIST", f"rows, separated by commas (default those of the table): {_METHODS}"),
    "--recipe": ("RECIPE", f"the paper's protocol, or ours (default paper): {_RECIPES}"),
    "--size": ("SIZE", "of the tables of molecules: full, the paper's, or small, for two cores"),
    "--data": ("PATH", "trajectories of the molecules (default: they are made with OpenMM)"),
    "--name": ("NAME", "name of the result (default: the table's)"),
    "--runs-dir": ("DIR", "folder of all runs (default runs); the result lives in DIR/NAME"),
    "--help": ("", "this text"),
}


_EVERY_TAKEN = {
    "--sequence": ("SEQUENCE", "a peptide such as AC or ACE-ALA-NME; no PDB file is needed"),
    "--seed": ("N", "of the random numbers (default 0)"),
    "--out": ("FILE", "XTC file of the beads (default SEQUENCE-COMMAND.xtc); its topology lies beside it"),
    "--force": ("", "replace that file, which is kept otherwise"),
    "--help": ("", "this text"),
}
TAKEN_OPTIONS = {
    "sample": {"--count": ("N", "independent samples (default 1000)"), **_EVERY_TAKEN},
    "simulate": {
        "--chains": ("N", "independent chains, each from a sample of the model (default 100)"),
        "--frames": ("N", "frames kept of each chain (default 100)"),
        "--stride": ("N", "steps from one kept frame to the next (default: the run's)"),
        "--burn-in": ("N", "steps of each chain that are dropped first (default: the run's)"),
        **_EVERY_TAKEN,
    },
}
"""Of the commands that take an exported model as well as a preset."""
_TYPED = {"slurm": "slurm render"}
"""How a command that works on one run is typed, where that is more than its name."""


def overview() -> str:
    """What `fokker --help` says."""
    return "\n".join(
        [
            "usage: fokker COMMAND ...   or   fokker --version",
            "",
            "Train energy-based diffusion models whose samples and dynamics agree.",
            "",
            "commands:",
            *(_entry(name, text) for name, text in COMMANDS.items()),
            "",
            _paragraph(f"presets: {', '.join(PRESETS)}"),
            "",
            "'fokker COMMAND --help' explains a command, 'fokker run PRESET --help' every",
            "setting. The same command again resumes a run.",
        ]
    )


def run_help(command: str) -> str:
    """What the help of a command that works on one run says without a preset."""
    others = []
    if command == "data":
        others = [f"       fokker data {name} {words}" for name, (words, _) in DATA_COMMANDS.items()]
    elif command == "evaluate":
        others = [
            "       fokker evaluate --samples PATH[,PATH ...] --reference PATH[,PATH ...]",
            "                       [--topology PDB] [--sequence SEQUENCE] [--beads MAP]",
            "                       [--unit UNIT] [--temperature K] [--skip-damaged]",
            "                       [--out FILE.json] [--force]",
        ]
    elif command == "slurm":
        others = ["       fokker slurm wait N"]
    elif command in TAKEN_OPTIONS:
        others = [f"       fokker {command} MODEL --sequence SEQUENCE [options]"]
    return "\n".join(
        [
            *_run_usage(command, "PRESET", others),
            _paragraph(f"presets: {', '.join(PRESETS)}"),
            "",
            *_options(options_of(command)),
            "",
            "To see the settings:",
            f"  fokker {_TYPED.get(command, command)} {next(iter(PRESETS))} [--method M] [--recipe R] --help",
        ]
    )


def preset_help(command: str, config: Config) -> str:
    """What it says with a preset: every setting of the configuration, by section."""
    about = (
        f"Settings of {config.preset}, method {config.method}, recipe {config.recipe}, each with its value "
        "there. Lists are separated by commas, null stands for none:"
    )
    usage = _deploy_usage(config.preset) if command == "deploy" else _run_usage(command, config.preset)
    lines = [*usage, *_options(options_of(command)), "", _paragraph(about)]
    known = settings(config)
    for path, part in sections(config).items():
        lines += ["", _paragraph(f"{path}: {type(part).__doc__}") if path else "general:"]
        for setting in known.values():
            if setting.path.rpartition(".")[0] == path:
                choices = f" One of: {', '.join(setting.choices)}." if setting.choices else ""
                lines += [f"  {option(setting.path)} {setting.shown}"]
                lines += [_paragraph(setting.description + choices, indent=6)]
    return "\n".join(lines)


def reproduce_help() -> str:
    """What `fokker reproduce --help` says."""
    about = COMMANDS["reproduce"].capitalize() + ". A setting holds for every run of it."
    preset = TABLES["table6"]
    return "\n".join(
        [
            "usage: fokker reproduce TABLE [options] [--SETTING VALUE ...]",
            "",
            _paragraph(about),
            "",
            f"tables: {', '.join(TABLES)}",
            "",
            *_options(REPRODUCE_OPTIONS),
            "",
            f"To see the settings: fokker run {preset} --recipe paper --help",
        ]
    )


def export_help() -> str:
    """What `fokker export --help` says."""
    about = (
        "Write the averaged parameters, the settings, the scale and the bead map of the run in DIR/NAME as "
        "one safetensors file. fokker.load(FILE) reads it in Python: log_density, energy, forces, sample and "
        "simulate for any sequence. A FILE that exists is replaced only with --force."
    )
    return "\n".join(["usage: fokker export DIR/NAME FILE [--force]", "", _paragraph(about)])


def checkpoint_help() -> str:
    """What `fokker checkpoint --help` says."""
    about = (
        "List every expert's checkpoints of the run in DIR/NAME: step, time, the group that wrote it, size "
        "and state. verify reads them as well, and ends with status 1 if one cannot be restored."
    )
    return "\n".join(["usage: fokker checkpoint list|verify DIR/NAME", "", _paragraph(about)])


def clean_help() -> str:
    """What `fokker clean --help` says."""
    about = (
        "List what the run NAME has made with its size, ask, and remove it. NAME is a run in the folder of "
        "all runs, or the folder of one. No other command removes anything."
    )
    return "\n".join(
        ["usage: fokker clean NAME [options]", "", _paragraph(about), "", *_options(CLEAN_OPTIONS)]
    )


def submit_help() -> str:
    """What `fokker submit --help` says."""
    about = (
        "Send the package to a Ray cluster, carry out the command there as a job, print what it prints, and "
        "end with its status. DIR must be storage that every host sees. ray job stop lets the run save; the "
        "same command again goes on. The hosts need fokker's dependencies, and Ray of the same version."
    )
    usage = "usage: fokker submit [options] -- COMMAND ... --runs-dir DIR"
    return "\n".join([usage, "", _paragraph(about), "", *_options(SUBMIT_OPTIONS)])


def deploy_help() -> str:
    """What `fokker deploy --help` says without a preset."""
    return "\n".join(
        [
            *_deploy_usage("PRESET"),
            _paragraph(f"presets: {', '.join(PRESETS)}"),
            "",
            *_options(options_of("deploy")),
            "",
            "To see the settings:",
            f"  fokker deploy render {next(iter(PRESETS))} [--method M] [--recipe R] --help",
        ]
    )


def slurm_wait_help() -> str:
    """What `fokker slurm wait --help` says."""
    about = (
        "Wait until the Ray cluster at RAY_ADDRESS has N nodes, as the script of a job does before it "
        "begins; status 1 if they do not come."
    )
    return "\n".join(["usage: fokker slurm wait N", "", _paragraph(about)])


def data_help(command: str, group: Any) -> str:
    """What the help of a command of `fokker data` says."""
    words, about = DATA_COMMANDS[command]
    lines = [
        f"usage: fokker data {command} {words} [--SETTING VALUE ...]",
        "",
        _paragraph(about),
        "",
        "settings:",
    ]
    for setting in settings(group).values():
        if command == "generate" or setting.path in READING:
            choices = f" One of: {', '.join(setting.choices)}." if setting.choices else ""
            lines += [f"  {option(setting.path)} {setting.shown}"]
            lines += [_paragraph(setting.description + choices, indent=6)]
    return "\n".join(lines)


def taken_help(command: str) -> str:
    """What the help of `sample` and `simulate` says of an exported model."""
    about = (
        f"{COMMANDS[command].capitalize()}, for any sequence. MODEL is a file that fokker export wrote, or "
        "the folder of a finished run."
    )
    usage = f"usage: fokker {command} MODEL --sequence SEQUENCE [options]"
    return "\n".join([usage, "", _paragraph(about), "", *_options(TAKEN_OPTIONS[command])])


def options_of(command: str) -> Mapping[str, tuple[str, str]]:
    """The options, beside the settings, of a command that works on one run."""
    if command in ("evaluate", "report"):
        return RESULT_OPTION | OPTIONS
    own = {"plan": PLAN_OPTIONS | OPTIONS, "deploy": DEPLOY_OPTIONS, "slurm": SLURM_OPTIONS | OPTIONS}
    return own.get(command, OPTIONS)


def _deploy_usage(preset: str) -> list[str]:
    about = (
        "Print the RayJob of one run for the operator KubeRay, with the policies that protect its pods; "
        "kubectl apply -f FILE starts it. Paths are those on the cluster's volume, /shared/... Notes go to "
        "stderr."
    )
    return [
        f"usage: fokker deploy render {preset} --target NAME [options]",
        "       [--SETTING VALUE ...] > FILE.yaml",
        "",
        _paragraph(about),
        "",
    ]


def _run_usage(command: str, preset: str, others: Sequence[str] = ()) -> list[str]:
    about = COMMANDS[command][0].upper() + COMMANDS[command][1:]
    typed = _TYPED.get(command, command)
    return [
        f"usage: fokker {typed} {preset} [options] [--SETTING VALUE ...]",
        f"       fokker {typed} --name NAME [--runs-dir DIR] [--SETTING VALUE ...]",
        *others,
        "",
        _paragraph(f"{about}. Without a preset, the settings saved in DIR/NAME hold."),
        "",
    ]


def _options(options: Mapping[str, tuple[str, str]]) -> list[str]:
    return ["options:", *(_entry(f"{name} {value}".strip(), text) for name, (value, text) in options.items())]


def _entry(name: str, text: str) -> str:
    """A name and, beside it in a second column, what it means."""
    indent = 20
    head, body = f"  {name}", _paragraph(text, indent)
    return head.ljust(indent) + body.lstrip() if len(head) < indent else f"{head}\n{body}"


def _paragraph(text: str, indent: int = 0) -> str:
    margin = " " * indent
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_on_hyphens=False,
    )
