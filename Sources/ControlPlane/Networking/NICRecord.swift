import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A NIC as the API shows it.
struct NICRecord: Resource {
  typealias Kind = NICKind

  static let noun = Noun(
    word: "nic", path: "nics", table: "nics", uniqueName: "nics_pkey", created: .nicCreated, updated: .nicUpdated,
    deleted: .nicDeleted)
  static let hasName = false
  static let restriction: SQL = " AND r.deleted_at IS NULL"

  var id: NICID
  var projectID: ProjectID?
  var vm: VMID
  var networkID: NetworkID
  var mac: MACAddress
  var addresses: [Address]
  /// JSON, passed through.
  var labels: String
  var antiSpoofing: Bool
  var allowedPairs: String
  var ingressKbps: Int?
  var egressKbps: Int?
  var groups: [SecurityGroupID]
  var state: NICState
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  /// In the answer to a change of what the guest has.
  var operation: OperationRecord?

  /// NICs have no names.
  var name: String { id.description }

  struct Address: Sendable, JSONWritable {
    var address: IPAddress
    var subnet: SubnetID

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("address", address)
        writer.field("subnet_id", subnet)
      }
    }
  }

  static let columns: SQL = """
    r.id, r.project_id, r.vm_id, r.network_id, r.mac, r.labels, r.anti_spoofing, r.allowed_pairs, r.ingress_kbps,
    r.egress_kbps, r.revision, r.created_at, r.updated_at,
    (SELECT array_agg(a.address ORDER BY family(a.address), a.address) FROM addresses a WHERE a.nic_id = r.id),
    (SELECT array_agg(a.subnet_id ORDER BY family(a.address), a.address) FROM addresses a WHERE a.nic_id = r.id),
    (SELECT array_agg(g.group_id ORDER BY g.group_id) FROM nic_security_groups g WHERE g.nic_id = r.id),
    \(fragment: NICState.columns)
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    vm = try row.get(2)
    networkID = try row.get(3)
    mac = try row.get(4)
    labels = try row.get(5, as: JSONText.self).text
    antiSpoofing = try row.get(6)
    allowedPairs = try row.get(7, as: JSONText.self).text
    ingressKbps = try row.get(8)
    egressKbps = try row.get(9)
    revision = try row.get(10)
    createdAt = try row.get(11)
    updatedAt = try row.get(12)
    let subnets = try row.get(14, as: [UUID]?.self) ?? []
    addresses = zip(try row.get(13, as: [IPAddress]?.self) ?? [], subnets).map {
      Address(address: $0, subnet: SubnetID($1))
    }
    groups = (try row.get(15, as: [UUID]?.self) ?? []).map { SecurityGroupID($0) }
    state = try NICState(row, from: 16)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("project_id", projectID)
      writer.field("vm_id", vm)
      writer.field("network_id", networkID)
      writer.field("state", state.word)
      writer.field("reason", state.reason)
      writer.field("mac", mac)
      writer.field("addresses", addresses)
      writer.field("security_group_ids", groups)
      writer.field("anti_spoofing", antiSpoofing)
      writer.key("allowed_pairs")
      writer.raw(allowedPairs)
      writer.field("ingress_kbps", ingressKbps)
      writer.field("egress_kbps", egressKbps)
      writer.key("labels")
      writer.raw(labels)
      writer.field("operation", operation)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// Whether packets get to a NIC, and what they wait for. Derived, never stored.
struct NICState: Sendable {
  var isUp: Bool
  /// Changes of it that OVN does not know yet, or refuses.
  var isPending: Bool
  /// What keeps them from OVN.
  var problem: String?
  var vmRuns: Bool

  static let columns: SQL = """
    coalesce((SELECT p.up FROM nic_ports p WHERE p.nic_id = r.id), false),
    EXISTS (SELECT 1 FROM network_changes h WHERE h.kind = 'nic' AND h.id = r.id)
      OR EXISTS (SELECT 1 FROM network_refusals f WHERE f.kind = 'nic' AND f.id = r.id),
    \(fragment: NetworkRefusals.problem("nic")),
    coalesce((SELECT o.power = 'running' FROM vm_observations o WHERE o.vm_id = r.vm_id), false)
    """

  init(_ row: Row, from first: Int) throws {
    isUp = try row.get(first)
    isPending = try row.get(first + 1)
    problem = try row.get(first + 2)
    vmRuns = try row.get(first + 3)
  }

  /// `up`, `down`, or `pending` while OVN does not know it as it is.
  var word: String { isPending ? "pending" : isUp ? "up" : "down" }

  var reason: String? {
    if isPending { return problem ?? "is being written to OVN" }
    if isUp { return nil }
    return vmRuns ? "its node has not connected it yet" : "its VM does not run"
  }
}
