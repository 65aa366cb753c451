-- Rows that cannot be read, and whether the last server ended in order.

-- A row of `source` that this version could not read: taken out of there, kept here. `row` is its number there, `name` what it
-- belonged to, `content` its columns as JSON, of which bytes that are no text are {"hex": "…"}.
CREATE TABLE quarantine (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    source  TEXT    NOT NULL,
    row     INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    content TEXT    NOT NULL
) STRICT;

-- 1 while a server has the file open: then what it wrote last may be in the write-ahead log alone.
ALTER TABLE meta ADD COLUMN served INTEGER NOT NULL DEFAULT 0;
