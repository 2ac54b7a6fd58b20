    -- Documented in store/sqlite/telemetry. The rows of the old tables are moved afterwards, in
    -- small transactions.
    DROP INDEX events_once;
    DROP INDEX metrics_once;
    ALTER TABLE events RENAME TO old_events;
    ALTER TABLE metrics RENAME TO old_metrics;

    CREATE TABLE names (
        project INTEGER NOT NULL,
        field INTEGER NOT NULL,
        id INTEGER NOT NULL,
        text TEXT NOT NULL,
        seen INTEGER NOT NULL,
        PRIMARY KEY (project, field, id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX names_text ON names (project, field, text);
    -- Types that are counted already keep their name.
    INSERT INTO names
        SELECT project_id, CASE kind WHEN 'event' THEN 1 ELSE 2 END,
            row_number() OVER (PARTITION BY project_id, kind ORDER BY type), type,
            unixepoch() / 86400
        FROM tallies WHERE outcome = 'stored' AND type <> '';

    CREATE TABLE events (
        project INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        key INTEGER NOT NULL,
        chunk INTEGER NOT NULL,
        position INTEGER NOT NULL,
        install INTEGER,
        type INTEGER NOT NULL,
        action INTEGER,
        method INTEGER,
        status INTEGER,
        country INTEGER,
        endpoint INTEGER,
        address ANY,
        reason INTEGER,
        user_agent INTEGER,
        response_time REAL,
        rule_type INTEGER,
        decorator INTEGER,
        handler INTEGER,
        pattern INTEGER,
        score INTEGER,
        rule INTEGER,
        rule_version INTEGER,
        service INTEGER,
        environment INTEGER,
        guard_project INTEGER,
        recent INTEGER,
        correlation INTEGER,
        trace INTEGER,
        PRIMARY KEY (project, timestamp, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE metrics (
        project INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        key INTEGER NOT NULL,
        chunk INTEGER NOT NULL,
        position INTEGER NOT NULL,
        install INTEGER,
        type INTEGER NOT NULL,
        endpoint INTEGER,
        method INTEGER,
        status INTEGER,
        value REAL,
        score INTEGER,
        rule INTEGER,
        rule_version INTEGER,
        service INTEGER,
        environment INTEGER,
        guard_project INTEGER,
        recent INTEGER,
        correlation INTEGER,
        trace INTEGER,
        PRIMARY KEY (project, timestamp, key)
    ) STRICT, WITHOUT ROWID;

    -- Ids are never used again: they are parts of cursors.
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        received_at INTEGER NOT NULL,
        live INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE bodies (
        id INTEGER PRIMARY KEY,
        data BLOB NOT NULL
    ) STRICT;

    CREATE INDEX chunks_of_project ON chunks (project);
    CREATE TRIGGER bodies_of_chunks AFTER DELETE ON chunks BEGIN
        DELETE FROM bodies WHERE id = OLD.id;
    END;

    CREATE TABLE event_counts (
        project INTEGER NOT NULL,
        span INTEGER NOT NULL,
        field INTEGER NOT NULL,
        start INTEGER NOT NULL,
        value ANY NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (project, span, field, start, value)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE event_hours (
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
    CREATE TABLE metric_rollups (
        project INTEGER NOT NULL,
        span INTEGER NOT NULL,
        type INTEGER NOT NULL,
        start INTEGER NOT NULL,
        endpoint INTEGER NOT NULL,
        method INTEGER NOT NULL,
        status INTEGER NOT NULL,
        n INTEGER NOT NULL,
        valued INTEGER NOT NULL,
        total REAL NOT NULL,
        least REAL,
        greatest REAL,
        sketch BLOB NOT NULL,
        PRIMARY KEY (project, span, type, start, endpoint, method, status)
    ) STRICT, WITHOUT ROWID;

    -- The bytes that a project's records took and gave back on each day.
    CREATE TABLE usage (
        project INTEGER NOT NULL,
        day INTEGER NOT NULL,
        added INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        PRIMARY KEY (project, day)
    ) STRICT, WITHOUT ROWID;
