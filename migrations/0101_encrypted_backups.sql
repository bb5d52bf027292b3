-- The chunks of an encrypted volume's backups are sealed with its key. A backup outlives its volume, so it has the key too, sealed as its own
-- with the operator's, until it is deleted or has failed.
ALTER TABLE backups ADD encrypted boolean NOT NULL DEFAULT false, ADD sealed_key bytea;
ALTER TABLE backups ADD CONSTRAINT backups_key_encrypts CHECK (encrypted OR sealed_key IS NULL);
