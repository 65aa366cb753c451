-- Cluster mode: the file mirrors what the Kubernetes API holds.

-- `mirror`: 0 where the file is the record itself, 1 where it mirrors another, 2 once it has held all of it. `began` is when the
-- file was made.
ALTER TABLE meta ADD COLUMN mirror INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN began INTEGER NOT NULL DEFAULT 0;

-- Whether its health is this replica's own word, which no status has carried yet.
ALTER TABLE service ADD COLUMN unreported INTEGER NOT NULL DEFAULT 0;

-- What readers see for a generation; null where it is the generation.
ALTER TABLE instance ADD COLUMN fence INTEGER;
