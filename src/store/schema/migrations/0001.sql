-- Portolan's store, schema 1. Times are milliseconds since the Unix epoch, UTC.
PRAGMA application_id = 0x5072746C; -- "Prtl"

-- One row. `serial` is the last number given to a service row, an instance or a generation; `floor` is the newest
-- revision that `change` no longer holds; `run` is renewed at every start and repeated in the lock file.
CREATE TABLE meta (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    epoch    TEXT    NOT NULL,
    run      TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    serial   INTEGER NOT NULL,
    floor    INTEGER NOT NULL
) STRICT;

CREATE TABLE service (
    row           INTEGER PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE,
    namespace     TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    registered_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    revision      INTEGER NOT NULL
) STRICT;

-- `id` is the number of its first generation. `check_json` and `metadata` are null where they are empty.
CREATE TABLE instance (
    id          INTEGER PRIMARY KEY,
    service     INTEGER NOT NULL REFERENCES service (row) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    base_url    TEXT    NOT NULL,
    health_url  TEXT,
    check_json  TEXT,
    version     TEXT    NOT NULL,
    description TEXT    NOT NULL,
    metadata    TEXT,
    weight      INTEGER NOT NULL,
    zone        TEXT    NOT NULL,
    health      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    UNIQUE (service, name)
) STRICT;

-- What is known of an instance's probing. `state`, `last` and `last_pass` are JSON; `samples` holds 16 bytes each.
CREATE TABLE probe (
    instance   INTEGER PRIMARY KEY REFERENCES instance (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    next_due   INTEGER NOT NULL,
    last       TEXT,
    last_pass  TEXT,
    samples    BLOB    NOT NULL
) STRICT;

-- History: changes of health and removals. It outlives its service, so it refers to nothing. Its ids are cursors: none is given
-- twice, also after every row was trimmed.
CREATE TABLE transition (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    service     BLOB    NOT NULL,
    key         TEXT    NOT NULL,
    instance    TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    from_health TEXT    NOT NULL,
    to_health   TEXT, -- null: removed
    reason      TEXT, -- null: removed
    message     TEXT    NOT NULL,
    evidence    TEXT  -- JSON
) STRICT;
CREATE INDEX transition_service ON transition (service);
CREATE INDEX transition_removed ON transition (key) WHERE to_health IS NULL;

-- Which service each revision changed; the oldest rows are trimmed.
CREATE TABLE change (
    revision INTEGER PRIMARY KEY,
    service  BLOB    NOT NULL,
    key      TEXT    NOT NULL,
    deleted  INTEGER NOT NULL
) STRICT;
