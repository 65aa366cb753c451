-- Acknowledgements of failures.

-- Null where there is none; else JSON.
ALTER TABLE instance ADD COLUMN acknowledged TEXT;
