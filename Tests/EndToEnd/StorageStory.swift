import Foundation
import Glibc
import JSON
import LibvirtTestSupport
import NodeAgent
import TestSupport
import Testing

/// What happens to the volumes of one VM, drawn from a seed: one thing after another, and during each a part may be killed.
///
/// The guest boots nothing; its QEMU is told to write. What a volume and a snapshot must hold is kept here, and compared with the
/// files of the pool after each act.
struct StorageStory {
  /// What each of ``places`` holds, as the byte that fills it.
  private typealias Content = [UInt8]
  /// A mebibyte each.
  private static let places = [0, 512 << 20]

  private enum Act: CaseIterable {
    case snapshot, unsnapshot, revert, clone, delete, grow, attach, detach, backup, restore, renew, move, far
  }
  private enum Part: String, CaseIterable { case agent, libvirtd, qemu, aloftd, postgres }

  private struct Volume {
    var id: String
    var gib: Int
    var isAttached: Bool
    var content: Content
    /// The folder of the pool that it is in.
    var pool = Self.pools[0]

    /// The folders of the node's two pools: of `local`, and of the one that is called as its folder.
    static let pools = ["agent", "fast"]
    var otherPool: String { pool == Self.pools[0] ? Self.pools[1] : "local" }
  }

  private struct Snapshot {
    var id: String
    var volume: String
    var gib: Int
    var content: Content
  }

  private struct Backup {
    var gib: Int
    var content: Content
  }

  private let cloud: Cloud
  private let vm: String
  private var vmID = ""
  private var random: SplitMix
  private var volumes: [String: Volume] = [:]
  private var snapshots: [String: Snapshot] = [:]
  private var backups: [String: Backup] = [:]
  private var made = 0
  /// What has happened so far, for people.
  private(set) var told: [String] = []

  init(_ cloud: Cloud, seed: Int) {
    self.cloud = cloud
    vm = "run\(seed)"
    random = SplitMix(seed: UInt64(seed))
  }

  /// An image that nothing boots from.
  static func uploadBlank(to cloud: Cloud) async throws {
    let path = cloud.folder + "/blank.raw"
    try Data(count: 1 << 20).write(to: URL(fileURLWithPath: path))
    try await cloud.aloft("image", "upload", "blank", path)
  }

  mutating func run() async throws {
    let body: JSONValue = ["name": .string(vm), "image": "blank", "memory_mib": 128]
    vmID = try await done("POST", "/v1/vms", body, expecting: true).id
    try await make("\(vm)-first", ["size_gib": 1], Content(repeating: 0, count: Self.places.count))
    try await attach("\(vm)-first")
    for _ in 0..<10 {
      try await write()
      try await act()
      try await check()
    }
    try await end()
  }

  // MARK: What is done

