-- What is on a node though nothing that it was told of needs it, in its agent's words.
ALTER TABLE nodes ADD COLUMN orphans text[] NOT NULL DEFAULT '{}';
