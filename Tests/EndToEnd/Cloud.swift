import Execution
import Foundation
import JSON
import LibvirtTestSupport
import PostgresTestSupport
import TestSupport

/// A whole cloud on this machine: PostgreSQL, libvirtd, replicas of aloftd and one agent, each a process that can be killed.
final class Cloud: Sendable {
  let folder: String
  let postgres: PostgresServer
  let libvirt: PrivateLibvirt
  private let databaseURL: String
  private let ports: [Int]
  private let token: String
  private let joinToken: String
  private let replicas = Lock<[Int: Daemon]>([:])
  private let agent = Lock<Daemon?>(nil)

  /// Starts everything and uploads the image `tiny`. The node offers `memoryMiB`.
  static func start(replicas: Int = 1, memoryMiB: Int = 4096) async throws -> Cloud {
    let folder = FileManager.default.temporaryDirectory.appending(path: "aloft-cloud-\(UUID().uuidString.prefix(8))")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let postgres = try await PostgresServer.start()
    let database = try await postgres.createDatabase()
    let libvirt = try await PrivateLibvirt.start()
    let ports = (0..<replicas).map { _ in freePort() }
    func aloftd(_ arguments: String...) async throws -> String {
      try await run(
        ["env", "ALOFT_DATABASE_URL=\(database)", "ALOFT_LOG_LEVEL=warning", "\(Daemon.programs)/aloftd"] + arguments
      )
      .trimmingCharacters(in: .whitespacesAndNewlines)
    }
    _ = try await aloftd("migrate")
    _ = try await aloftd("pki", "init", "--directory", folder + "/pki")
    let token = try await aloftd("token", "create")
    let first = Cloud(
      folder: folder, postgres: postgres, libvirt: libvirt, databaseURL: database, ports: ports, token: token,
      joinToken: "")
    for index in 0..<replicas { try await first.startReplica(index) }
    let made = try JSONValue.parse(try await first.aloft("node-token", "create", "-o", "json"))
    let cloud = Cloud(
      folder: folder, postgres: postgres, libvirt: libvirt, databaseURL: database, ports: ports, token: token,
      joinToken: made["secret"]?.stringValue ?? "")
    let running = first.replicas.withLock { $0 }
    cloud.replicas.withLock { $0 = running }
    try await cloud.startAgent(memoryMiB: memoryMiB)
    try await eventually("the node is ready", within: .seconds(60)) {
      try await cloud.get("/v1/nodes")["items"]?[0]?["state"]?.stringValue == "ready"
    }
    try await cloud.aloft("image", "upload", "tiny", try await GuestImage.path())
    return cloud
  }

  private init(
    folder: String, postgres: PostgresServer, libvirt: PrivateLibvirt, databaseURL: String, ports: [Int], token: String,
    joinToken: String
  ) {
    self.folder = folder
    self.postgres = postgres
    self.libvirt = libvirt
    self.databaseURL = databaseURL
    self.ports = ports
    self.token = token
    self.joinToken = joinToken
  }

  /// Ends everything, guests too.
  func stop() async throws {
    try await stopAgent()
    for index in ports.indices { try await killReplica(index) }
    try await libvirt.stop()
    await postgres.stop()
    try? FileManager.default.removeItem(atPath: folder)
  }

  // MARK: Parts

  func startReplica(_ index: Int) async throws {
    let pki = folder + "/pki"
    let daemon = try await Daemon(
      "aloftd",
      [
        "serve", "--listen", "127.0.0.1:\(ports[index])", "--tls-cert", pki + "/server.crt", "--tls-key",
        pki + "/server.key", "--ca-cert", pki + "/ca.crt", "--ca-key", pki + "/ca.key", "--image-store",
        folder + "/images", "--validate-responses",
      ], environment: ["ALOFT_DATABASE_URL": databaseURL], folder: folder, log: "\(folder)/aloftd-\(index).log")
    replicas.withLock { $0[index] = daemon }
    try await eventually("aloftd answers", within: .seconds(30)) {
      (try? await self.curl("/readyz", replica: index)) != nil
    }
  }

