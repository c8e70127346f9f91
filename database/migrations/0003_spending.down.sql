-- The way back forgets what was spent this month: note the totals first.
DROP FUNCTION settle_spending(uuid, numeric);
DROP FUNCTION reserve_spending(uuid, bigint, numeric);
DROP TABLE spending, spending_totals, spending_caps;
