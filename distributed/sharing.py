"""How hosts are shared out among experts, and who waits where they are too few. Free of JAX and Ray."""

from collections.abc import Callable, Sequence


def share_hosts(costs: Sequence[float], slots: int, fits: Callable[[int], bool]) -> tuple[int, ...]:
    """Hosts of each expert, by what each would take on one (in any unit).

    Every expert gets one of the `slots`, even if there are fewer; each further step goes to the expert of the
    largest cost per host that can still grow, to its next number that `fits`, which says whether so many
    hosts share a batch equally.
    """
    hosts = [1] * len(costs)
    while True:
        left = slots - sum(hosts)
        larger = {
            expert: wanted
            for expert, own in enumerate(hosts)
            if (wanted := next((n for n in range(own + 1, own + left + 1) if fits(n)), None))
        }
        if not larger:
            return tuple(hosts)
        dearest = max(larger, key=lambda expert: costs[expert] / hosts[expert])
        hosts[dearest] = larger[dearest]


def schedule(seconds: Sequence[float], hosts: Sequence[int], slots: int) -> tuple[tuple[float, float], ...]:
    """When each expert starts and ends, in seconds: the dearest first, each as soon as its hosts are free.

    ValueError if an expert has more hosts than there are.
    """
    if max(hosts, default=0) > slots:
        raise ValueError(f"hosts {max(hosts)} is more than the {slots} there are")
    free = [0.0] * slots
    times = {}
    for expert in sorted(range(len(seconds)), key=lambda expert: (-seconds[expert] * hosts[expert], expert)):
        free.sort()
        own = hosts[expert]
        start = free[own - 1]
        times[expert] = (start, start + seconds[expert])
        free[:own] = [times[expert][1]] * own
    return tuple(times[expert] for expert in range(len(seconds)))