  private mutating func act() async throws {
    let names = volumes.keys.sorted()
    let (volume, snapshot) = (
      names.randomElement(using: &random), snapshots.keys.sorted().randomElement(using: &random)
    )
    guard let volume, let known = volumes[volume], let act = Act.allCases.randomElement(using: &random) else { return }
    made += 1
    let name = "\(vm)-\(made)"
    switch act {
    case .snapshot:
      let body: JSONValue = ["name": .string(name), "volume": .string(volume)]
      let result = try await killing { try await $0.done("POST", "/v1/snapshots", body) }
      if result.isDone {
        snapshots[name] = Snapshot(id: result.id, volume: volume, gib: known.gib, content: known.content)
      } else {
        try await done("DELETE", "/v1/snapshots/\(name)", expecting: true)
      }
    case .unsnapshot:
      guard let snapshot else { return }
      try await killing { try await $0.done("DELETE", "/v1/snapshots/\(snapshot)", expecting: true) }
      snapshots[snapshot] = nil
    case .revert:
      guard let snapshot, let taken = snapshots[snapshot] else { return }
      if volumes[taken.volume]?.isAttached == true { try await detach(taken.volume) }
      try await killing { try await $0.done("POST", "/v1/snapshots/\(snapshot)/revert", expecting: true) }
      volumes[taken.volume]?.content = taken.content
    case .clone:
      guard let snapshot, let taken = snapshots[snapshot], volumes.count < 4 else { return }
      try await make(
        name, ["snapshot": .string(snapshot)], taken.content, gib: taken.gib,
        in: volumes[taken.volume]?.pool ?? Volume.pools[0])
    case .delete:
      guard volumes.count > 1, !snapshots.values.contains(where: { $0.volume == volume }) else { return }
      if known.isAttached { try await detach(volume) }
      try await killing { try await $0.done("DELETE", "/v1/volumes/\(volume)", expecting: true) }
      volumes[volume] = nil
    case .grow:
      let body: JSONValue = ["size_gib": .integer(Int64(known.gib + 1))]
      try await killing { try await $0.done("POST", "/v1/volumes/\(volume)/grow", body, expecting: true) }
      volumes[volume]?.gib += 1
    case .backup:
      guard backups.count < 4 else { return }
      let body: JSONValue = ["name": .string(name), "volume": .string(volume)]
      try await killing { try await $0.done("POST", "/v1/backups", body, expecting: true) }
      backups[name] = Backup(gib: known.gib, content: known.content)
    case .restore:
      guard let backup = backups.keys.sorted().randomElement(using: &random), let kept = backups[backup],
        kept.gib <= known.gib
      else { return }
      if known.isAttached { try await detach(volume) }
      let body: JSONValue = ["backup": .string(backup)]
      try await killing { try await $0.done("POST", "/v1/volumes/\(volume)/restore", body, expecting: true) }
      volumes[volume]?.content = kept.content
    case .renew:
      guard let backup = backups.keys.sorted().randomElement(using: &random), let kept = backups[backup],
        volumes.count < 4
      else { return }
      try await make(name, ["backup": .string(backup)], kept.content, gib: kept.gib)
      try await discard(backup)
    case .move, .far:
      // Of volumes with snapshots it is refused.
      guard
        let free = names.filter({ name in !snapshots.values.contains { $0.volume == name } })
          .randomElement(using: &random), let target = volumes[free]?.otherPool
      else { return }
      let body: JSONValue = ["pool": .string(target)]
      // One may be given up where its guest dies again and again; then it is where it was.
      let moved = try await killing { try await $0.done("POST", "/v1/volumes/\(free)/move", body) }
      if moved.isDone { volumes[free]?.pool = target == "local" ? Volume.pools[0] : target }
    case .attach: if !known.isAttached { try await attach(volume) }
    case .detach: if known.isAttached { try await detach(volume) }
    }
  }

  private mutating func make(
    _ name: String, _ source: JSONObject, _ content: Content, gib: Int = 1, in pool: String = Volume.pools[0]
  ) async throws {
    var body = source
    body["name"] = .string(name)
    let asked = JSONValue.object(body)
    let result = try await killing { try await $0.done("POST", "/v1/volumes", asked, expecting: true) }
    volumes[name] = Volume(id: result.id, gib: gib, isAttached: false, content: content, pool: pool)
  }

  /// SCSI: a guest that runs nothing lets go of it.
  private mutating func attach(_ volume: String) async throws {
    let body: JSONValue = ["vm": .string(vm), "bus": "scsi"]
    try await killing { try await $0.done("POST", "/v1/volumes/\(volume)/attach", body, expecting: true) }
    volumes[volume]?.isAttached = true
  }

  private mutating func detach(_ volume: String) async throws {
    try await killing { try await $0.done("POST", "/v1/volumes/\(volume)/detach", expecting: true) }
    volumes[volume]?.isAttached = false
  }

