import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// What docs/STORAGE.md promises of backups, by the command line, with a real QEMU that writes.
  @Suite(.timeLimit(.minutes(12)))
  struct BackupTests {
    @Test("what was backed up comes back bit by bit, whatever is killed meanwhile; a damaged backup changes nothing")
    func life() async throws {
      let cloud = try await Cloud.start()
      try await StorageStory.uploadBlank(to: cloud)
      try await cloud.aloft("vm", "create", "web", "--image", "blank", "--memory", "128M", "--wait")
      try await cloud.aloft("volume", "create", "data", "--size", "1G", "--vm", "web", "--wait")
      try await cloud.aloft("volume", "attach", "data", "web", "--bus", "scsi", "--wait")

      // While its guest runs: all of it first, then only what was written since.
      try await cloud.write("write -P 1 0 1M", "write -P 2 100M 8M", "write -P 3 900M 1M", to: "data", of: "web")
      try await cloud.aloft("backup", "create", "one", "--volume", "data", "--wait")
      var sums = ["one": try await cloud.sum(of: "data")]
      let one = try await cloud.get("/v1/backups/one")
      #expect(one["kind"]?.stringValue == "full" && one["read_bytes"]?.intValue == 10 << 20, "\(one)")
      #expect(one["stored_bytes"]?.intValue == 3 << 20, "equal parts are kept once: \(one)")
      try await cloud.write("write -P 4 100M 64k", "write -z 900M 1M", to: "data", of: "web")
      try await cloud.aloft("backup", "create", "two", "--volume", "data", "--wait")
      sums["two"] = try await cloud.sum(of: "data")
      let two = try await cloud.get("/v1/backups/two")
      #expect(two["kind"]?.stringValue == "incremental" && two["read_bytes"]?.intValue == 2 << 20, "\(two)")
      #expect(two["stored_bytes"]?.intValue == 1 << 20, "\(two)")

      // The agent is killed in the middle, and goes on.
      try await cloud.aloft("volume", "detach", "data", "--wait")
      let noise = cloud.folder + "/noise"
      try await run("dd", "if=/dev/urandom", "of=\(noise)", "bs=1M", "count=96", "status=none")
      try await run(
        "qemu-io", "-f", "qcow2", "-c", "write -q -s \(noise) 200M 96M", try await cloud.layer(of: "data"))
      sums["three"] = try await cloud.sum(of: "data")
      try await cloud.aloft("backup", "create", "three", "--volume", "data")
      try await killAgent(of: cloud, when: "the backup is being sent") {
        try await cloud.get("/v1/backups/three")["stored_bytes"]?.intValue ?? 0 > 4 << 20
      }
      try await eventually("the backup is made", within: .seconds(120)) {
        try await cloud.get("/v1/backups/three")["state"]?.stringValue == "available"
      }
      let three = try await cloud.get("/v1/backups/three")
      #expect(three["kind"]?.stringValue == "incremental" && three["stored_bytes"]?.intValue == 96 << 20, "\(three)")
      #expect(try await cloud.differences() == "")

      // The volume is gone; each is restored from what is left, in the middle of one of them the agent is killed.
      try await cloud.aloft("volume", "delete", "data", "--wait")
      try await cloud.aloft("volume", "create", "new3", "--size", "1G", "--wait")
      async let asked = cloud.aloft("backup", "restore", "three", "--over", "new3")
      try await killAgent(of: cloud, when: "the volume is being restored") {
        try await cloud.isRestoring("new3")
      }
      _ = try await asked
      try await eventually("the volume is restored", within: .seconds(120)) {
        try await cloud.get("/v1/volumes/new3")["operation"] == .null
      }
      #expect(try await cloud.sum(of: "new3") == sums["three"])
      for (name, volume) in [("one", "new1"), ("two", "new2")] {
        try await cloud.aloft("backup", "restore", name, "--as", volume, "--wait")
        #expect(try await cloud.sum(of: volume) == sums[name], "\(name)")
      }

      // Over one that there is; the backup that others build on goes meanwhile.
      try await cloud.aloft("backup", "restore", "two", "--over", "new1", "--wait")
      #expect(try await cloud.sum(of: "new1") == sums["two"])
      try await cloud.aloft("backup", "delete", "one")
      try await cloud.aloft("backup", "verify", "two", "three", "--wait")

      // Something of it is lost: nothing is replaced.
      let lost = try await cloud.loseChunk(of: "three")
      await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("backup", "restore", "three", "--over", "new1", "--wait")
      }
      #expect(try await cloud.sum(of: "new1") == sums["two"])
      await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("backup", "restore", "three", "--as", "new4", "--wait")
      }
      try await eventually("nothing is left of the new volume", within: .seconds(60)) {
        try await cloud.get("/v1/volumes")["items"]?.arrayValue?.contains { $0["name"]?.stringValue == "new4" } == false
      }
      try await cloud.aloft("volume", "attach", "new1", "web", "--bus", "scsi", "--wait")
      try await cloud.aloft("volume", "detach", "new1", "--wait")
      #expect(try await cloud.differences().contains("missing"))
      try FileManager.default.moveItem(atPath: lost.aside, toPath: lost.path)

      try await cloud.aloft("backup", "delete", "two", "three")
      try await cloud.aloft("volume", "delete", "new1", "new2", "new3", "--wait")
      try await cloud.aloft("vm", "delete", "web", "--wait")
      try await eventually("nothing is left in the store", within: .seconds(60)) {
        !FileManager.default.fileExists(atPath: cloud.folder + "/images/backups")
      }
      for folder in ["layers", "volumes", "exports"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/agent/\(folder)") == [])
      }
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    private func killAgent(
      of cloud: Cloud, when moment: String, _ isNow: @escaping @Sendable () async throws -> Bool
    ) async throws {
      try await eventually(moment, within: .seconds(60)) { try await isNow() }
      try await cloud.killAgent()
      try await cloud.startAgent()
    }
  }
}

