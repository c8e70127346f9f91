"""Text → weighted terms: whole words, cut to their stem, never parts of words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

READ_CHARACTERS = 4_000  # of a body; what an issue is about stands at its top, and this bounds the time
BODY_WEIGHT = 0.6  # a word of the title or of a label counts 1
LONG_BODY = 40  # different words; each of more counts less, or long texts would outweigh their titles
# An emoji is a word too: repositories mark kinds of work with them, definitions their headings.
_WORD = re.compile(r"\d{4}-\d\d-\d\d|[^\W_]+|[\u2600-\u27bf\U0001f300-\U0001faff]")
_LABEL_SEGMENT = re.compile(r"[/:\s]+")
_LABEL_NAMESPACES = frozenset(
    "area component kind lang language priority scope size status topic type".split()
)
_LABELS_OF_OUR_OWN = ("agent:", "region:")  # they say who and where, not what about

STOP_WORDS = frozenset(
    """a about after again all also an and any are as at be because been before being both but by can could did do
    does doing done for from get gets got had has have having he her here him his how i if in into is it its just
    let may me might more most must my no nor not of off on once only or other our out over own per please same
    she should so some such than thank thanks that the their them then there these they this those through to too
    under until up upon us very via was we were what when where which while who whom why will with would yes you
    your""".split()
)
_SUFFIXES = tuple(
    sorted(
        """abilities ability able ance ances ate ated ates ating ation ations ator ators e ed er ers
        es ibilities ibility ible icate icated icates icating ication ications icator icators ied
        ier iers ies ing ings ion ions isation ise ised iser ises ising ities ity ive ives ivity
        ization izations ize ized izer izers izes izing ly ment ments or ors s y ying""".split(),
        key=lambda suffix: (-len(suffix), suffix),
    )
)
_SHORTEST_STEM = 4


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """`word` without up to two English suffixes, so that `investigating` meets `investigation`.

    A light stripper in the spirit of Lovins (1968): longest suffix first, never below four letters.
    """
    if not word.isascii():
        return word
    for _ in range(2):
        for suffix in _SUFFIXES:
            if word.endswith(suffix) and _may_go(word[: -len(suffix)], suffix):
                word = word[: -len(suffix)]
                break
        else:
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]  # `running` → `runn` → `run`
    return word


def _may_go(rest: str, suffix: str) -> bool:
    if suffix == "s":
        return len(rest) >= 3 and rest[-1] != "s"  # `apis`, but neither `aws` nor `class`
    if suffix in ("er", "ers") and rest.endswith("e"):
        return False  # `engineer` is no comparative of `engine`
    if suffix in ("es", "ed", "ing") and len(rest) == 3:
        return rest[-1] == "x" or rest[-1] == rest[-2]  # `fixes`, `added`, but not `types`
    return len(rest) >= _SHORTEST_STEM


def words(text: str) -> Iterator[tuple[str, str]]:
    """(term, word as written in lower case) for each word of `text` that can say what it is about.

    A number becomes `#` and a date `#date`: works that differ in nothing else are alike.
    """
    for word in _WORD.findall(text.casefold()):
        if word[0].isdigit() and (word.isdigit() or "-" in word):
            yield ("#date" if "-" in word else "#"), word
        elif word not in STOP_WORDS and (len(word) > 1 or not word.isascii()):
            yield stem(word), word


def label_phrases(labels: Iterable[str]) -> Iterator[str]:
    """The segments of labels that are evidence: `area/docs` → `docs`; `ai-fix-requested` stays one phrase."""
    for label in labels:
        label = label.casefold().strip()
        if label.startswith(_LABELS_OF_OUR_OWN):
            continue
        for segment in _LABEL_SEGMENT.split(label):
            if segment and segment not in _LABEL_NAMESPACES:
                yield segment


class Terms:
    """The weighted terms of one issue or past work."""

    __slots__ = ("_phrases", "spoken", "weights")

    def __init__(
        self,
        title: str = "",
        body: str = "",
        labels: Iterable[str] = (),
        phrases: frozenset[str] = frozenset(),
    ) -> None:
        self.weights: dict[str, float] = {}
        self.spoken: dict[str, str] = {}  # term → the word as written, for explanations
        self._phrases = phrases
        self.add(words(title), 1.0)
        for phrase in label_phrases(labels):
            self._add_label(phrase)
        read = list(words(body[:READ_CHARACTERS]))
        different = len({term for term, _ in read})
        self.add(read, BODY_WEIGHT * min(1.0, math.sqrt(LONG_BODY / max(different, 1))))

    def add(self, text: Iterable[tuple[str, str]], weight: float) -> None:
        """Count the `words` of a text; a term keeps the highest weight it was seen with."""
        previous = previous_word = ""
        for term, word in text:
            self._keep(term, word, weight)
            pair = f"{previous} {term}"
            if pair in self._phrases:
                self._keep(pair, f"{previous_word} {word}", weight)
            previous, previous_word = term, word

    def _add_label(self, phrase: str) -> None:
        found = list(words(phrase))
        if len(found) == 1:
            self._keep(found[0][0], found[0][1], 1.0)
            return
        # Several words in one segment are one phrase: `fix` inside `ai-fix-requested` is no evidence.
        whole = " ".join(term for term, _ in found)
        if whole in self._phrases:
            self._keep(whole, phrase, 1.0)

    def _keep(self, term: str, word: str, weight: float) -> None:
        if self.weights.get(term, 0.0) < weight:
            self.weights[term] = weight
            self.spoken[term] = word
