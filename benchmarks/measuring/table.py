"""A record for the eye."""

from typing import Any

COLUMNS = ("", "median", "min", "quartiles", "img/s", "TFLOP/s", "of peak", "cpu-s", "GiB", "compile")
RATIOS = {"median": "median", "minimum": "minimum", "processor": "processor seconds"}


def table(content: dict[str, Any]) -> str:
    """Rows of peers, then ratios against what is asked, then what is missing."""
    rows = [COLUMNS, *(_row(name, peer) for name, peer in content["peers"].items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    for name, ratio in content["ratios"].items():
        asked = content["asked_ratios"].get(name)
        by = ", ".join(f"{ratio[kind]:.2f} by {words}" for kind, words in RATIOS.items())
        lines.append(f"ours / {name}: {by}" + (f"; asked for {asked:.2f}" if asked else ""))
    if limit := content["limits"]:
        share = f"{limit['share_of_the_roofline']:.0%} of the roofline's {limit['roofline']}"
        lines.append(f"asked for {limit['asked']} img/s, aimed at {limit['aimed_at']}; {share}")
    lines += _check_lines(content["check"])
    if content["samples_on_a_busy_machine"]:
        busy, idle = content["samples_on_a_busy_machine"], content["samples_on_an_idle_machine"]
        lines.append(
            f"{busy} of {busy + idle} samples began while other programs used the processors: trust processor seconds more"
        )
    lines += [f"missing: {name} ({reason})" for name, reason in content["missing"].items()]
    return "\n".join(lines)


def _row(name: str, peer: dict[str, Any]) -> tuple[str, ...]:
    low, high = peer["quartiles"]
    memory = peer.get("peak_device_memory", peer["peak_main_memory"])
    compiling = peer.get("compile_seconds", peer.get("first_call_seconds", 0.0))
    return (
        name,
        _time(peer["median"]),
        _time(peer["minimum"]),
        f"{_time(low)}-{_time(high)}",
        f"{peer['pictures_per_second']:.3g}",
        f"{peer['flops'] / 1e12:.3g}",
        f"{peer['share_of_the_largest_product']:.0%}",
        f"{peer['processor_seconds']:.3g}",
        f"{memory / 2**30:.1f}",
        f"{compiling:.0f} s",
    )


def _check_lines(check: dict[str, Any]) -> list[str]:
    if not check["compared_with"]:
        return ["results were not compared: no peer of PyTorch's took part"]
    worst = {name: max(one["largest"] for one in errors.values()) for name, errors in check["errors"].items()}
    return [
        f"largest relative difference from {check['compared_with']}: "
        + ", ".join(f"{name} {error:.1e}" for name, error in worst.items())
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
