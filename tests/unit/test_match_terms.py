from __future__ import annotations

import pytest

from runner.match.terms import BODY_WEIGHT, READ_CHARACTERS, Terms, label_phrases, stem, words
from runner.match.vocabulary import shared_vocabulary


@pytest.mark.parametrize(
    "family",
    [
        "investigate investigation investigating investigated investigates investigators",
        "fix fixes fixed fixing",
        "add adds added adding",
        "api apis",
        "class classes",
        "create creates creating creator creation creative creativity",
        "verify verifies verified verifying verification",
        "vulnerability vulnerabilities vulnerable",
        "optimize optimizes optimizer optimization optimising optimiser",
        "authenticate authentication",
        "log logs logging logged",
        "policy policies",
        "engineer engineers engineering",
    ],
)
def test_inflections_share_a_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("fix", "prefix"), ("aws", "aw"), ("class", "clas"), ("engineer", "engine"), ("string", "str"), ("dns", "dn"),
     ("type", "typing"), ("test", "contest"), ("code", "decode"), ("red", "reded")],
)  # fmt: skip
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_numbers_and_dates_of_a_kind_are_one_term() -> None:
    assert [term for term, _ in words("Learn 2026-11-24 #1492 v2")] == ["learn", "#date", "#", "v2"]


def test_words_are_told_apart_by_everything_but_letters_and_digits() -> None:
    assert [word for _, word in words("auto-merge snake_case a/b.yml (Docker)")] == [
        "auto", "merge", "snake", "case", "yml", "docker",
    ]  # fmt: skip


def test_labels_are_read_by_whole_segments() -> None:
    labels = ["area/docs", "kind: bug", "ai-fix-requested", "agent:engineer-master", "region:eu-west-1", "P1"]

    assert list(label_phrases(labels)) == ["docs", "bug", "ai-fix-requested", "p1"]


def test_a_title_outweighs_a_body_and_a_long_body_is_read_in_part() -> None:
    terms = Terms("secret", "bread " + "x " * READ_CHARACTERS + "vulnerability")

    assert terms.weights["secret"] == 1.0
    assert terms.weights["bread"] == BODY_WEIGHT
    assert stem("vulnerability") not in terms.weights


def test_each_word_of_a_wordy_body_counts_less() -> None:
    wordy = Terms("", " ".join(f"word{number}x" for number in range(160)))

    assert wordy.weights["word1x"] == pytest.approx(BODY_WEIGHT / 2)


def test_a_phrase_of_two_words_is_found_and_its_words_apart_are_not_it() -> None:
    vocabulary = shared_vocabulary()

    assert "edge case" in Terms("Edge cases of parsing", phrases=vocabulary.phrases).weights
    assert "edge case" not in Terms("Cases at the edge", phrases=vocabulary.phrases).weights
    assert "load balanc" in Terms(labels=["load-balancer"], phrases=vocabulary.phrases).weights


def test_the_shared_vocabulary_knows_the_words_of_the_cloud() -> None:
    vocabulary = shared_vocabulary()

    for (
        word
    ) in "AWS EKS Kubernetes k8s Terraform Pulumi serverless Lambda VPC DevOps docker Helm GCP Azure".split():
        assert "cloud" in vocabulary.fields(Terms(word).weights), word
