"""The smallest program with a provider per region, one data resource and one object in a cluster."""

import json

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

provider = aws.Provider("us-west-2", region="us-west-2", allowed_account_ids=["000000000000"])
vpc = aws.ec2.Vpc(
    "network",
    cidr_block=pulumi.Config().get("homeCidr") or "10.0.0.0/16",
    opts=pulumi.ResourceOptions(provider=provider),
)
kubeconfig = {"clusters": [{"cluster": {"server": "https://x.gr7.us-west-2.eks.amazonaws.com"}}]}
cluster = kubernetes.Provider("cluster", kubeconfig=json.dumps(kubeconfig))
kubernetes.core.v1.Namespace(
    "agents", metadata={"name": "agents"}, opts=pulumi.ResourceOptions(provider=cluster)
)
pulumi.export("vpc", vpc.id)
