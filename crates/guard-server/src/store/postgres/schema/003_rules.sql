-- The versions of rules, and drafts. `document` and `policy` are JSON.
CREATE TABLE rule_versions (
    project_id bigint NOT NULL REFERENCES projects (id),
    version bigint NOT NULL,
    document text NOT NULL,
    policy text NOT NULL,
    lease_ends bigint,
    due bigint,
    created_at bigint NOT NULL,
    action text NOT NULL,
    author text,
    reason text,
    -- Whether a program or the server made the version, not a person. Such versions are removed first.
    automatic boolean NOT NULL DEFAULT false,
    PRIMARY KEY (project_id, version)
);
CREATE TABLE rule_drafts (
    project_id bigint PRIMARY KEY REFERENCES projects (id),
    document text NOT NULL,
    saved_at bigint NOT NULL,
    author text,
    -- Names the document that was published when the draft was saved.
    base text
);

-- Who asks for rules. Of agents that do not name their process it is empty.
CREATE TABLE rule_followers (
    project_id bigint NOT NULL,
    install_id text COLLATE "C" NOT NULL,
    process text COLLATE "C" NOT NULL,
    agent text NOT NULL,
    seen_at bigint NOT NULL,
    asked_at bigint NOT NULL,
    holds boolean NOT NULL,
    interval bigint,
    fetched bigint,
    fetched_at bigint,
    applied bigint,
    applied_at bigint,
    in_force bigint,
    refused text,
    reported_at bigint,
    PRIMARY KEY (project_id, install_id, process)
);
-- By these the longest unseen are found and forgotten.
CREATE INDEX rule_followers_seen ON rule_followers (project_id, seen_at);

CREATE TABLE agent_status (
    project_id bigint NOT NULL,
    install_id text COLLATE "C" NOT NULL,
    received_at bigint NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (project_id, install_id)
);
CREATE INDEX agent_status_received ON agent_status (project_id, received_at);

-- The last totals that a process reported, to know what is new in the next report.
CREATE TABLE loss_totals (
    project bigint NOT NULL,
    install_id text COLLATE "C" NOT NULL,
    process text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    total bigint NOT NULL,
    seen bigint NOT NULL,
    PRIMARY KEY (project, install_id, process, reason)
);
CREATE INDEX loss_totals_seen ON loss_totals (project, seen);
-- Lost records per minute, which is in seconds since the epoch.
CREATE TABLE losses (
    project bigint NOT NULL,
    minute bigint NOT NULL,
    install_id text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (project, minute, install_id, reason)
);
