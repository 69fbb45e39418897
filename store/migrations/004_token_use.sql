-- How often an open token has let somebody ring.
CREATE TABLE token_use (
	aor     TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	salt    BLOB NOT NULL,
	uses    INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	PRIMARY KEY (aor, salt)
) STRICT;
