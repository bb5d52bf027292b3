import AloftModel
import HTTPTypes
import JSON

/// A request of a user, until it is answered.
struct UserCall {
  var action: UserAction
  /// Counts the calls of a history.
  var turn: Int
  var method: HTTPRequest.Method
  var target: String
  var headers: [String: String]
  var bytes: [UInt8]
  var replica: Int
  var tries = 0
  /// A try has committed.
  var isApplied = false
  /// The NIC that it is about.
  var nic: NICID?
  var retryAt = 0

  init(_ action: UserAction, turn: Int, replica: Int, token: String, ledger: Ledger) {
    self.action = action
    self.turn = turn
    self.replica = replica
    headers = ["Authorization": "Bearer \(token)"]
    var body: JSONObject?
    func path(_ vm: Int, _ verb: String = "") -> String {
      let entry = ledger.entries[vm]
      // Every other call says the name.
      let reference = turn % 2 == 0 ? entry?.id?.description ?? entry?.name : entry?.name
      return "/v1/vms/\(reference ?? "vm-\(vm)")\(verb)"
    }
    method = .post
    switch action {
    case .create(let creation):
      target = "/v1/vms"
      body = [
        "name": .string("vm-\(creation.vm)"), "image": .string(creation.image),
        "vcpus": .integer(Int64(creation.vcpus)),
        "memory_mib": .integer(Int64(creation.memoryMiB)), "disk_gib": .integer(Int64(creation.diskGiB)),
        "power": .string(creation.power.rawValue),
        "nics": .array(creation.networks.map { ["network": .string($0)] }),
      ]
    case .start(let vm): target = path(vm, "/start")
    case .stop(let vm, let grace):
      target = path(vm, "/stop")
      body = ["grace_seconds": .integer(Int64(grace))]
    case .reboot(let vm, let force):
      target = path(vm, "/reboot")
      body = ["force": .bool(force)]
    case .delete(let vm, let ifMatch):
      (method, target) = (.delete, path(vm))
      if ifMatch, let etag = ledger.entries[vm]?.etag { headers["If-Match"] = etag }
    case .rename(let vm):
      (method, target) = (.patch, path(vm))
      body = ["name": .string(Ledger.newName(vm, turn))]
    case .relabel(let vm, let stale):
      (method, target) = (.patch, path(vm))
      body = ["labels": .object(["turn": .string("\(turn)")])]
      headers["If-Match"] = stale ? "\"0\"" : ledger.entries[vm]?.etag ?? "*"
    case .read(let vm): (method, target) = (.get, path(vm))
    case .list: (method, target) = (.get, "/v1/vms")
    case .explain:
      target = "/v1/placement/explain"
      body = ["vcpus": 1, "memory_mib": 512, "disk_gib": 1]
    case .attach(let vm, let network):
      target = "/v1/nics"
      let entry = ledger.entries[vm]
      body = ["vm": .string(entry?.id?.description ?? entry?.name ?? "vm-\(vm)"), "network": .string(network)]
    case .detach(let vm, let which):
      let nics = (ledger.entries[vm]?.nics ?? []).sorted { $0.description < $1.description }
      nic = nics.isEmpty ? nil : nics[which % nics.count]
      (method, target) = (.delete, "/v1/nics/\(nic?.description ?? "nic_00000000000000000000000000")")
    }
    if method == .post, action != .explain { headers["Idempotency-Key"] = "turn-\(turn)" }
    bytes = body.map { JSONValue.object($0).bytes } ?? []
    if body != nil { headers["Content-Type"] = "application/json" }
  }
}
