"""All rules, in the order of a report."""

from __future__ import annotations

from infra.policy import access, cost, data, order, residency, workloads
from infra.policy.rule import Rule

RULES = tuple(
    Rule(check)
    for check in (
        cost.bill_at_rest_within_budget,
        cost.bill_at_worst_within_ceiling,
        cost.spot_saves_enough,
        cost.nodes_as_planned,
        cost.stores_as_planned,
        cost.autoscalers_are_bounded,
        cost.nothing_costs_by_surprise,
        data.data_is_protected,
        data.data_is_backed_up,
        data.stored_data_is_encrypted,
        data.data_travels_encrypted,
        access.nothing_is_public,
        access.metadata_needs_a_token,
        access.clusters_use_access_entries,
        access.stores_know_no_password,
        access.rights_are_named,
        access.roles_trust_somebody_in_particular,
        workloads.images_never_change,
        workloads.pods_are_confined,
        workloads.secrets_stay_out_of_manifests,
        workloads.rollouts_keep_serving,
        residency.nothing_copies_itself_across_zones,
        residency.regions_stand_in_their_zone,
        residency.models_answer_inside_the_zone,
        residency.webhooks_stay_in_their_zone,
        residency.peers_reach_databases_only,
        order.everything_is_tagged,
        order.providers_are_bound,
        order.every_type_is_judged,
    )
)
