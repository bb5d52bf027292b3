import Foundation
import Glibc
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// A serial log over real sockets: offsets, following, and clients that leave.
  @Suite(.timeLimit(.minutes(5)))
  struct SerialLogTests {
    @Test(
      "a followed log grows with the guest, offsets name the same bytes for ever, and a client that leaves takes its stream along"
    )
    func follow() async throws {
      let cloud = try await Cloud.start(replicas: 2)
      _ = try await cloud.send(
        "POST", "/v1/vms", #"{"name": "talker", "image": "tiny", "memory_mib": 128}"#, headers: ["Prefer: wait=60"])
      let follower = try Follower(cloud, "talker", "--offset", "0")
      try await eventually("the first boot", within: .seconds(120)) { follower.output.contains("ALOFT-READY") }
      #expect(try await streams(cloud) == 1)
      // The agent is not asked anew: what the guest writes next comes over the same stream.
      let tail = try Follower(cloud, "talker", "--tail", "16")
      _ = try await cloud.send("POST", "/v1/vms/talker/reboot", #"{"force": true}"#)
      for each in [follower, tail] {
        try await eventually("the second boot", within: .seconds(120)) {
          each.output.components(separatedBy: "ALOFT-READY").count == (each === follower ? 3 : 2)
        }
      }
      #expect(try await streams(cloud) == 2)

      // Before the whole: the guest goes on writing.
      let (followed, tailed) = (follower.output, tail.output)
      let whole = try await cloud.curl("/v1/vms/talker/serial-log")
      #expect(whole.hasPrefix(followed))
      for offset in [1, 1000, followed.utf8.count - 1] {
        let rest = try await cloud.curl("/v1/vms/talker/serial-log?offset=\(offset)", replica: 1)
        let expected = String(decoding: whole.utf8.dropFirst(offset), as: UTF8.self)
        #expect(rest.hasPrefix(expected), "from byte \(offset)")
      }
      #expect(whole.contains(tailed), "a tail is a part of the whole")

      // Ctrl-C, and a death without a word.
      #expect(try await follower.end(SIGINT) == 130)
      try await eventually("its stream ends") { try await streams(cloud) == 1 }
      _ = try await tail.end(SIGKILL)
      try await eventually("the other ends too") { try await streams(cloud) == 0 }

      // Not one of many is left behind.
      let many = try (0..<8).map { _ in try Follower(cloud, "talker", "--tail", "1") }
      try await eventually("all follow") { try await streams(cloud) == 8 }
      for each in many { _ = try await each.end(SIGINT) }
      try await eventually("all have gone") { try await streams(cloud) == 0 }
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    /// How many streams agents have open to the replica that has the clients.
    private func streams(_ cloud: Cloud) async throws -> Int? {
      let line = try await cloud.curl("/metrics").split(separator: "\n").first { $0.hasPrefix("aloft_streams_open ") }
      return line?.split(separator: " ").last.flatMap { Int($0) }
    }
  }
}

/// `aloft vm serial-log --follow` as a process of its own.
private final class Follower: Sendable {
  private let pid: pid_t
  private let file: String

  init(_ cloud: Cloud, _ vm: String, _ arguments: String...) throws {
    file = cloud.folder + "/follow-\(UUID().uuidString)"
    pid = try spawn(
      ["env"] + cloud.environment() + ["\(Daemon.programs)/aloft", "vm", "serial-log", vm, "--follow"] + arguments,
      output: .file(file), error: .file(file + ".err"))
  }

  var output: String {
    String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
  }

  /// Sends a signal; returns the exit status, or 128 and the signal that ended it.
  func end(_ signal: Int32) async throws -> Int32 {
    kill(pid, signal)
    let pid = pid
    return try await found("the end of aloft") { reapIfEnded(pid) }
  }
}
