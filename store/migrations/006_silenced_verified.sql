-- Whether the caller's identity was established.
ALTER TABLE silenced ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
