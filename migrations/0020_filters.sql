-- What lists are filtered by. `vms_name` holds only names that are taken; a list shows those that are being deleted too.
CREATE INDEX vms_by_name ON vms (project_id, name, id);
CREATE INDEX vms_by_label ON vms USING gin (labels);
CREATE INDEX images_by_label ON images USING gin (labels);

-- The VMs of a node, in the order of a page.
CREATE INDEX claims_by_node_and_vm ON claims (node_id, vm_id);
DROP INDEX claims_by_node;

-- Nearly all operations have succeeded. Those that have not are looked for.
CREATE INDEX operations_open_by_project ON operations (project_id, id) WHERE finished_at IS NULL;
CREATE INDEX operations_failed_by_project ON operations (project_id, id) WHERE status = 'failed';

-- Rows whose last run failed, which are counted.
CREATE INDEX work_failing ON work (kind) WHERE last_error IS NOT NULL;
