import AloftModel
import CephTestSupport
import Foundation
import JSON
import LibvirtTestSupport
import NodeAgent
import TestSupport

/// A cloud with the VM `web`, which boots nothing, and with a pool `fast` beside `local`: in a directory, or in Ceph.
struct BackupScene {
  let cloud: Cloud
  private let ceph: (cluster: PrivateCeph, access: CephAccess)?

  static func inDirectories() async throws -> BackupScene {
    try await prepared(BackupScene(cloud: try await Cloud.start(Cloud.Shape(pools: ["fast"])), ceph: nil))
  }

  static func inCeph() async throws -> BackupScene {
    let cluster = try await PrivateCeph.shared()
    let access = try await cluster.access()
    let cloud = try await Cloud.start(Cloud.Shape(clusters: ["fast": access]))
    return try await prepared(BackupScene(cloud: cloud, ceph: (cluster, access)))
  }

  private static func prepared(_ scene: BackupScene) async throws -> BackupScene {
    let cloud = scene.cloud
    try await StorageStory.uploadBlank(to: cloud)
    try await cloud.aloft("pool", "create", "fast", "--kind", scene.ceph == nil ? "dir" : "rbd")
    try await cloud.aloft("vm", "create", "web", "--image", "blank", "--memory", "128M", "--wait")
    try await eventually("the node has told of its pool", within: .seconds(30)) {
      try await cloud.get("/v1/storage-pools/fast")["places"]?.arrayValue?.count == 1
    }
    return scene
  }

  /// Makes a volume of 1 GiB in a pool.
  func make(_ volume: String, in pool: String = "fast") async throws {
    try await cloud.aloft("volume", "create", volume, "--size", "1G", "--pool", pool, "--wait")
  }

  // MARK: What volumes hold

  /// What QEMU's programs call the disk that a volume's guest writes to: its format and its name.
  func disk(of volume: String) async throws -> [String] {
    let shown = try await cloud.get("/v1/volumes/\(volume)")
    let id = shown["id"]?.stringValue ?? ""
    let isLocal = shown["pool"]?.stringValue == "local"
    guard let ceph, !isLocal else {
      let folder = "\(cloud.folder)/\(isLocal ? "agent" : "fast")"
      let manifest = try JSONValue.parse(try String(contentsOfFile: "\(folder)/volumes/\(id).json", encoding: .utf8))
      return ["-f", "qcow2", "\(folder)/layers/\(manifest["leaf"]?.stringValue ?? "").qcow2"]
    }
    let access = ceph.access
    let manifest = try JSONValue.parse(
      try await ceph.cluster.exec("rbd", "image-meta", "get", "\(access.pool)/aloft.\(id)", "aloft.manifest"))
    let head = manifest["head"]?.stringValue ?? ""
    return [
      "-f", "raw",
      "rbd:\(access.pool)/\(head):id=\(access.client):conf=\(access.configuration):keyring=\(access.keyring)",
    ]
  }

  /// The SHA-256 of all that a volume holds.
  func sum(of volume: String) async throws -> String {
    let raw = cloud.folder + "/sum.raw"
    let disk = try await disk(of: volume)
    try await run(["qemu-img", "convert", "-U"] + disk.dropLast() + ["-O", "raw", disk.last ?? "", raw])
    defer { try? FileManager.default.removeItem(atPath: raw) }
    // coreutils reads a GiB in ten seconds, OpenSSL in two.
    return String(try await run("openssl", "dgst", "-sha256", "-r", raw).prefix(64))
  }

  /// Lets the guest's QEMU write, and flush.
  func write(_ commands: String..., to volume: String) async throws {
    let id = try await cloud.get("/v1/vms/web")["id"]?.stringValue ?? ""
    let serial = try await cloud.serial(volume)
    let xml = try await run("virsh", "--quiet", "--connect", cloud.libvirt.uri, "dumpxml", id)
    let disk = xml.components(separatedBy: "<disk ").first { $0.contains("<serial>\(serial)</serial>") }
    let alias = disk?.components(separatedBy: "<alias name='").dropFirst().first?.split(separator: "'").first ?? ""
    for command in commands + ["flush"] {
      try await run(
        "virsh", "--quiet", "--connect", cloud.libvirt.uri, "qemu-monitor-command", id, "--hmp",
        "qemu-io -d \(alias) \"\(command)\"")
    }
  }

  /// Writes what cannot be made smaller into a volume that no guest has.
  func fill(_ volume: String, at offset: String, mebibytes: Int) async throws {
    let noise = cloud.folder + "/noise"
    try await run("dd", "if=/dev/urandom", "of=\(noise)", "bs=1M", "count=\(mebibytes)", "status=none")
    let disk = try await disk(of: volume)
    try await run(["qemu-io", "-c", "write -q -s \(noise) \(offset) \(mebibytes)M"] + disk)
  }

  // MARK: What happens to it

  func killAgent(
    when moment: String, _ isNow: @escaping @Sendable () async throws -> Bool
  ) async throws {
    try await eventually(moment, within: .seconds(60)) { try await isNow() }
    try await cloud.killAgent()
    try await cloud.startAgent()
  }

  /// Whether a new content of a volume is being written.
  func isRestoring(_ volume: String) async throws -> Bool {
    try await cloud.get("/v1/volumes/\(volume)")["operation"]?["progress"]?.intValue ?? 0 > 4
  }

  /// Puts a chunk that a backup has sent somewhere else.
  func loseChunk(of backup: String) async throws -> (path: String, aside: String) {
    let id = try await cloud.get("/v1/backups/\(backup)")["id"]?.stringValue ?? ""
    let folders = FileManager.default.enumerator(atPath: cloud.folder + "/images/backups")?.compactMap { $0 as? String }
    let folder = BackupID(id)?.uuid.uuidString.lowercased() ?? "?"
    guard let chunk = folders?.first(where: { $0.contains("/\(folder)/") && !$0.contains("manifest") }) else {
      throw CommandFailure(command: "losing a chunk of \(backup)", status: 1, output: "\(folders ?? [])")
    }
    let (path, aside) = ("\(cloud.folder)/images/backups/\(chunk)", cloud.folder + "/lost")
    try FileManager.default.moveItem(atPath: path, toPath: aside)
    return (path, aside)
  }

  /// Ends the cloud, of which all backups and volumes have been deleted.
  func stop() async throws {
    try await cloud.aloft("vm", "delete", "web", "--wait")
    try await eventually("nothing is left in the store", within: .seconds(60)) {
      !FileManager.default.fileExists(atPath: cloud.folder + "/images/backups")
    }
    var folders = ["agent/layers", "agent/volumes", "agent/exports"]
    if let ceph {
      try await eventually("nothing is left in Ceph", within: .seconds(60)) {
        let images = try await ceph.cluster.exec("rbd", "ls", ceph.access.pool)
        let trash = try await ceph.cluster.exec("rbd", "trash", "ls", ceph.access.pool)
        return images + trash == ""
      }
    } else {
      folders += ["fast/layers", "fast/volumes", "fast/exports"]
    }
    for folder in folders {
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/\(folder)")
      guard names.isEmpty else { throw CommandFailure(command: "ls \(folder)", status: 1, output: "\(names)") }
    }
    let differences = try await cloud.differences()
    guard differences == "" else { throw CommandFailure(command: "aloftd check", status: 1, output: differences) }
    try await cloud.stop()
  }
}
