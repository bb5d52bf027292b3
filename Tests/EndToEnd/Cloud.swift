import Execution
import Foundation
import JSON
import LibvirtTestSupport
import NodeAgent
import PostgresTestSupport
import TestSupport

/// A whole cloud on this machine: PostgreSQL, libvirtd, replicas of aloftd and one agent, each a process that can be killed.
final class Cloud: Sendable {
  let folder: String
  let postgres: PostgresServer
  let libvirt: PrivateLibvirt
  let databaseURL: String
  private let ports: [Int]
  /// An admin's token.
  let token: String
  private let joinToken = Lock("")
  private let shape: Shape
  /// The node's disk, where the shape asks for one of its own.
  let disk: TemporaryFileSystem?
  private let replicas = Lock<[Int: Daemon]>([:])
  private let agent = Lock<Daemon?>(nil)

  /// What a cloud is made of.
  struct Shape: Sendable {
    var replicas = 1
    /// What the node offers.
    var memoryMiB = 4096
    var vcpus = 8
    var leaseSeconds = 20
    /// The node's data directory is a file system of its own and of this size. See ``TemporaryFileSystem``.
    var nodeDiskMiB: Int?
    /// Storage pools that the node has beside `local`, each in a folder of this name.
    var pools: [String] = []
    /// Storage pools in Ceph that the node reaches, by name.
    var clusters: [String: CephAccess] = [:]
    /// libvirt's state is in memory, as encrypted volumes need it.
    var keepsSecretsInMemory = false
    /// More arguments of `aloftd serve`.
    var serve: [String] = []
  }

  static func start(replicas: Int = 1, memoryMiB: Int = 4096) async throws -> Cloud {
    try await start(Shape(replicas: replicas, memoryMiB: memoryMiB))
  }

  /// Starts everything and uploads the image `tiny`.
  static func start(_ shape: Shape) async throws -> Cloud {
    let folder = FileManager.default.temporaryDirectory.appending(path: "aloft-cloud-\(UUID().uuidString.prefix(8))")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let postgres = try await PostgresServer.start()
    let database = try await postgres.createDatabase()
    func aloftd(_ arguments: String...) async throws -> String {
      try await run(
        [
          "env", "ALOFT_DATABASE_URL=\(database)", "ALOFT_SEALING_KEY_FILE=\(folder)/sealing.key",
          "ALOFT_LOG_LEVEL=warning", "\(Daemon.programs)/aloftd",
        ] + arguments
      )
      .trimmingCharacters(in: .whitespacesAndNewlines)
    }
    try await postgres.administer("CREATE ROLE aloftd LOGIN")
    _ = try await aloftd("migrate", "--runtime-role", "aloftd")
    _ = try await aloftd("sealing-key", "create", "--out", folder + "/sealing.key")
    try FileManager.default.createDirectory(atPath: folder + "/pki", withIntermediateDirectories: true)
    _ = try await aloftd("ca", "init")
    _ = try await aloftd("ca", "export", "--out", folder + "/pki/ca.crt")
    // libvirtd has its own view of the file systems, as they are when it starts.
    var disk: TemporaryFileSystem?
    if let size = shape.nodeDiskMiB { disk = try await TemporaryFileSystem(at: folder + "/agent", mebibytes: size) }
    let cloud = Cloud(
      folder: folder, postgres: postgres, libvirt: try await PrivateLibvirt.start(inMemory: shape.keepsSecretsInMemory),
      databaseURL: database,
      token: try await aloftd("token", "create"), shape: shape, disk: disk)
    for index in 0..<shape.replicas { try await cloud.startReplica(index) }
    try await cloud.renewJoinToken()
    try await cloud.startAgent()
    try await eventually("the node is ready", within: .seconds(60)) {
      try await cloud.get("/v1/nodes")["items"]?[0]?["state"]?.stringValue == "ready"
    }
    try await cloud.aloft("image", "upload", "tiny", try await GuestImage.path())
    return cloud
  }

  private init(
    folder: String, postgres: PostgresServer, libvirt: PrivateLibvirt, databaseURL: String, token: String,
    shape: Shape, disk: TemporaryFileSystem?
  ) {
    self.folder = folder
    self.postgres = postgres
    self.libvirt = libvirt
    self.databaseURL = databaseURL
    self.token = token
    self.shape = shape
    self.disk = disk
    ports = (0..<shape.replicas).map { _ in freePort() }
  }

  /// Ends everything, guests too.
  func stop() async throws {
    TestSecrets.register(token)
    for file in ["/sealing.key", "/agent/identity/key.pem"] {
      TestSecrets.register((try? String(contentsOfFile: folder + file, encoding: .utf8)) ?? "")
    }
    try await killAgent()
    for index in ports.indices { try await killReplica(index) }
    try await libvirt.stop()
    await postgres.stop()
    try await disk?.unmount()
    try? FileManager.default.removeItem(atPath: folder)
  }

  // MARK: Parts

