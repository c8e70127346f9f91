"""How webhooks reach the phase-2 host: TLS ends at an HTTP API, which goes on inside the VPC. No port is open."""

from __future__ import annotations

import pulumi
from pulumi_aws import acm, apigatewayv2, cloudwatch, ec2, kms, servicediscovery, vpc

from infra.compose import GATEWAY_PORT
from infra.host import Host
from infra.network import Network
from infra.scope import Scope

ROUTES = ("POST /webhook", "GET /health")
REQUESTS_A_SECOND = 5
"""GitHub sends far fewer. All month it would be the 13 million requests that the worst bill counts."""


class FrontDoor(pulumi.ComponentResource):
    """HTTP API with the webhook host's name, a VPC link, and the host's address in Cloud Map."""

    def __init__(
        self,
        scope: Scope,
        network: Network,
        host: Host,
        key: kms.Key,
        certificate: acm.CertificateValidation,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("agents-cloud:infra:FrontDoor", scope.resource("front-door"), None, opts)
        child = pulumi.ResourceOptions(parent=self)
        group = ec2.SecurityGroup(
            scope.resource("front-door-group"),
            name=scope.name("front-door"),
            description="The VPC link of the webhook API",
            vpc_id=network.vpc.id,
            tags={"Name": scope.name("front-door")},
            opts=child,
        )
        vpc.SecurityGroupEgressRule(
            scope.resource("front-door-out"),
            security_group_id=group.id,
            description="The gateway on the host",
            ip_protocol="tcp",
            from_port=GATEWAY_PORT,
            to_port=GATEWAY_PORT,
            referenced_security_group_id=host.group.id,
            opts=child,
        )
        host.admit(scope, "front-door", group.id)
        link = apigatewayv2.VpcLink(
            scope.resource("front-door"),
            name=scope.name("webhook"),
            subnet_ids=network.ids("private"),
            security_group_ids=[group.id],
            opts=child,
        )
        api = apigatewayv2.Api(
            scope.resource("front-door"),
            name=scope.name("webhook"),
            protocol_type="HTTP",
            # Only under the webhook host's own name, where its certificate and its DNS are.
            disable_execute_api_endpoint=True,
            opts=child,
        )
        integration = apigatewayv2.Integration(
            scope.resource("front-door"),
            api_id=api.id,
            integration_type="HTTP_PROXY",
            integration_method="ANY",
            connection_type="VPC_LINK",
            connection_id=link.id,
            integration_uri=self._registered(scope, host, child).arn,
            timeout_milliseconds=10_000,  # GitHub gives a delivery up after ten seconds
            opts=child,
        )
        for route in ROUTES:
            apigatewayv2.Route(
                scope.resource(f"front-door-{route.split('/')[-1]}"),
                api_id=api.id,
                route_key=route,
                target=pulumi.Output.concat("integrations/", integration.id),
                opts=child,
            )
        logs = cloudwatch.LogGroup(
            scope.resource("front-door"),
            name=f"/agents-cloud/{scope.settings.stack}/front-door",
            retention_in_days=scope.settings.log_days,
            kms_key_id=key.arn,
            opts=child,
        )
        stage = apigatewayv2.Stage(
            scope.resource("front-door"),
            api_id=api.id,
            name="$default",
            auto_deploy=True,
            default_route_settings={
                "throttling_rate_limit": REQUESTS_A_SECOND,
                "throttling_burst_limit": 5 * REQUESTS_A_SECOND,
            },
            access_log_settings={
                "destination_arn": logs.arn,
                # No path, no body, no address: a line for each request, nothing about anybody.
                "format": '{"request":"$context.requestId","route":"$context.routeKey","status":"$context.status"}',
            },
            opts=child,
        )
        self.domain = apigatewayv2.DomainName(
            scope.resource("front-door"),
            domain_name=scope.region.webhook_host,
            domain_name_configuration={
                "certificate_arn": certificate.certificate_arn,
                "endpoint_type": "REGIONAL",
                "security_policy": "TLS_1_2",
            },
            opts=child,
        )
        apigatewayv2.ApiMapping(
            scope.resource("front-door"),
            api_id=api.id,
            domain_name=self.domain.id,
            stage=stage.id,
            opts=child,
        )
        self.register_outputs({})

    def _registered(self, scope: Scope, host: Host, opts: pulumi.ResourceOptions) -> servicediscovery.Service:
        """The host's address where a VPC link looks for it."""
        namespace = servicediscovery.HttpNamespace(scope.resource("front-door"), name=scope.prefix, opts=opts)
        service = servicediscovery.Service(
            scope.resource("front-door"), name="gateway", namespace_id=namespace.id, opts=opts
        )
        servicediscovery.Instance(
            scope.resource("front-door"),
            service_id=service.id,
            instance_id="host",
            attributes={
                "AWS_INSTANCE_IPV4": host.instance.private_ip,
                "AWS_INSTANCE_PORT": str(GATEWAY_PORT),
            },
            opts=opts,
        )
        return service
