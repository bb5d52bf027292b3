import AloftModel
import HTTPTypes
import JSON

/// What was asked for and accepted, in the order of commits: what the world must come to.
struct Ledger {
  struct Entry {
    var creation: UserAction.Creation
    var name: String
    var label = ""
    var id: VMID?
    /// The create has committed.
    var isCreated = false
    var isDeleted = false
    var power: Power
    var etag: String?
    var starts = 0
    var stops = 0
    var reboots = 0
    /// The guest turned itself off: its intent may follow it.
    var guestWentOff = 0
    var renames = 0
    /// The NICs that it is to have, as far as somebody was told of them.
    var nics: Set<NICID> = []
  }

  var entries: [Int: Entry] = [:]

  subscript(id id: VMID) -> (number: Int, entry: Entry)? {
    entries.first { $0.value.id == id }.map { ($0.key, $0.value) }
  }

  /// The change has committed.
  mutating func apply(_ action: UserAction, turn: Int, nic: NICID?) {
    switch action {
    case .create(let creation): entries[creation.vm]?.isCreated = true
    case .start(let vm):
      entries[vm]?.power = .running
      entries[vm]?.starts += 1
    case .stop(let vm, _):
      entries[vm]?.power = .stopped
      entries[vm]?.stops += 1
    case .reboot(let vm, _): entries[vm]?.reboots += 1
    case .delete(let vm, _): entries[vm]?.isDeleted = true
    case .rename(let vm): entries[vm]?.name = Self.newName(vm, turn)
    case .relabel(let vm, _): entries[vm]?.label = "\(turn)"
    case .detach(let vm, _): if let nic { entries[vm]?.nics.remove(nic) }
    case .read, .list, .explain, .attach: break
    }
  }

  static func newName(_ vm: Int, _ turn: Int) -> String { "vm-\(vm)-r\(turn)" }

  /// Why `status` is no right answer to `action`; nil if it is. `again`: an earlier try may have had its effect.
  func objection(to status: Int, code: String?, for action: UserAction, again: Bool) -> String? {
    if status == 200 || status == 202 { return nil }
    switch action {
    case .create(let creation):
      if status == 409, code == "no_capacity", entries[creation.vm]?.isCreated == false { return nil }
      return "a create is answered \(status) \(code ?? "")"
    case .start(let vm), .stop(let vm, _): return objection(status, code, entries[vm])
    case .reboot(let vm, _):
      let entry = entries[vm]
      // A guest that turned itself off, or a stop, leaves nothing to reboot.
      if status == 409, code == "wrong_state", entry?.power == .stopped || entry?.guestWentOff ?? 0 > 0 { return nil }
      return objection(status, code, entry)
    case .delete(let vm, let ifMatch):
      if status == 412, ifMatch { return nil }
      return objection(status, code, entries[vm])
    case .rename(let vm): return objection(status, code, entries[vm])
    case .relabel(let vm, _):
      if status == 412 { return nil }
      return objection(status, code, entries[vm])
    case .read(let vm): return objection(status, code, entries[vm])
    case .list, .explain: return "a reading is answered \(status) \(code ?? "")"
    case .attach(let vm, _):
      // Its node may be one that cannot connect it now.
      if status == 409, code == "limit_reached" || code == "wrong_state" { return nil }
      return objection(status, code, entries[vm])
    case .detach(let vm, _):
      // Somebody may have been faster.
      if status == 404 { return nil }
      return objection(status, code, entries[vm])
    }
  }

  private func objection(_ status: Int, _ code: String?, _ entry: Entry?) -> String? {
    let exists = entry.map { $0.isCreated && !$0.isDeleted } ?? false
    if !exists, status == 404 || (status == 409 && code == "wrong_state") { return nil }
    return "it is answered \(status) \(code ?? "") though the VM exists"
  }
}