  func startReplica(_ index: Int) async throws {
    let daemon = try await Daemon(
      "aloftd",
      [
        "serve", "--listen", "127.0.0.1:\(ports[index])", "--image-store",
        folder + "/images", "--sealing-key-file", folder + "/sealing.key", "--lease-seconds", "\(shape.leaseSeconds)",
        "--validate-responses",
      ] + shape.serve, environment: ["ALOFT_DATABASE_URL": databaseURL.replacing("user=postgres", with: "user=aloftd")],
      folder: folder, log: "\(folder)/aloftd-\(index).log")
    replicas.withLock { $0[index] = daemon }
    try await eventually("aloftd answers", within: .seconds(30)) {
      (try? await self.curl("/readyz", replica: index)) != nil
    }
  }

  func killReplica(_ index: Int) async throws {
    try await replicas.withLock { $0.removeValue(forKey: index) }?.kill9()
  }

  /// - Parameter ca: whom the agent's operator lets it trust; nil: the file that clients use.
  func startAgent(ca: String? = nil) async throws {
    let urls = ports.flatMap { ["--url", "https://127.0.0.1:\($0)"] }
    for pool in shape.pools {
      try FileManager.default.createDirectory(atPath: "\(folder)/\(pool)", withIntermediateDirectories: true)
    }
    let daemon = try await Daemon(
      "aloft-agent",
      urls + [
        "--ca", ca ?? folder + "/pki/ca.crt", "--data", folder + "/agent", "--libvirt", libvirt.uri,
        "--libvirt-state", libvirt.stateDirectory, "--name", "node1",
        "--vcpus", "\(shape.vcpus)", "--memory-mib", "\(shape.memoryMiB)", "--disk-gib", "100", "--reserved-disk-gib",
        "0",
      ] + shape.pools.flatMap { ["--pool", "\($0)=\(folder)/\($0)"] }
        + shape.clusters.flatMap { name, access in
          let (configuration, keyring) = (access.configuration, access.keyring)
          return ["--pool", "\(name)=rbd:\(access.pool):id=\(access.client):conf=\(configuration):keyring=\(keyring)"]
        },
      environment: ["ALOFT_AGENT_JOIN_TOKEN": joinToken.withLock { $0 }], folder: folder, log: folder + "/agent.log")
    agent.withLock { $0 = daemon }
  }

  /// Gives the agent another join token, which it gets when it starts the next time.
  func renewJoinToken() async throws {
    let made = try JSONValue.parse(try await aloft("node-token", "create", "-o", "json"))
    joinToken.withLock { $0 = made["secret"]?.stringValue ?? "" }
    TestSecrets.register(made["secret"]?.stringValue ?? "")
  }

  func killAgent() async throws {
    let daemon = agent.withLock { agent in
      defer { agent = nil }
      return agent
    }
    try await daemon?.kill9()
  }

  // MARK: Using it

  /// Where a replica answers.
  func url(_ replica: Int = 0) -> String { "https://127.0.0.1:\(ports[replica])" }

  /// What the CLI needs to know.
  func environment(replica: Int = 0) -> [String] {
    ["ALOFT_URL=\(url(replica))", "ALOFT_TOKEN=\(token)", "ALOFT_CA_CERT=\(folder)/pki/ca.crt"]
  }

  /// What the CLI prints.
  @discardableResult
  func aloft(_ arguments: String..., replica: Int = 0) async throws -> String {
    try await run(["env"] + environment(replica: replica) + ["\(Daemon.programs)/aloft"] + arguments)
  }

  /// What aloftd prints that is run beside the replicas.
  @discardableResult
  func aloftd(_ arguments: String...) async throws -> String {
    try await run(
      [
        "env", "ALOFT_DATABASE_URL=\(databaseURL)", "ALOFT_SEALING_KEY_FILE=\(folder)/sealing.key",
        "ALOFT_LOG_LEVEL=warning", "\(Daemon.programs)/aloftd",
      ] + arguments)
  }

  /// What a shell prints that has sourced what `make up` writes to `.aloft/env`, in `folder`.
  ///
  /// - Parameter token: whose environment it is; nil: root's.
  func shell(_ script: String, in folder: String, token: String? = nil) async throws -> String {
    try await run(
      [
        "env", "--chdir=\(folder)", "ALOFT_URL=https://127.0.0.1:\(ports[0])", "ALOFT_TOKEN=\(token ?? self.token)",
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
      ] + arguments + [url(replica) + path])
  }

  func get(_ path: String) async throws -> JSONValue { try JSONValue.parse(try await curl(path)) }

  /// Sends JSON.
  func send(_ method: String, _ path: String, _ body: String, headers: [String] = []) async throws -> JSONValue {
    let extra = headers.flatMap { ["-H", $0] }
    let answer = try await run(
      [
        "curl", "-sS", "--fail-with-body", "--max-time", "90", "--cacert", folder + "/pki/ca.crt", "-H",
        "Authorization: Bearer \(token)", "-H", "Content-Type: application/json", "-X", method, "-d", body,
      ] + extra + [url() + path])
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