  /// Lets QEMU write into each attached volume, and flush.
  private mutating func write() async throws {
    for name in volumes.keys.sorted() {
      guard let volume = volumes[name], volume.isAttached,
        let place = Self.places.indices.randomElement(using: &random)
      else { continue }
      let byte = UInt8.random(in: 1...255, using: &random)
      // A QEMU that was killed is seen to be gone, and another one started, a little later.
      try await eventually("\(vm)'s QEMU writes to \(name)", within: .seconds(90)) {
        (try? await write(byte, at: Self.places[place], to: volume.id)) == true
      }
      volumes[name]?.content[place] = byte
      told.append("\(name)[\(place)] = \(byte)")
    }
  }

  /// False as long as QEMU does not have the volume.
  private func write(_ byte: UInt8, at offset: Int, to volume: String) async throws -> Bool {
    guard let disk = try await device(of: volume) else { return false }
    for command in ["write -P \(byte) \(offset) 1M", "flush"] {
      try await TestSupport.run(
        "virsh", "--quiet", "--connect", cloud.libvirt.uri, "qemu-monitor-command", vmID, "--hmp",
        "qemu-io -d \(disk) \"\(command)\"")
    }
    return true
  }

  /// QEMU's name for the disk with this volume.
  private func device(of volume: String) async throws -> String? {
    let serial = try await cloud.get("/v1/volumes/\(volume)")["serial"]?.stringValue ?? "?"
    let xml = try? await TestSupport.run("virsh", "--quiet", "--connect", cloud.libvirt.uri, "dumpxml", vmID)
    let disk = (xml ?? "").components(separatedBy: "<disk ").first { $0.contains("<serial>\(serial)</serial>") }
    return disk?.components(separatedBy: "<alias name='").dropFirst().first?.split(separator: "'").first.map(
      String.init)
  }

  /// Deletes a backup; others that were built on it stay whole.
  private mutating func discard(_ backup: String) async throws {
    let cloud = cloud
    try await eventually("\(backup) is deleted", within: .seconds(90)) {
      do {
        try await cloud.curl("/v1/backups/\(backup)", "-X", "DELETE")
        return true
      } catch let failure as CommandFailure {
        return failure.output.contains("\"not_found\"")
      }
    }
    backups[backup] = nil
  }

  /// Deletes everything.
  private mutating func end() async throws {
    for snapshot in snapshots.keys.sorted(by: >) {
      try await killing { try await $0.done("DELETE", "/v1/snapshots/\(snapshot)", expecting: true) }
    }
    for backup in backups.keys.sorted() { try await discard(backup) }
    for (name, volume) in volumes.sorted(by: { $0.key < $1.key }) {
      if volume.isAttached { try await detach(name) }
      try await killing { try await $0.done("DELETE", "/v1/volumes/\(name)", expecting: true) }
    }
    try await killing { try await $0.done("DELETE", "/v1/vms/\($0.vm)", expecting: true) }
  }

  // MARK: What must hold

  /// Compares every content with what its file reads as.
  private func check() async throws {
    for (name, volume) in volumes {
      try await reads(name, volume.content) { try layer(of: volume, snapshot: nil) }
      let others = Volume.pools.filter { $0 != volume.pool }
      for other in others {
        #expect(!FileManager.default.fileExists(atPath: "\(cloud.folder)/\(other)/volumes/\(volume.id).json"))
        #expect(!FileManager.default.fileExists(atPath: "\(cloud.folder)/\(other)/volumes/\(volume.id).copy"))
      }
    }
    for (name, snapshot) in snapshots {
      guard let volume = volumes[snapshot.volume] else { continue }
      try await reads(name, snapshot.content) { try layer(of: volume, snapshot: snapshot.id) }
    }
  }

  /// Looks more than once: layers are merged meanwhile, and have other names then.
  private func reads(_ name: String, _ content: Content, from layer: () throws -> String?) async throws {
    let commands = zip(Self.places, content).flatMap { ["-c", "read -q -P \($1) \($0) 1M"] }
    try await eventually("\(name) holds \(content)", within: .seconds(30)) {
      guard let path = try layer() else { return false }
      let output = try? await TestSupport.run(["qemu-io", "-r", "-U", "-f", "qcow2"] + commands + [path])
      return output.map { !$0.contains("failed") } ?? false
    }
  }

