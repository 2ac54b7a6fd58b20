-- The counts of a minute are one row. Documented in store/sqlite/telemetry.
CREATE TABLE event_minutes (
    project INTEGER NOT NULL,
    start INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (project, start)
) STRICT, WITHOUT ROWID;

-- The hours whose minutes are still rows of event_counts. Afterwards, each is moved in one
-- transaction, and the table is removed.
CREATE TABLE unmoved_hours (
    project INTEGER NOT NULL,
    start INTEGER NOT NULL,
    PRIMARY KEY (project, start)
) STRICT, WITHOUT ROWID;
-- 1 is the type of events.
INSERT INTO unmoved_hours SELECT project, start FROM event_counts WHERE span = 3600 AND field = 1;
