import FoundationEssentials
import OVSDB

/// What ovn-controller says of itself.
struct OVNController: Sendable {
  /// Where its control socket may be: `ovn-controller.PID.ctl` in OVN's run directory.
  private let folders: [String]

  init(database: Remote, environment: [String: String] = ProcessInfo.processInfo.environment) {
    var folders = [environment["OVN_RUNDIR"] ?? "/run/ovn"]
    if case .unix(let path) = database {
      folders.append(path.split(separator: "/").dropLast().map { "/" + $0 }.joined())
    }
    self.folders = folders
  }

  /// Why it is not connected to the southbound servers; nil when it is.
  func fault() async -> String? {
    var answer: String?
    for socket in folders.flatMap(sockets) {
      guard let text = try? await Tool.output("ovn-appctl", ["-T", "3", "-t", socket, "connection-status"]) else {
        continue
      }
      if text == "connected" { return nil }
      answer = text
    }
    guard let answer else { return "ovn-controller does not run: start ovn-host" }
    return "ovn-controller is \(answer) to OVN's southbound servers: look at its log"
  }

  private func sockets(in folder: String) -> [String] {
    FileSystem.names(in: folder).filter { $0.hasPrefix("ovn-controller.") && $0.hasSuffix(".ctl") }.sorted()
      .map { folder + "/" + $0 }
  }
}