  /// The file with what a volume or a snapshot of it holds.
  private func layer(of volume: Volume, snapshot: String?) throws -> String? {
    let folder = "\(cloud.folder)/\(volume.pool)"
    guard let text = try? String(contentsOfFile: "\(folder)/volumes/\(volume.id).json", encoding: .utf8) else {
      return nil
    }
    let manifest = try JSONValue.parse(text)
    let taken = manifest["snapshots"]?.arrayValue?.first { $0["id"]?.stringValue == snapshot }
    let name = snapshot == nil ? manifest["leaf"]?.stringValue : taken?["layer"]?.stringValue
    return name.map { "\(folder)/layers/\($0).qcow2" }
  }

  // MARK: Asking and killing

  private typealias Result = (id: String, isDone: Bool)

  /// Asks, and waits for the end of what was asked for. Whoever is down does not answer, and is asked again.
  @discardableResult
  private func done(
    _ method: String, _ path: String, _ body: JSONValue? = nil, expecting success: Bool = false
  ) async throws -> Result {
    let key = UUID().uuidString
    let answer = try await found("\(method) \(path) is answered", within: .seconds(90)) { () -> JSONValue? in
      do {
        return try await cloud.send(method, path, body?.description ?? "", headers: ["Idempotency-Key: \(key)"])
      } catch let failure as CommandFailure {
        // What was deleted by a call whose answer was lost.
        if method == "DELETE", failure.output.contains("\"not_found\"") { return .object([:]) }
        // Whoever answers without PostgreSQL says 503, and who does not answer says nothing.
        guard failure.output.contains("\"status\":4") else { return nil }
        throw failure
      }
    }
    guard let operation = answer["operation"]?["id"]?.stringValue else {
      return (answer["id"]?.stringValue ?? "", true)
    }
    let ended = try await found("\(method) \(path) ends", within: .seconds(120)) { () -> JSONValue? in
      let now = try? await cloud.get("/v1/operations/\(operation)?wait=5")
      return ["succeeded", "failed"].contains(now?["status"]?.stringValue) ? now : nil
    }
    let isDone = ended["status"]?.stringValue == "succeeded"
    guard isDone || !success else {
      throw CommandFailure(command: "\(method) \(path)", status: 1, output: ended.description)
    }
    return (answer["id"]?.stringValue ?? "", isDone)
  }

  /// Does something, while perhaps a part is killed and started again.
  @discardableResult
  private mutating func killing(
    _ body: @escaping @Sendable (StorageStory) async throws -> Result
  ) async throws -> Result {
    let part = Bool.random(using: &random) ? Part.allCases.randomElement(using: &random) : nil
    // Nothing is waited for: this chooses the moment.
    let moment = Duration.milliseconds(Int.random(in: 0...400, using: &random))
    let story = self
    async let result = body(story)
    if let part {
      try await Task.sleep(for: moment)
      try await kill(part)
      told.append("killed \(part)")
    }
    let ended = try await result
    told.append("\(made): \(ended)")
    return ended
  }

  private func kill(_ part: Part) async throws {
    switch part {
    case .agent:
      try await cloud.killAgent()
      try await cloud.startAgent()
    case .libvirtd:
      try await cloud.libvirt.kill9()
      try await cloud.libvirt.restart()
    case .qemu: if let pid = try cloud.libvirt.guestPid(vmID) { Glibc.kill(pid, SIGKILL) }
    case .aloftd:
      try await cloud.killReplica(0)
      try await cloud.startReplica(0)
    case .postgres:
      try await cloud.postgres.kill9()
      try await cloud.postgres.restart()
    }
  }
}
