-- What a node's agent says about networks: null from agents that know nothing of them.
ALTER TABLE nodes ADD COLUMN networking jsonb;

-- Which NICs a VM's agent saw in its domain; null from agents that know nothing of them.
ALTER TABLE vm_observations ADD COLUMN nics uuid[];
