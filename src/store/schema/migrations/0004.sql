-- A program's life in the registry: several checks of an instance, tags, drains, and the check behind a verdict.

-- All are null where there is nothing. `tags`, `checks`, `drain` and `warning` are JSON; `deregister_after` is in seconds; `decided_by`
-- is null for the check `default`.
ALTER TABLE instance ADD COLUMN tags TEXT;
ALTER TABLE instance ADD COLUMN external_id TEXT;
ALTER TABLE instance ADD COLUMN checks TEXT;
ALTER TABLE instance ADD COLUMN deregister_after INTEGER;
ALTER TABLE instance ADD COLUMN drain TEXT;
ALTER TABLE instance ADD COLUMN warning TEXT;
ALTER TABLE instance ADD COLUMN observed_version TEXT;
ALTER TABLE instance ADD COLUMN decided_by TEXT;

-- `event` is null for a change of health and a removal, which `to_health` tells apart; else `drained` or `undrained`. `check_name` is the
-- check that decided, null for `default` and where none did.
ALTER TABLE transition ADD COLUMN event TEXT;
ALTER TABLE transition ADD COLUMN check_name TEXT;

-- Probing is known for each check of an instance, no longer for the instance alone.
ALTER TABLE probe RENAME TO probe_of_instance;
CREATE TABLE probe (
    row        INTEGER PRIMARY KEY,
    instance   INTEGER NOT NULL REFERENCES instance (id) ON DELETE CASCADE,
    check_name TEXT    NOT NULL DEFAULT 'default',
    generation INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    next_due   INTEGER NOT NULL,
    last       TEXT,
    last_pass  TEXT,
    samples    BLOB    NOT NULL,
    UNIQUE (instance, check_name)
) STRICT;
-- A damaged row must not keep the others from being moved.
INSERT OR IGNORE INTO probe (row, instance, generation, state, next_due, last, last_pass, samples)
SELECT instance, instance, generation, state, next_due, last, last_pass, samples FROM probe_of_instance
WHERE instance IN (SELECT id FROM instance)
    AND typeof(generation) = 'integer' AND typeof(next_due) = 'integer' AND typeof(state) = 'text'
    AND typeof(last) IN ('text', 'null') AND typeof(last_pass) IN ('text', 'null') AND typeof(samples) = 'blob';
DROP TABLE probe_of_instance;
