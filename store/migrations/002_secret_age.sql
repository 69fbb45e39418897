-- When a secret was made, so that it can be replaced in time; 0: not known.
ALTER TABLE secret ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
