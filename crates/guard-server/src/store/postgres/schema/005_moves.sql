-- The move of a file of SQLite to this database. Until it is finished, no server starts.
CREATE TABLE moves (
    origin text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
-- How far the records of each project are moved.
CREATE TABLE move_positions (
    project bigint NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    position text,
    is_done boolean NOT NULL,
    records bigint NOT NULL,
    PRIMARY KEY (project, kind)
);
