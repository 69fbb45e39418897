-- Calls that are not kept are written here, and deleted in the same
-- transaction: what a call costs the disk tells nothing of its recipient.
CREATE TABLE decoy (
	id        INTEGER PRIMARY KEY,
	recipient TEXT NOT NULL,
	caller    TEXT NOT NULL,
	at        INTEGER NOT NULL,
	media     TEXT NOT NULL,
	reason    TEXT NOT NULL,
	notified  INTEGER NOT NULL,
	verified  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX decoy_of ON decoy (recipient, id);
