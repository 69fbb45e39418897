-- Until when tokens of a key hold, if its owner has replaced it; 0: no end.
ALTER TABLE key ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
