"""Names: a webhook host for each zone, its certificate, and where it leads. Nothing leads out of its zone."""

from __future__ import annotations

import pulumi
from pulumi_aws import acm, route53

from errors import PlanError
from infra.scope import Scope

# Hosted zones of load balancers (AWS General Reference, Elastic Load Balancing endpoints).
LOAD_BALANCER_ZONES = {
    "us-east-1": "Z35SXDOTRQ7X7K",
    "us-east-2": "Z3AADJGX6KTTL2",
    "us-west-1": "Z368ELLRRE2KJ0",
    "us-west-2": "Z1H1FL5HABSF5",
    "eu-central-1": "Z215JYRZR1TBD5",
    "eu-north-1": "Z23TAZ6LKFMNIO",
    "eu-south-1": "Z3ULH7SSC9OV64",
    "eu-west-1": "Z32O12XQLNTSW2",
    "eu-west-3": "Z3Q77PNBQS71R4",
}


def load_balancer_zone(region: str) -> str:
    """The hosted zone of a region's load balancers. Raises PlanError for a region that nobody has looked up."""
    if region not in LOAD_BALANCER_ZONES:
        raise PlanError(
            f"the hosted zone of load balancers in {region} is unknown",
            "add it to LOAD_BALANCER_ZONES from AWS's list of Elastic Load Balancing endpoints",
            file="infra/routing.py",
        )
    return LOAD_BALANCER_ZONES[region]


def new_zone(scope: Scope, opts: pulumi.ResourceOptions) -> route53.Zone:
    """A zone for the domain. Its name servers have to be entered at the parent domain, once."""
    return route53.Zone(
        "domain",
        name=scope.settings.domain,
        comment=f"Webhook hosts of {scope.prefix}",
        # Another zone would get other name servers, and the parent domain would lead nowhere.
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=scope.settings.protect)),
    )


class WebhookHost(pulumi.ComponentResource):
    """The certificate of a region's webhook host; `lead_to` adds the name itself."""

    def __init__(self, scope: Scope, zone_id: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:WebhookHost", scope.resource("webhook-host"), None, opts)
        self._scope, self._zone_id = scope, zone_id
        child = pulumi.ResourceOptions(parent=self)
        host = scope.region.webhook_host
        certificate = acm.Certificate(
            scope.resource("webhook-host"), domain_name=host, validation_method="DNS", opts=child
        )
        option = certificate.domain_validation_options[0]
        proof = route53.Record(
            scope.resource("webhook-host-proof"),
            zone_id=zone_id,
            name=option["resource_record_name"],
            type=option["resource_record_type"],
            records=[option["resource_record_value"]],
            ttl=300,
            # Regions of one zone share the host's name and with it the proof.
            allow_overwrite=True,
            opts=child,
        )
        self.certificate = acm.CertificateValidation(
            scope.resource("webhook-host"),
            certificate_arn=certificate.arn,
            validation_record_fqdns=[proof.fqdn],
            opts=child,
        )
        self.register_outputs({})

    def lead_to(self, address: pulumi.Input[str], address_zone: pulumi.Input[str], *, checked: bool) -> None:
        """Let the name lead to an API or a load balancer; `checked`: only while its health check passes.

        Latency routing from phase 2 on, although one region needs none: the second region then changes no record.
        """
        scope, child = self._scope, pulumi.ResourceOptions(parent=self)
        check = None
        if checked:
            check = route53.HealthCheck(
                scope.resource("webhook-host"),
                type="HTTPS",
                fqdn=address,
                port=443,
                resource_path="/health",
                request_interval=30,
                failure_threshold=3,
                tags={"Name": f"{scope.prefix} {scope.region.name}"},
                opts=child,
            ).id
        route53.Record(
            scope.resource("webhook-host"),
            zone_id=self._zone_id,
            name=scope.region.webhook_host,
            type="A",
            set_identifier=scope.region.name,
            latency_routing_policies=[{"region": scope.region.name}],
            aliases=[{"name": address, "zone_id": address_zone, "evaluate_target_health": True}],
            health_check_id=check,
            opts=child,
        )
