"""What lies in the folder of a campaign, to be compared with that of another one."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from fokker.distributed.campaigns.segments import Store

ITS_OWN = ("run", "when", "seconds", "ess_per_hour")
"""What of results no two campaigns have in common: names, and what the clock decides."""


def works(campaign: Path) -> list[Path]:
    return sorted(path.parent for path in campaign.glob("*/*/*/ledger.jsonl"))


def segments(campaign: Path) -> dict[str, tuple[int, int]]:
    """Identity of every finished segment's file."""
    paths = campaign.glob("*/*/*/chains-*.npz")
    return {str(path.relative_to(campaign)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def digests(campaign: Path) -> dict[str, str]:
    """Hash of frames and states of every segment."""
    stores = [(work, Store(work)) for work in works(campaign)]
    return {
        f"{work.relative_to(campaign)}/{segment.name}": store.digest(segment)
        for work, store in stores
        for segment in store.segments
    }


def reductions(campaign: Path) -> dict[str, str]:
    """Hash of what the frames of every segment are reduced to, and of its XTC file."""
    found = {}
    for work in works(campaign):
        store = Store(work)
        for segment in store.segments:
            reduction, digest = store.reduction(segment), hashlib.sha256()
            for field in fields(reduction):
                digest.update(np.ascontiguousarray(getattr(reduction, field.name)).tobytes())
            if store.xtc(segment).exists():
                digest.update(store.xtc(segment).read_bytes())
            found[f"{work.relative_to(campaign)}/{segment.name}"] = digest.hexdigest()
    return found


def results(campaign: Path) -> Any:
    """What results.json says, but for `ITS_OWN`."""
    return _without(json.loads((campaign / "results.json").read_text()))


def _without(value: Any) -> Any:
    if isinstance(value, list):
        return [_without(one) for one in value]
    if isinstance(value, dict):
        return {name: _without(one) for name, one in value.items() if name not in ITS_OWN}
    return value


def assert_same(campaign: Path, other: Path) -> None:
    """Frames, states, histograms and results are those of another campaign, byte for byte."""
    assert digests(campaign) == digests(other)
    assert reductions(campaign) == reductions(other)
    assert json.dumps(results(campaign)) == json.dumps(results(other))
