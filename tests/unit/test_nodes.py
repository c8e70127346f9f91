"""What a node offers, and how many nodes pods need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from infra.nodes import addresses_of, node_shape, nodes_for, pack
from infra.shapes import Resources


@pytest.mark.parametrize(
    ("instance", "reserved_cpu", "cpu"),
    [("t4g.medium", 70, 1930), ("t4g.large", 70, 1930), ("t4g.xlarge", 80, 3920), ("t4g.2xlarge", 90, 7910)],
)
def test_the_kubelets_share_of_the_cpu_is_nodeadms(instance: str, reserved_cpu: int, cpu: int) -> None:
    shape = node_shape([instance])
    assert shape.kube_reserved.cpu_millicores == reserved_cpu
    assert shape.allocatable.cpu_millicores == cpu


def test_memory_leaves_out_the_hypervisors_the_kubelets_and_the_eviction_threshold() -> None:
    shape = node_shape(["t4g.large"])
    assert shape.max_pods == 74
    assert shape.kube_reserved.memory_mib == 255 + 11 * 74
    assert shape.allocatable.memory_mib == 8192 * 925 // 1000 - (255 + 11 * 74) - 100


def test_no_node_offers_more_pods_than_eks_allows_under_prefix_delegation() -> None:
    assert node_shape(["t4g.2xlarge"]).max_pods == 110


def test_mixed_types_count_as_the_least_of_them() -> None:
    assert (
        node_shape(["t4g.xlarge", "c6g.xlarge"]).allocatable.memory_mib
        == node_shape(["c6g.xlarge"]).allocatable.memory_mib
    )
    assert node_shape(["t4g.xlarge", "t4g.large"]).allocatable.cpu_millicores == 1930


@pytest.mark.parametrize(("pods", "addresses"), [(0, 20), (1, 36), (16, 36), (17, 52), (110, 132)])
def test_a_node_takes_addresses_by_the_sixteen_and_keeps_one_prefix_warm(pods: int, addresses: int) -> None:
    assert addresses_of(pods) == addresses


def test_agents_of_the_proposals_size_stand_eighteen_to_an_xlarge() -> None:
    daemons = Resources(200, 64)
    shape = node_shape(["t4g.xlarge", "c6g.xlarge"])
    free = Resources(
        shape.allocatable.cpu_millicores - daemons.cpu_millicores,
        shape.allocatable.memory_mib - daemons.memory_mib,
    )
    assert pack([], free, shape.max_pods - 4, 1).more(Resources(200, 256)) == 18


PODS = st.lists(
    st.builds(Resources, st.sampled_from([50, 100, 200]), st.sampled_from([64, 256])), max_size=60
)


@given(PODS)
@examples(deadline=None)
def test_the_number_of_nodes_is_the_smallest_that_holds_them(pods: list[Resources]) -> None:
    free, slots = Resources(1730, 4000), 30
    nodes = nodes_for(pods, free, slots, 0, 40)
    assert nodes is not None
    assert pack(pods, free, slots, nodes).left_over == 0
    assert all(pack(pods, free, slots, fewer).left_over for fewer in range(nodes))


@given(PODS, st.integers(0, 6))
@examples(deadline=None)
def test_room_and_pods_together_are_what_the_nodes_have(pods: list[Resources], nodes: int) -> None:
    free, slots = Resources(1730, 4000), 30
    packing = pack(pods, free, slots, nodes)
    placed = len(pods) - packing.left_over
    assert sum(room[2] for room in packing.room) == nodes * slots - placed
    assert all(min(room) >= 0 for room in packing.room)


@given(PODS, st.integers(1, 6))
@examples(deadline=None)
def test_as_many_more_pods_fit_as_it_says_and_not_one_beyond(pods: list[Resources], nodes: int) -> None:
    free, slots, pod = Resources(1730, 4000), 30, Resources(200, 256)
    packing = pack(pods, free, slots, nodes)
    if packing.left_over:
        return
    for cpu, memory, left in packing.room:
        fits = pack([pod] * left, Resources(cpu, memory), left, 1) if left else None
        expected = left - fits.left_over if fits else 0
        assert expected == min(left, cpu // 200, memory // 256)
    assert packing.more(pod) == sum(
        min(left, cpu // 200, memory // 256) for cpu, memory, left in packing.room
    )


def test_pods_that_fit_in_one_order_and_not_as_they_are_listed_get_another_node() -> None:
    pods, free = [Resources(cpu, 64) for cpu in (200, 350, 700, 500, 700)], Resources(1400, 4000)
    assert nodes_for(sorted(pods, key=lambda pod: pod.cpu_millicores), free, 30, 0, 10) == 2
    assert nodes_for(pods, free, 30, 0, 10) == 3


def test_pods_larger_than_a_node_fit_on_no_number_of_nodes() -> None:
    assert nodes_for([Resources(4000, 64)], Resources(1730, 4000), 30, 0, 100) is None