extension Cloud {
  /// The file that a volume's guest writes to.
  func layer(of volume: String) async throws -> String {
    let id = try await get("/v1/volumes/\(volume)")["id"]?.stringValue ?? ""
    let manifest = try JSONValue.parse(
      try String(contentsOfFile: "\(folder)/agent/volumes/\(id).json", encoding: .utf8))
    return "\(folder)/agent/layers/\(manifest["leaf"]?.stringValue ?? "").qcow2"
  }

  /// The SHA-256 of all that a volume holds.
  fileprivate func sum(of volume: String) async throws -> String {
    let raw = folder + "/sum.raw"
    try await run("qemu-img", "convert", "-U", "-O", "raw", try await layer(of: volume), raw)
    defer { try? FileManager.default.removeItem(atPath: raw) }
    return String(try await run("sha256sum", raw).prefix(64))
  }

  /// Lets the guest's QEMU write, and flush.
  fileprivate func write(_ commands: String..., to volume: String, of vm: String) async throws {
    let id = try await get("/v1/vms/\(vm)")["id"]?.stringValue ?? ""
    let serial = try await serial(volume)
    let xml = try await run("virsh", "--quiet", "--connect", libvirt.uri, "dumpxml", id)
    let disk = xml.components(separatedBy: "<disk ").first { $0.contains("<serial>\(serial)</serial>") }
    let alias = disk?.components(separatedBy: "<alias name='").dropFirst().first?.split(separator: "'").first ?? ""
    for command in commands + ["flush"] {
      try await run(
        "virsh", "--quiet", "--connect", libvirt.uri, "qemu-monitor-command", id, "--hmp",
        "qemu-io -d \(alias) \"\(command)\"")
    }
  }

  /// Whether a new content of a volume is being written.
  fileprivate func isRestoring(_ volume: String) async throws -> Bool {
    let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/agent/layers")
    guard let half = names.first(where: { $0.hasPrefix(".") && $0.hasSuffix(".qcow2") }) else { return false }
    let path = "\(folder)/agent/layers/\(half)"
    let found = try? FileManager.default.attributesOfItem(atPath: path)
    return (found?[.size] as? Int ?? 0) > 4 << 20
  }

  /// Puts a chunk that a backup has sent somewhere else.
  fileprivate func loseChunk(of backup: String) async throws -> (path: String, aside: String) {
    let backups = folder + "/images/backups"
    let names = FileManager.default.enumerator(atPath: backups)?.compactMap { $0 as? String } ?? []
    // The one that has the most.
    let folders = Dictionary(grouping: names.filter { $0.split(separator: "/").count == 3 }) {
      $0.split(separator: "/")[1]
    }
    let chunks = folders.values.max { $0.count < $1.count }?.filter { !$0.contains("manifest") } ?? []
    let (path, aside) = ("\(backups)/\(chunks.first ?? "")", folder + "/lost")
    try FileManager.default.moveItem(atPath: path, toPath: aside)
    return (path, aside)
  }
}
