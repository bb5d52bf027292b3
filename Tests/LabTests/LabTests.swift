import Foundation
import TestSupport
import Testing

/// All tests with a lab, one after another: guests that boot would starve those of the next test of the time that it waits
/// for.
@Suite(.serialized, .enabled(if: Lab.isPossible, "network namespaces need root")) enum LabTests {}

extension LabTests {
  /// scripts/lab and scripts/ovn-private themselves.
  @Suite(.timeLimit(.minutes(5)))
  struct ScriptTests {
    @Test("of two labs beside each other one ends, and nothing of it is left")
    func down() async throws {
      let shared = try await Lab.shared()
      let other = try await Lab.start(nodes: 1)
      let mark = try await other.mark()
      #expect(try await run("ip", "netns", "list").contains("aloft-\(mark)-node1"))
      try await other.create("last", on: "node1")
      let before = try await other.processes()
      #expect(before.count > 10, "\(before)")

      try await other.stop()
      #expect(try await !run("ip", "netns", "list").contains("aloft-\(mark)"))
      #expect(try await !run("ip", "link").contains("aloft-\(mark)"))
      #expect(try await other.processes() == [])
      #expect(!FileManager.default.fileExists(atPath: other.folder))
      #expect(try await shared.get("/v1/nodes")["items"]?.arrayValue?.count == 3)
    }

    @Test("a node's certificate writes to its own chassis only, and no other certificate is let in")
    func southbound() async throws {
      let lab = try await Lab.shared()
      // A server's certificate is of the same authority, and names no node.
      let server =
        "--private-key=\(lab.folder)/pki/southbound/key.pem --certificate=\(lab.folder)/pki/southbound/certificate.pem"
      let remote = "--db=ssl:10.99.0.254:6642 --ca-cert=\(lab.folder)/pki/ca.crt"
      #expect(await !lab.succeeds("control", "ovn-sbctl --timeout=5 \(remote) \(server) list chassis"))
      let node =
        "--private-key=\(lab.folder)/node1/agent/identity/key.pem --certificate=\(lab.folder)/node1/agent/identity/node.pem"
      #expect(await lab.succeeds("node1", "ovn-sbctl --timeout=5 \(remote) \(node) list chassis"))
      #expect(await !lab.succeeds("node1", "ovn-sbctl --timeout=5 \(remote) \(node) destroy SB_Global ."))
    }

    @Test("what was killed comes back with the next start")
    func start() async throws {
      let lab = try await Lab.shared()
      try await lab.kill9("control", "aloftd-1", "northbound", "southbound", "northd")
      try await lab.kill9("node2", "aloft-agent", "controller", "vswitchd", "database", "libvirtd")
      #expect(try await lab.lab("status").split(separator: "\n").filter { $0.contains("stopped") }.count == 9)
      try await lab.lab("start")
      #expect(try await !lab.lab("status").contains("stopped"))
      #expect(try await lab.shell("node2", "ip -br address show br-phy").contains("10.98.0.2/24"))
    }
  }
}

extension Lab {
  /// What the names of its network namespaces have in them.
  func mark() async throws -> String {
    try await run("bash", "-c", "printf %s '\(folder)' | sha256sum | cut -c1-6")
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Processes that have this lab's folder in their command lines.
  func processes() async throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { Int32($0) != nil }.compactMap { pid in
      guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"), !line.isEmpty else { return nil }
      let text = String(decoding: line, as: UTF8.self).replacing("\0", with: " ")
      return text.contains(folder) && !text.contains("read -r _") ? text : nil
    }
  }
}
