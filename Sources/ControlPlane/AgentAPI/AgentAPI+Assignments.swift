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
        try Self.read(node, after: after, in: session)
      }
      let left = deadline - plane.environment.uptime()
      let isDue = left <= 0 || answer.revision < after || plane.wakeups.isDraining
      if isDue || !answer.documents.isEmpty || !answer.streams.isEmpty {
        return try .encoded(answer)
      }
      try Task.checkCancellation()
      await plane.wakeups.wait(
        for: .node(node.uuid), since: ticket, atMost: min(Self.lookAgain, .milliseconds(Int(left * 1000) + 1)))
    }
  }

  /// The node's count is read before the documents: what is committed in between comes twice rather than never.
  private static func read(_ node: NodeID, after: Int, in session: Session) throws -> Assignments {
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
             v.hostname, v.vcpus, v.memory_mib, v.disk_gib, v.accelerator, v.ssh_keys, v.user_data,
             i.id, i.sha256, i.format, i.size_bytes,
             (SELECT array_agg(r.id ORDER BY r.id) FROM vm_requests r WHERE r.vm_id = v.id),
             (SELECT array_agg(r.kind ORDER BY r.id) FROM vm_requests r WHERE r.vm_id = v.id),
             p.assignment_revision, p.all_documents, EXISTS (SELECT 1 FROM nics c WHERE c.vm_id = v.id)
        FROM changed p JOIN vms v ON v.id = p.id JOIN images i ON i.id = v.image_id
       WHERE p.bytes_before < \(pageBytes)
       ORDER BY p.assignment_revision LIMIT \(pageDocuments)
      """,
    ])
    guard let revision = try results[0].first?.get(0, as: Int.self) else { throw removed(node) }
    let rows = results[1]
    let isComplete = try rows.last.map { try $0.get(21, as: Int.self) == rows.count } ?? true
    let sequence = after == 0 || after > revision ? try highestSequence(of: node, in: session) : nil
    let connected = try rows.filter { try $0.get(22) }.map { try $0.get(0, as: UUID.self) }
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
    return Assignments(
      revision: isComplete ? revision : try rows.last?.get(20) ?? revision,
      documents: try rows.map { try assignment($0, plugs) },
      streams: streams, sequence: sequence, complete: isComplete)
  }

  /// What an agent that starts anew has to count from: older sequences are old news.
  private static func highestSequence(of node: NodeID, in session: Session) throws -> Int {
    let row = try session.one(
      """
      SELECT coalesce(max(o.sequence), 0) FROM claims c JOIN vm_observations o ON o.vm_id = c.vm_id
       WHERE c.node_id = \(node)
      """)
    return try row?.get(0, as: Int.self) ?? 0
  }

  private static func assignment(_ row: Row, _ plugs: [VMID: AssignedNICs]) throws -> Assignment {
    let vm = try row.get(0, as: VMID.self)
    let ids = try row.get(18, as: [UUID]?.self) ?? []
    let kinds = try row.get(19, as: [String]?.self) ?? []
    let requests = zip(ids, kinds).compactMap { id, kind in
      Assignment.Request.Kind(rawValue: kind).map { Assignment.Request(id: VMRequestID(id), kind: $0) }
    }
    return Assignment(
      vm: vm, incarnation: try row.get(1), generation: try row.get(2), deleted: try row.get(3),
      power: try row.get(4), stopGraceSeconds: try row.get(5), name: try row.get(6), hostname: try row.get(7),
      vcpus: try row.get(8), memoryMib: try row.get(9), diskGib: try row.get(10), accelerator: try row.get(11),
      sshKeys: try row.get(12), userData: try row.get(13),
      image: Assignment.BaseImage(
        id: try row.get(14), sha256: try row.get(15), format: try row.get(16), sizeBytes: try row.get(17)),
      requests: requests, nics: plugs[vm]?.nics, networks: plugs[vm]?.networks)
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
