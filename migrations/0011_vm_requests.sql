-- What makes sense once only, and must be carried out once only: the agent journals the id.
CREATE TABLE vm_requests (
  id         uuid PRIMARY KEY,
  vm_id      uuid NOT NULL REFERENCES vms ON DELETE CASCADE,
  kind       text NOT NULL CHECK (kind IN ('reboot', 'reset')),
  created_at timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE INDEX vm_requests_by_vm ON vm_requests (vm_id);
