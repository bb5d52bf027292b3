-- What a change of the authority has to wait for.
ALTER TABLE nodes
  -- The fingerprint of the authority that signed the newest certificate which the node has shown; NULL: not known.
  ADD certificate_authority  text,
  -- When that certificate ends. Those from before are good for seven days at most.
  ADD certificate_expires_at timestamptz NOT NULL DEFAULT aloft_now() + interval '7 days',
  -- Fingerprints of the authorities that the agent says it trusts.
  ADD trusted_authorities    text[] NOT NULL DEFAULT '{}';
