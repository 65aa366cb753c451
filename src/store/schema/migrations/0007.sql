-- The checks that do not pass besides the one that decides.

-- Null where there is none; else a JSON array of their names.
ALTER TABLE instance ADD COLUMN also_failing TEXT;
