import Postgres

/// Rules about the memory of guests that is kept with snapshots.
enum MemoryRules {
  static let rules: [(String, SQL)] = [
    (
      "memory of a guest is of a volume of its snapshot, and where that is",
      """
      SELECT format('snapshot %s', k.snapshot_id) FROM snapshot_memories k JOIN volumes v ON v.id = k.volume_id
       WHERE (k.pool_id, k.node_id, k.project_id) IS DISTINCT FROM (v.pool_id, v.node_id, v.project_id)
          OR NOT EXISTS (SELECT 1 FROM volume_snapshots m WHERE m.snapshot_id = k.snapshot_id AND m.volume_id = v.id)
      """
    ),
    (
      "memory that was written is promised what it takes",
      """
      SELECT format('snapshot %s: %s GiB promised, %s bytes written', k.snapshot_id, k.promised_gib, k.size_bytes)
        FROM snapshot_memories k
       WHERE k.promised_gib > greatest(1, ceil(k.size_bytes / 1073741824.0))
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'snapshot' AND w.id = k.snapshot_id)
      """
    ),
    (
      "what a VM is to go on from is there",
      """
      SELECT format('VM %s: snapshot %s', v.id, v.memory_snapshot_id) FROM vms v
       WHERE \(fragment: SnapshotMemory.isPending)
         AND NOT EXISTS (SELECT 1 FROM snapshot_memories k JOIN snapshots s ON s.id = k.snapshot_id
                          WHERE k.snapshot_id = v.memory_snapshot_id AND s.vm_id = v.id AND s.deleted_at IS NULL)
      """
    ),
  ]
}
