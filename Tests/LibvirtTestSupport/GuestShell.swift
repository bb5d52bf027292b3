import Foundation
import JSON
import TestSupport

/// The inside of a running guest, by its agent: a shell that needs no network.
public struct GuestShell: Sendable {
  /// libvirt's name for it.
  public let domain: String
  let uri: String

  /// - Parameter uri: the libvirt that has the guest.
  public init(domain: String, uri: String) {
    self.domain = domain
    self.uri = uri
  }

  /// Waits until the agent in the guest answers.
  public func answers() async throws {
    try await eventually("the agent in \(domain) answers", within: .seconds(120)) {
      (try? await call(["execute": "guest-ping"])) != nil
    }
  }

  /// What a shell's command prints, on both outputs; throws when it fails.
  @discardableResult
  public func run(_ command: String) async throws -> String {
    let arguments: JSONValue = ["path": "/bin/sh", "arg": ["-c", .string(command)], "capture-output": true]
    let started = try await call(["execute": "guest-exec", "arguments": arguments])
    guard let pid = started["pid"] else { throw CommandFailure(command: command, status: 1, output: "\(started)") }
    let ended = try await found("`\(command)` ends in \(domain)", within: .seconds(120)) { () -> JSONValue? in
      let status = try await call(["execute": "guest-exec-status", "arguments": ["pid": pid]])
      // A bare `nil` would be JSON's null.
      return status["exited"]?.boolValue == true ? status : JSONValue?.none
    }
    let output = ["out-data", "err-data"].compactMap { ended[$0]?.stringValue }
      .compactMap { Data(base64Encoded: $0) }.map { String(decoding: $0, as: UTF8.self) }.joined()
    // There is none where a signal ended it.
    let status = ended["exitcode"]?.integerValue ?? 128
    guard status == 0 else {
      throw CommandFailure(command: "\(domain): \(command)", status: Int32(status), output: output)
    }
    return output
  }

  /// Whether a shell's command succeeds.
  public func succeeds(_ command: String) async -> Bool { (try? await run(command)) != nil }

  private func call(_ request: JSONValue) async throws -> JSONValue {
    let answer = try await TestSupport.run(
      "virsh", "--quiet", "--connect", uri, "qemu-agent-command", domain, request.description)
    return try JSONValue.parse(answer.trimmingCharacters(in: .whitespacesAndNewlines))["return"] ?? .null
  }
}
