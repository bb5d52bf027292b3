import Foundation
import Libvirt

/// A hypervisor of libvirt's test driver, in this process and of this test only.
enum TestHypervisor {
  static func open() async throws -> Connection {
    let file = FileManager.default.temporaryDirectory.appending(path: "aloft-node-\(UUID().uuidString).xml")
    let node = "<node><cpu><mhz>2000</mhz><model>test</model><active>8</active></cpu><memory>33554432</memory></node>"
    try node.write(to: file, atomically: false, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: file) }
    return try await Connection.open("test://\(file.path)")
  }

  static func domainXML(_ name: String, uuid: UUID? = nil) -> String {
    let uuid = uuid.map { "<uuid>\($0.uuidString.lowercased())</uuid>" } ?? ""
    return """
      <domain type='test'><name>\(name)</name>\(uuid)<memory unit='MiB'>64</memory><vcpu>1</vcpu>\
      <os><type>hvm</type></os></domain>
      """
  }
}
