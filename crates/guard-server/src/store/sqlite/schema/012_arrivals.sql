-- Readers follow the events of a project in order of arrival: by chunk and position. A cursor has
-- `identity`, so that one of another project or file is noticed. `chunk` and `position` are the last
-- place from which an event was removed: a reader before it has missed something.
CREATE TABLE arrivals (
    project INTEGER PRIMARY KEY,
    identity INTEGER NOT NULL,
    chunk INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO arrivals (project, identity) SELECT id, random() FROM projects WHERE is_swept = 0;
CREATE TRIGGER arrivals_of_projects AFTER INSERT ON projects BEGIN
    INSERT INTO arrivals (project, identity) VALUES (NEW.id, random());
END;
