"""What a plan costs a month: at rest, and the worst of planned capacity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal

from infra.prices import EVERYWHERE, HOURS, Price, Prices
from infra.settings import Settings
from infra.shapes import Bill, BillLine, DatabasePlan, Kind, NodeGroupPlan, RegionPlan

CENT = Decimal("0.01")
TOKENS_AN_EMBEDDING = 500  # an issue's title and body; the longest are cut at 8,000 characters
BURST = 10  # the worst bill embeds ten times the usual number: the load that the proposal wants handled
GITHUB_ACTIONS_MONTHLY = (500, 1000)  # what the proposal says GitHub Actions costs today


@dataclass(slots=True)
class Ledger:
    """Collects lines of one region and remembers which prices they used."""

    prices: Prices
    region: str
    lines: list[BillLine] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)

    def add(
        self,
        item: str,
        kind: Kind,
        quantity: Decimal | int,
        most: Decimal | int | None = None,
        *,
        priced_in: str | None = None,
    ) -> None:
        """A line of `quantity` at rest and `most` (default: the same) at worst, at one price."""
        price = self._price(item, priced_in)
        self._append(
            item, kind, Decimal(quantity), Decimal(quantity if most is None else most), price, price.usd
        )

    def add_spot(self, group: NodeGroupPlan) -> None:
        """Spot nodes: at rest their types' mean spot price, at worst `max_size` of the dearest on demand."""
        spot = [self._price(f"ec2-spot/{name}") for name in group.instance_types]
        demand = [self._price(f"ec2/{name}") for name in group.instance_types]
        mean = (sum((price.usd for price in spot), Decimal(0)) / len(spot)).quantize(Decimal("0.0001"))
        item = f"ec2-spot/{'+'.join(group.instance_types)}"
        self._append(
            item,
            "compute",
            Decimal(group.nodes_at_rest * HOURS),
            Decimal(group.max_size * HOURS),
            replace(spot[0], usd=mean, seen=all(price.seen for price in spot)),
            max(price.usd for price in (*demand, *spot)),
        )

    def _price(self, item: str, region: str | None = None) -> Price:
        self.used.add((item, region or self.region))
        return self.prices.price(item, region or self.region)

    def _append(
        self, item: str, kind: Kind, quantity: Decimal, most: Decimal, price: Price, worst_price: Decimal
    ) -> None:
        self.lines.append(
            BillLine(
                item=item,
                kind=kind,
                region=self.region,
                quantity=quantity,
                most=most,
                unit=price.unit,
                unit_price=price.usd,
                monthly=cents(quantity * price.usd),
                worst=cents(most * worst_price),
                source=price.source,
                seen=price.seen,
            )
        )


def make_bill(
    regions: Sequence[RegionPlan], settings: Settings, prices: Prices
) -> tuple[Bill, set[tuple[str, str]]]:
    """The bill, and the (item, region) of every price in it. Raises PlanError for a price that is unknown."""
    ledgers = [_region_lines(region, settings, prices, share) for region, share in _shares(regions)]
    lines = tuple(line for ledger in ledgers for line in ledger.lines)
    base = sum((line.monthly for line in lines), Decimal(0))
    agents = sum(agent.runs_on == "cloud" for region in regions for agent in region.agents)
    spot_full, spot_saved, nodes_full = _spot(regions, prices)
    bill = Bill(
        lines=lines,
        base=base,
        worst=sum((line.worst for line in lines), Decimal(0)),
        annual=base * 12,
        spot_saving_percent=_percent(spot_saved, spot_full),
        compute_saving_percent=_percent(spot_saved, nodes_full),
        per_agent=cents(base / agents) if agents else Decimal(0),
        per_mission=cents(base / settings.missions_a_month),
        model_cap_monthly=settings.models.monthly_cap_usd,
        break_even=tuple((actions, base - actions) for actions in GITHUB_ACTIONS_MONTHLY),
    )
    return bill, {used for ledger in ledgers for used in ledger.used}


