-- How much a guest may read from and write to a volume: an object with a member for each measure that is limited.
ALTER TABLE volumes ADD io_limits jsonb NOT NULL DEFAULT '{}';

-- Those volumes that the guest has with other limits than it is to have; null: none.
ALTER TABLE vm_observations ADD stale_disks uuid[];
