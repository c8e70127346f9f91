-- What the gateway needs to find events whose webhook was lost, and to apply each once, in GitHub's order.

-- How far each repository was looked through for them.
CREATE TABLE reconciled (repository text PRIMARY KEY, looked_until timestamptz NOT NULL);

-- The newest that was heard of each matter, however it came: an older word, or the same once more, changes nothing.
CREATE TABLE last_words (
    repository text NOT NULL,
    number integer NOT NULL,  -- of the issue or pull request
    topic text NOT NULL,  -- state, label <name>, agent, merge, commit, verdict <mission>
    said text NOT NULL,
    said_at timestamptz NOT NULL,  -- GitHub's clock
    PRIMARY KEY (repository, number, topic)
);
CREATE INDEX last_words_old ON last_words (said_at);

-- Pull requests that were taken back before anything was known of them, as when a history comes in several files.
CREATE TABLE reverts (
    repository text NOT NULL,
    number integer NOT NULL,
    reverted_by integer NOT NULL,
    reverted_at timestamptz NOT NULL,
    PRIMARY KEY (repository, number)
);

-- Which issues and pull requests were erased, so that no later event and no history file brings their words back.
CREATE TABLE erased_works (
    work_digest text PRIMARY KEY,  -- sha256 of owner/name#number, in lower case
    erased_on date NOT NULL DEFAULT current_date
);
INSERT INTO erased_works (work_digest, erased_on)
SELECT DISTINCT ON (1) encode(sha256(convert_to(lower(repository) || '#' || issue_number, 'UTF8')), 'hex'), erased_at::date
FROM missions WHERE erased_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON reconciled, last_words TO gateway;
GRANT SELECT, INSERT, DELETE ON reverts TO gateway;
GRANT SELECT, DELETE ON erased_works TO gateway;

-- What was heard so far, so that the first pass does not apply it again.
WITH heard AS (
    SELECT repository, (payload#>>'{issue,number}')::integer AS number,
           CASE WHEN payload->>'action' IN ('closed', 'reopened') THEN 'state'
                ELSE 'label ' || lower(payload#>>'{label,name}') END AS topic,
           payload->>'action' AS said,
           CASE WHEN payload->>'action' = 'closed' THEN payload#>>'{issue,closed_at}'
                ELSE payload#>>'{issue,updated_at}' END AS said_at
    FROM inbox
    WHERE event = 'issues' AND payload->>'action' IN ('closed', 'reopened', 'labeled', 'unlabeled')
      AND payload#>>'{issue,number}' ~ '^\d{1,9}$'
    UNION ALL
    SELECT repository, (payload#>>'{pull_request,number}')::integer, topic, said,
           payload#>>'{pull_request,closed_at}'
    FROM inbox CROSS JOIN LATERAL (VALUES
        ('merge', CASE payload#>>'{pull_request,merged}' WHEN 'true' THEN 'merged' ELSE 'closed' END),
        ('commit', CASE payload#>>'{pull_request,merged}' WHEN 'true' THEN payload#>>'{pull_request,merge_commit_sha}' END)
    ) AS words (topic, said)
    WHERE event = 'pull_request' AND payload->>'action' = 'closed' AND payload#>>'{pull_request,number}' ~ '^\d{1,9}$'
)
INSERT INTO last_words (repository, number, topic, said, said_at)
SELECT DISTINCT ON (repository, number, topic) repository, number, topic, said, said_at::timestamptz FROM heard
WHERE topic IS NOT NULL AND said IS NOT NULL AND said_at ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$'
ORDER BY repository, number, topic, said_at DESC;
