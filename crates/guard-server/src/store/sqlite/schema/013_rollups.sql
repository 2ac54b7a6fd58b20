-- Wider rollups, for the first page and for ranges of weeks. Documented in store/sqlite/telemetry.
CREATE TABLE event_quarters (
    project INTEGER NOT NULL,
    start INTEGER NOT NULL,
    type INTEGER NOT NULL,
    action INTEGER NOT NULL,
    method INTEGER NOT NULL,
    status INTEGER NOT NULL,
    country INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (project, start, type, action, method, status, country, endpoint)
) STRICT, WITHOUT ROWID;

-- The hours whose older rollups are not summed up in the new ones yet. Afterwards, each is summed
-- up in one transaction, and the table is removed.
CREATE TABLE unfilled_hours (
    project INTEGER NOT NULL,
    start INTEGER NOT NULL,
    PRIMARY KEY (project, start)
) STRICT, WITHOUT ROWID;
-- 1 is the type of events.
INSERT INTO unfilled_hours
    SELECT project, start FROM event_counts WHERE span = 3600 AND field = 1
    UNION SELECT project, start FROM metric_rollups WHERE span = 3600;
