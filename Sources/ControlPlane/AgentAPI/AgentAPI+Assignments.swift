import AloftModel
import Foundation
import Postgres

extension AgentAPI {
  /// The longest time that a poll is held, and how often it looks again whatever wake-ups were lost.
  private static let longestPoll = 60
  private static let lookAgain = Duration.seconds(5)

  /// How much one answer holds: documents, and bytes of what users wrote into them, which JSON may make six times as long.
  /// Agents take 16 MiB.
  private static let pageDocuments = 500
  private static let pageBytes = 2 << 20

  /// The documents of a node that changed behind `after`, as soon as there are any, `wait` seconds have passed or this
  /// replica is about to go down.
  func assignments(of node: NodeID, query: String?) async throws -> Reply {
    let parameters = Self.parameters(query)
    let after = parameters["after"] ?? 0
    let deadline = plane.environment.uptime() + Double(min(parameters["wait"] ?? 0, Self.longestPoll))
    while true {
      let ticket = plane.wakeups.ticket(.node(node.uuid))
      let answer = try await plane.database.transaction { session in
        try read(node, after: after, in: session)
      }
      let left = deadline - plane.environment.uptime()
      let isDue = left <= 0 || answer.revision < after || plane.wakeups.isDraining
      let isNews = !answer.documents.isEmpty || answer.volumes?.isEmpty == false || !answer.streams.isEmpty
      if isDue || isNews {
        return try .encoded(answer)
      }
      try Task.checkCancellation()
      await plane.wakeups.wait(
        for: .node(node.uuid), since: ticket, atMost: min(Self.lookAgain, .milliseconds(Int(left * 1000) + 1)))
    }
  }

  /// The node's count is read before the documents: what is committed in between comes twice rather than never.
  private func read(_ node: NodeID, after: Int, in session: Session) throws -> Assignments {
    // A count from the future is of a database that was restored: everything is sent again.
    let results = try session.pipeline([
      "SELECT assignment_revision FROM nodes WHERE id = \(node)",
      """
      WITH changed AS (
        SELECT v.id, v.assignment_revision, count(*) OVER () AS all_documents,
               coalesce(sum(octet_length(v.user_data) + octet_length(v.ssh_keys::text)) OVER (
                 ORDER BY v.assignment_revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
          FROM nodes n JOIN claims c ON c.node_id = n.id JOIN vms v ON v.id = c.vm_id
         WHERE n.id = \(node) AND c.purpose = 'run'
           AND v.assignment_revision > CASE WHEN \(after)::bigint > n.assignment_revision THEN 0 ELSE \(after)::bigint END
      )
      SELECT v.id, v.incarnation, v.generation, v.deleted_at IS NOT NULL, v.desired_power, v.stop_grace_seconds, v.name,
             v.hostname, v.vcpus, v.memory_mib, v.accelerator, v.ssh_keys, v.user_data,
             (SELECT array_agg(r.id ORDER BY r.id) FROM vm_requests r WHERE r.vm_id = v.id),
             (SELECT array_agg(r.kind ORDER BY r.id) FROM vm_requests r WHERE r.vm_id = v.id),
             p.assignment_revision, p.all_documents, EXISTS (SELECT 1 FROM nics c WHERE c.vm_id = v.id),
             \(fragment: VMDisk.column), \(fragment: SnapshotMemory.assigned)
        FROM changed p JOIN vms v ON v.id = p.id
       WHERE p.bytes_before < \(Self.pageBytes)
       ORDER BY p.assignment_revision LIMIT \(Self.pageDocuments)
      """,
      AssignedVolumes.changed(on: node, after: after, limit: Self.pageDocuments),
    ])
    guard let revision = try results[0].first?.get(0, as: Int.self) else { throw Self.removed(node) }
    let rows = results[1]
    let isComplete = try rows.last.map { try $0.get(16, as: Int.self) == rows.count } ?? true
    let volumes = try AssignedVolumes(results[2], open: openKey)
    let sequence = after == 0 || after > revision ? try Self.highestSequence(of: node, in: session) : nil
    let connected = try rows.filter { try $0.get(17) }.map { try $0.get(0, as: UUID.self) }
    let plugs = try AssignedNICs.read(of: connected, in: session)
    let streams = try session.commit(
      with:
        """
        DELETE FROM stream_requests WHERE node_id = \(node) RETURNING id, replica_url, vm_id, byte_offset, follow
        """
    ).map { row in
      StreamRequest(
        id: try row.get(0), url: try row.get(1), kind: .serialLog, vm: try row.get(2), offset: try row.get(3),
        follow: try row.get(4))
    }
    // What is behind the end of the shorter of two lists that are cut off comes again.
    let end = isComplete ? revision : try rows.last?.get(15) ?? revision
    return Assignments(
      revision: min(end, volumes.end ?? revision), documents: try rows.map { try Self.assignment($0, plugs) },
      volumes: volumes.documents, streams: streams, sequence: sequence, complete: isComplete && volumes.end == nil)
  }

  /// Only the agent whose node has the volume gets its key.
  private func openKey(of volume: VolumeID, _ sealed: [UInt8]) -> VolumeKey? {
    do { return try plane.sealing.open(sealed, of: volume) } catch {
      plane.logger.error(
        "the key of a volume cannot be opened", metadata: ["volume": "\(volume)", "failure": "\(error)"])
      return nil
    }
  }

  /// What an agent that starts anew has to count from: older sequences are old news.
  private static func highestSequence(of node: NodeID, in session: Session) throws -> Int {
    let row = try session.one(
      """
      SELECT greatest(
        (SELECT max(o.sequence) FROM claims c JOIN vm_observations o ON o.vm_id = c.vm_id WHERE c.node_id = \(node)),
        (SELECT max(o.sequence) FROM volumes v JOIN volume_observations o ON o.volume_id = v.id
          WHERE v.node_id = \(node)),
        0)
      """)
    return try row?.get(0, as: Int.self) ?? 0
  }

  private static func assignment(_ row: Row, _ plugs: [VMID: AssignedNICs]) throws -> Assignment {
    let vm = try row.get(0, as: VMID.self)
    let ids = try row.get(13, as: [UUID]?.self) ?? []
    let kinds = try row.get(14, as: [String]?.self) ?? []
    let requests = zip(ids, kinds).compactMap { id, kind in
      Assignment.Request.Kind(rawValue: kind).map { Assignment.Request(id: VMRequestID(id), kind: $0) }
    }
    return Assignment(
      vm: vm, incarnation: try row.get(1), generation: try row.get(2), deleted: try row.get(3),
      power: try row.get(4), stopGraceSeconds: try row.get(5), name: try row.get(6), hostname: try row.get(7),
      vcpus: try row.get(8), memoryMib: try row.get(9), accelerator: try row.get(10), sshKeys: try row.get(11),
      userData: try row.get(12),
      disks: try VMDisk.list(row, at: 18).filter { !$0.isLeaving }.map {
        Assignment.Disk(volume: $0.volume, bus: $0.bus, bootIndex: $0.bootIndex, limits: $0.limits)
      },
      // No NICs is said: an agent takes silence for a control plane without networks, and would leave a guest what it has.
      requests: requests, nics: plugs[vm]?.nics ?? [], networks: plugs[vm]?.networks ?? [],
      memory: try SnapshotMemory.assignment(row, at: 19))
  }

  private static func parameters(_ query: String?) -> [String: Int] {
    var values: [String: Int] = [:]
    for pair in (query ?? "").split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1)
      if parts.count == 2, let value = Int(parts[1]), value >= 0 { values[String(parts[0])] = value }
    }
    return values
  }
}
