"""What stands in functions that run with their owner's rights: a line less, and an agent ends another's missions."""

from __future__ import annotations

from collections.abc import Mapping

from database.audit.check import Check

# Function → md5 of its body as the migrations leave it: all of `WITH_OWNERS_RIGHTS`, what they call or set off (checks
# and computed columns of tables too), which then runs with the same rights, and how agents recall.
#
# Whoever changes one in a migration changes its line here: `python -m pytest tests/servers/test_audit_bodies.py` fails
# until then, and prints the lines as they must be, to be pasted over these.
BODIES: Mapping[str, str] = {
    "abandon_missions": "305c38c1cc19c926ed5778de1d4fba31",
    "add_outcome": "28dd9d885ec49a20a9e97b53676fb09b",
    "current_agent": "95665824fa105b2fcc40c15fe079406d",
    "finish_mission": "d97c2880729c953a52a0591cb84f8a20",
    "is_recalled": "8ecfef63a07bcb6fcfab98c9b12cac13",
    "judge_outcome": "d194d2e168356e89bfa39394159c0439",
    "prune_memories": "5b75fd3cf2883c1a106a16efe3f283f5",
    "prune_missions": "7e36b6a4b59d9875c47e9c940f1d7d21",
    "recall_candidates": "df28eff12589bcfc785911e650efc12d",
    "refuse_other_space": "4e976921c16ff8373c196573e47e3570",
    "remember_outcome": "855ff6fce4c1b6e3df8a43eeb166a07c",
    "reserve_spending": "9a301e0d483389ed70048344696df0f4",
    "settle_spending": "112d9079ef123381bddf045a16e7e1fe",
    "standing": "41d5ed2bb3e9e2632532d5213eb4f484",
    "store_embedding": "b9a25b09052d6d1f37e19fc457b008a4",
    "store_outcome": "c926034b02a3bbed5c90a7c405eb45b2",
    "wilson_bound": "21c21fcdb81a591db874410302d79702",
}

_BODIES = """
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS w (name, digest)
), found AS (
    SELECT proname::text AS name, oid::regprocedure::text AS signature, md5(prosrc) AS digest
    FROM audited_functions WHERE pronamespace = 'public'::regnamespace
)
SELECT coalesce(signature || ' is not what the migrations make', name || '() is missing')
       || CASE name WHEN 'current_agent' THEN ': agents are told apart by it' ELSE '' END
FROM wanted LEFT JOIN found USING (name)
WHERE found.digest IS DISTINCT FROM wanted.digest ORDER BY 1
"""

BODY_CHECK = Check(
    "bodies",
    _BODIES,
    "restore the function as the newest migration that names it makes it",
    ([*BODIES], [*BODIES.values()]),
)
