"""How often works of a stated chance were true matches, as numbers and as a plot (SVG, no library)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from database.calibrate import Comparison

BINS = 10
SIDE = 320
EDGE = 56


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs whose stated chance fell into one tenth: the mean chance, and the share that were true matches."""

    pairs: int
    stated: float
    observed: float


def reliability(comparisons: Sequence[Comparison], chances: Sequence[Sequence[float]]) -> list[Bin]:
    """The tenths that hold any pair, lowest chance first."""
    tenths: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for comparison, values in zip(comparisons, chances, strict=True):
        for value, related in zip(values, comparison.related, strict=True):
            tenths[min(int(value * BINS), BINS - 1)].append((value, related))
    return [
        Bin(
            len(tenth),
            round(sum(value for value, _ in tenth) / len(tenth), 3),
            round(sum(related for _, related in tenth) / len(tenth), 3),
        )
        for tenth in tenths
        if tenth
    ]


def plot(name: str, bins: Sequence[Bin]) -> str:
    """Stated chance to the right, observed share upwards; on the diagonal a chance means what it says."""

    def at(stated: float, observed: float) -> tuple[float, float]:
        return EDGE + stated * SIDE, EDGE + (1 - observed) * SIDE

    def line(start: tuple[float, float], end: tuple[float, float], style: str) -> str:
        return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" {style}/>'

    width = SIDE + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {width}" width="{width}" height="{width}"'
        ' font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{width}" fill="white"/>',
        f'<text x="{EDGE}" y="24" font-size="14">{name}: stated chance and what came true</text>',
        f'<text x="{EDGE}" y="40">on works later than those it was fitted on; numbers are pairs of works</text>',
        line(at(0, 0), at(1, 1), 'stroke="#bbb" stroke-dasharray="4 4"'),
        line(at(0.7, 0), at(0.7, 1), 'stroke="#d66" stroke-dasharray="2 3"'),
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = at(tick, 0)
        parts.append(f'<text x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle">{tick:.1f}</text>')
        x, y = at(0, tick)
        parts.append(f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{tick:.1f}</text>')
    parts += [line(at(0, 0), at(1, 0), 'stroke="#333"'), line(at(0, 0), at(0, 1), 'stroke="#333"')]
    points = [at(each.stated, each.observed) for each in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#2a6fbb" stroke-width="2"/>')
    for each, (x, y) in zip(bins, points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#2a6fbb"/>')
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 14:.1f}" fill="#666">{each.pairs}</text>')
    middle = EDGE + SIDE / 2
    parts.append(
        f'<text x="{middle}" y="{width - 14}" text-anchor="middle">stated chance of a true match</text>'
    )
    parts.append(
        f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">observed share</text>'
    )
    return "\n".join([*parts, "</svg>", ""])