  func killReplica(_ index: Int) async throws {
    try await replicas.withLock { $0.removeValue(forKey: index) }?.kill9()
  }

  func startAgent(memoryMiB: Int = 4096) async throws {
    let urls = ports.flatMap { ["--url", "https://127.0.0.1:\($0)"] }
    let daemon = try await Daemon(
      "aloft-agent",
      urls + [
        "--ca", folder + "/pki/ca.crt", "--data", folder + "/agent", "--libvirt", libvirt.uri, "--name", "node1",
        "--vcpus", "8", "--memory-mib", "\(memoryMiB)", "--disk-gib", "100",
      ], environment: ["ALOFT_AGENT_JOIN_TOKEN": joinToken], folder: folder, log: folder + "/agent.log")
    agent.withLock { $0 = daemon }
  }

  func killAgent() async throws {
    let daemon = agent.withLock { agent in
      defer { agent = nil }
      return agent
    }
    try await daemon?.kill9()
  }

  private func stopAgent() async throws { try await killAgent() }

  // MARK: Using it

  /// What the CLI prints.
  @discardableResult
  func aloft(_ arguments: String..., replica: Int = 0) async throws -> String {
    try await run(
      [
        "env", "ALOFT_URL=https://127.0.0.1:\(ports[replica])", "ALOFT_TOKEN=\(token)",
        "ALOFT_CA_CERT=\(folder)/pki/ca.crt",
        "\(Daemon.programs)/aloft",
      ] + arguments)
  }

  /// What a shell prints that has sourced what `make up` writes to `.aloft/env`, in `folder`.
  func shell(_ script: String, in folder: String) async throws -> String {
    try await run(
      [
        "env", "--chdir=\(folder)", "ALOFT_URL=https://127.0.0.1:\(ports[0])", "ALOFT_TOKEN=\(token)",
        "ALOFT_CA_CERT=\(self.folder)/pki/ca.crt", "bash", "-c", "PATH=\(Daemon.programs):$PATH\n" + script,
      ])
  }

  /// What curl prints; an answer of 400 and above throws.
  @discardableResult
  func curl(_ path: String, _ arguments: String..., replica: Int = 0) async throws -> String {
    try await run(
      [
        "curl", "-sS", "--fail-with-body", "--max-time", "90", "--cacert", folder + "/pki/ca.crt", "-H",
        "Authorization: Bearer \(token)",
      ] + arguments + ["https://127.0.0.1:\(ports[replica])\(path)"])
  }

  func get(_ path: String) async throws -> JSONValue { try JSONValue.parse(try await curl(path)) }

  /// Sends JSON.
  func send(_ method: String, _ path: String, _ body: String, headers: [String] = []) async throws -> JSONValue {
    let extra = headers.flatMap { ["-H", $0] }
    let answer = try await run(
      [
        "curl", "-sS", "--fail-with-body", "--max-time", "90", "--cacert", folder + "/pki/ca.crt", "-H",
        "Authorization: Bearer \(token)", "-H", "Content-Type: application/json", "-X", method, "-d", body,
      ] + extra + ["https://127.0.0.1:\(ports[0])\(path)"])
    return try JSONValue.parse(answer)
  }

  /// A VM's state, or nil while nobody answers or there is no such VM.
  func state(of vm: String) async -> String? { (try? await get("/v1/vms/\(vm)"))?["state"]?.stringValue }

  /// Waits until the guest has written `marker` to its serial port `times` times.
  func waitForSerial(_ vm: String, _ marker: String, times: Int = 1) async throws {
    try await eventually("\(vm) says \(marker)", within: .seconds(120)) {
      guard let log = try? await self.curl("/v1/vms/\(vm)/serial-log") else { return false }
      return log.components(separatedBy: marker).count > times
    }
  }

  /// Recomputes what is kept; empty when nothing differs.
  func differences() async throws -> String {
    do {
      let text = try await run(
        "env", "ALOFT_DATABASE_URL=\(databaseURL)", "\(Daemon.programs)/aloftd", "check", "--image-store",
        folder + "/images")
      return text.contains("no difference") ? "" : text
    } catch let failure as CommandFailure {
      return failure.output
    }
  }
}
