import math

from fokker.distributed.training.progress import Progress


def test_progress_has_moved_only_if_the_process_got_anywhere():
    before = Progress(step=8, blocks=2, utilisation=math.nan)
    assert not Progress(step=8, blocks=2, utilisation=math.nan, seconds=5.0).moved(before)
    assert Progress(step=8, blocks=3).moved(before)
    assert Progress(step=8, blocks=2, phase="saving").moved(before)
