CREATE TABLE user (
	aor        TEXT PRIMARY KEY,
	ha1_sha256 TEXT NOT NULL,
	ha1_md5    TEXT NOT NULL,
	created    INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
	aor   TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	name  TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (aor, name)
) STRICT;

-- Public keys of privacy tokens, four a user at most.
CREATE TABLE key (
	aor     TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	public  BLOB NOT NULL,
	label   TEXT NOT NULL,
	created INTEGER NOT NULL,
	PRIMARY KEY (aor, public)
) STRICT;

-- Whom a user lets never ring: an address of record, or "@domain".
CREATE TABLE block (
	aor    TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	caller TEXT NOT NULL,
	PRIMARY KEY (aor, caller)
) STRICT;

-- Salts of tokens that a user took back, until they would have expired.
CREATE TABLE revocation (
	aor     TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	salt    BLOB NOT NULL,
	expires INTEGER NOT NULL,
	PRIMARY KEY (aor, salt)
) STRICT;

-- Who used a first-use token first: a hash of salt and caller.
CREATE TABLE first_use (
	aor     TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	salt    BLOB NOT NULL,
	holder  BLOB NOT NULL,
	expires INTEGER NOT NULL,
	PRIMARY KEY (aor, salt)
) STRICT;

-- Whom a user called or messaged: hashes with the key of the day, which is
-- deleted with them.
CREATE TABLE day_key (
	day INTEGER PRIMARY KEY,
	key BLOB NOT NULL
) STRICT;

CREATE TABLE recent (
	hash BLOB PRIMARY KEY,
	day  INTEGER NOT NULL REFERENCES day_key (day) ON DELETE CASCADE
) STRICT;

CREATE TABLE silenced (
	id        INTEGER PRIMARY KEY,
	recipient TEXT NOT NULL REFERENCES user (aor) ON DELETE CASCADE,
	caller    TEXT NOT NULL,
	at        INTEGER NOT NULL,
	media     TEXT NOT NULL,
	reason    TEXT NOT NULL,
	notified  INTEGER NOT NULL
) STRICT;
CREATE INDEX silenced_of ON silenced (recipient, id);

-- Secrets of the server, the current one first.
CREATE TABLE secret (
	name    TEXT NOT NULL,
	age     INTEGER NOT NULL,
	value   BLOB NOT NULL,
	PRIMARY KEY (name, age)
) STRICT;

CREATE TABLE snapshot (
	kind  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT;
