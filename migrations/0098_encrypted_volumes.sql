-- All layers of an encrypted volume are locked with its key, which lies here sealed with the operator's. A clone has the key of what it
-- was cloned from, sealed as its own.
ALTER TABLE volumes ADD encrypted boolean NOT NULL DEFAULT false, ADD sealed_key bytea;
ALTER TABLE volumes ADD CONSTRAINT volumes_key_encrypts CHECK (encrypted OR sealed_key IS NULL);
