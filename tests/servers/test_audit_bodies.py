"""What the audit compares functions with is what the migrations make, and none that matters is left out."""

from __future__ import annotations

import pytest

from database.audit.bodies import BODIES

# Those with their owner's rights, those that they call, and those compared already for another reason.
MADE = """
SELECT p.proname::text, md5(p.prosrc) FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
  AND (p.prosecdef OR p.proname = ANY($1) OR EXISTS (
      SELECT FROM pg_proc calling WHERE calling.pronamespace = p.pronamespace
        AND (calling.prosecdef OR calling.proname = ANY($1)) AND calling.prosrc ~ ('\\m' || p.proname || '\\(')))
  AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY p.proname::text COLLATE "C"
"""


async def test_the_digests_are_those_of_the_migrations(database):
    async with database.connect("agents_owner") as owner:
        made = dict(await owner.fetch(MADE, [*BODIES]))
    if made != BODIES:
        lines = "\n".join(f'    "{name}": "{digest}",' for name, digest in made.items())
        pytest.fail(f"the lines of BODIES in database/audit/bodies.py must be:\n{lines}", pytrace=False)