def cents(amount: Decimal) -> Decimal:
    """`amount` as AWS bills it: to the cent."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def _region_lines(region: RegionPlan, settings: Settings, prices: Prices, share: Decimal) -> Ledger:
    ledger = Ledger(prices, region.name)
    if region.host is not None:
        ledger.add(f"ec2/{region.host.instance_type}", "compute", HOURS)
        ledger.add("ebs-gp3", "compute", region.host.disk_gb)
        ledger.add("ipv4", "services", HOURS)
    if region.node_groups:
        _cluster(ledger, region)
    _database(ledger, region.database)
    if region.cache is not None:
        ledger.add(f"valkey/{region.cache.node_type}", "database", region.cache.nodes * HOURS)
    for meter in prices.meters:
        if settings.phase in meter.quantities and (region.home or not meter.home_only):
            ledger.add(meter.item, meter.kind, *meter.quantities[settings.phase])
    tokens = Decimal(settings.models.embeddings_a_month * TOKENS_AN_EMBEDDING) * share / 1_000_000
    tokens = tokens.quantize(Decimal("0.001"))
    ledger.add(
        f"embeddings/{settings.models.embedding_model}",
        "services",
        tokens,
        tokens * BURST,
        priced_in=EVERYWHERE,
    )
    return ledger


def _cluster(ledger: Ledger, region: RegionPlan) -> None:
    ledger.add("eks", "compute", HOURS)
    for group in region.node_groups:
        if group.spot:
            ledger.add_spot(group)
        else:
            dearest = max(
                group.instance_types, key=lambda name: ledger.prices.price(f"ec2/{name}", region.name).usd
            )
            ledger.add(f"ec2/{dearest}", "compute", group.nodes_at_rest * HOURS, group.max_size * HOURS)
    disks = sum(group.nodes_at_rest * group.disk_gb for group in region.node_groups)
    ledger.add(
        "ebs-gp3", "compute", disks, sum(group.max_size * group.disk_gb for group in region.node_groups)
    )
    ledger.add("nat", "services", HOURS)
    ledger.add("alb", "services", HOURS)
    zones = len({block.availability_zone for block in region.subnets})
    ledger.add(
        "ipv4", "services", HOURS * (1 + zones)
    )  # the NAT gateway's, and the load balancer's in each zone


def _database(ledger: Ledger, database: DatabasePlan) -> None:
    copies = 2 if database.multi_az else 1
    ledger.add(f"rds/{database.instance_class}", "database", copies * HOURS)
    ledger.add("rds-gp3", "database", copies * database.storage_gb, copies * database.max_storage_gb)
    if database.backup_copy_region is not None:
        # One full copy and the changes of the retention time, which we take to be no more than another.
        ledger.add(
            "rds-backup-copy",
            "database",
            database.storage_gb,
            2 * database.max_storage_gb,
            priced_in=database.backup_copy_region,
        )


def _shares(regions: Sequence[RegionPlan]) -> Iterator[tuple[RegionPlan, Decimal]]:
    """Each region with its share of the agents, hence of the embeddings."""
    total = sum(len(region.agents) for region in regions)
    for region in regions:
        yield region, Decimal(len(region.agents)) / total if total else Decimal(0)


def _spot(regions: Sequence[RegionPlan], prices: Prices) -> tuple[Decimal, Decimal, Decimal]:
    """USD an hour at rest: (spot nodes if on demand, what spot saves of that, all nodes if on demand)."""
    spot_full = saved = full = Decimal(0)
    for region in regions:
        for group in region.node_groups:
            demand = [prices.price(f"ec2/{name}", region.name).usd for name in group.instance_types]
            cost = group.nodes_at_rest * sum(demand, Decimal(0)) / len(demand)
            full += cost
            if group.spot:
                spot = [prices.price(f"ec2-spot/{name}", region.name).usd for name in group.instance_types]
                spot_full += cost
                saved += cost - group.nodes_at_rest * sum(spot, Decimal(0)) / len(spot)
    return spot_full, saved, full


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    return (part / whole * 100).quantize(Decimal("0.1")) if whole else Decimal(0)
