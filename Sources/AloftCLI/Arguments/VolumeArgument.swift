import AloftModel
import ArgumentParser
import JSON

/// `data`, `root,boot=1` or `data,bus=scsi,delete` on the command line: a volume that a new machine gets.
struct VolumeArgument: ExpressibleByArgument, Sendable {
  let body: JSONObject

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    guard let name = parts.first, !name.isEmpty, !name.contains("=") else { return nil }
    var body: JSONObject = ["volume": .string(name)]
    for part in parts.dropFirst() {
      if part == "delete" {
        body["delete_with_vm"] = .bool(true)
        continue
      }
      guard let pair = LabelPair(argument: part) else { return nil }
      switch pair.key {
      case "boot":
        guard let index = Int(pair.value) else { return nil }
        body["boot_index"] = .integer(Int64(index))
      case "bus":
        guard let bus = DiskBus(rawValue: pair.value) else { return nil }
        body["bus"] = .string(bus.rawValue)
      default: return nil
      }
    }
    self.body = body
  }
}
