-- What the agent saw last. Only its reports write here; a report about an older incarnation is dropped.
CREATE TABLE vm_observations (
  vm_id           uuid PRIMARY KEY REFERENCES vms ON DELETE CASCADE,
  incarnation     bigint NOT NULL,
  generation      bigint NOT NULL,
  power           text NOT NULL CHECK (power IN ('absent', 'stopped', 'running', 'paused', 'crashed')),
  guest_stopped   boolean NOT NULL DEFAULT false,
  activity        text,
  progress        integer,
  problem_code    text,
  problem_detail  text,
  -- The agent's own count of its reports about this VM within one incarnation: a late copy of an older one is dropped.
  sequence        bigint NOT NULL,
  reported_at     timestamptz NOT NULL DEFAULT aloft_now()
);
