-- Media sessions of calls under way, so that they outlive the process.
CREATE TABLE media (
	session INTEGER PRIMARY KEY,
	value   BLOB NOT NULL
) STRICT;
