-- Availability: when services and instances were not plainly healthy.

-- One row: since when that is recorded, and when a server last wrote that it runs.
CREATE TABLE recorded (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    since INTEGER NOT NULL,
    alive INTEGER NOT NULL
) STRICT;

-- When no server ran: nothing is known of any service.
CREATE TABLE gap (
    started INTEGER PRIMARY KEY,
    ended   INTEGER NOT NULL
) STRICT;

-- `instance` is empty for the service as a whole. The row of an instance `*` says that the service's rows up to `ended` are forgotten.
-- `ended` is the greatest integer while it lasts. `check_name` is null for the check `default`.
CREATE TABLE span (
    id         INTEGER PRIMARY KEY,
    service    BLOB    NOT NULL,
    key        TEXT    NOT NULL,
    instance   TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    started    INTEGER NOT NULL,
    ended      INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    check_name TEXT
) STRICT;
CREATE INDEX span_service ON span (service, instance, ended);
CREATE INDEX span_ended ON span (ended);
CREATE INDEX span_outage ON span (kind, id, ended) WHERE instance = '' AND kind = 'unhealthy';
