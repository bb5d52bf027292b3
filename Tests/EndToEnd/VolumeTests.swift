import AloftModel
import CephTestSupport
import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension StorageEndToEnd {
  /// What docs/STORAGE.md promises of volumes and snapshots, by the command line, with real guests.
  @Suite(.timeLimit(.minutes(12)))
  struct VolumeTests {
    /// How often a volume is plugged into a guest that runs, and out again; ALOFT_PLUG_ROUNDS asks for more.
    private static let rounds = ProcessInfo.processInfo.environment["ALOFT_PLUG_ROUNDS"].flatMap { Int($0) } ?? 20

    @Test(
      "old data comes back after a revert and in a clone; a mounted volume grows; volumes come and go while a guest runs"
    )
    func folder() async throws {
      let cloud = try await Cloud.start(Cloud.Shape(pools: ["fast"]))
      try await life(in: cloud, kind: "dir") { _ in
        let layers = try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/fast/layers")
        #expect(layers.count { $0.hasSuffix(".qcow2") } == 2, "what the snapshot holds, and what was written since")
      }
      for folder in ["fast/layers", "fast/volumes"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/\(folder)") == [])
      }
      try await cloud.stop()
    }

    @Test("volumes in Ceph live the same life", .enabled(if: PrivateCeph.isInstalled, "\(PrivateCeph.missing)"))
    func ceph() async throws {
      let ceph = try await PrivateCeph.shared()
      let access = try await ceph.access()
      let cloud = try await Cloud.start(Cloud.Shape(clusters: ["fast": access]))
      try await life(in: cloud, kind: "rbd") { volume in
        let snapshots = try await ceph.exec("rbd", "snap", "ls", "\(access.pool)/aloft.\(volume).0", "--format", "json")
        #expect(try JSONValue.parse(snapshots).arrayValue?.count == 1)
      }
      try await eventually("nothing is left in Ceph") { try await ceph.exec("rbd", "ls", access.pool) == "" }

      // A new agent looks through the pool at once.
      let planted = "aloft.\(VolumeID(UUID()))"
      try await ceph.exec("rbd", "create", "--size", "1M", "\(access.pool)/\(planted)")
      try await restartAgent(of: cloud)
      try await eventually("what nobody knows is found", within: .seconds(60)) {
        try await cloud.differences().contains(planted.dropFirst("aloft.".count) + " in pool fast")
      }
      try await ceph.exec("rbd", "rm", "--no-progress", "\(access.pool)/\(planted)")
      try await restartAgent(of: cloud)
      try await eventually("nothing is found", within: .seconds(60)) { try await cloud.differences() == "" }
      try await cloud.stop()
    }

    private func restartAgent(of cloud: Cloud) async throws {
      try await cloud.killAgent()
      try await cloud.startAgent()
    }

    /// - Parameter hasSnapshot: looks at how the pool keeps a volume, given by its id, that has one snapshot.
    private func life(in cloud: Cloud, kind: String, hasSnapshot: (String) async throws -> Void) async throws {
      try await cloud.aloft("pool", "create", "fast", "--kind", kind)
      for name in ["web", "other"] {
        _ = try await cloud.aloft("vm", "create", name, "--image", "tiny", "--memory", "128M")
      }
      try await eventually("the node has told of its pool", within: .seconds(30)) {
        try await cloud.get("/v1/storage-pools/fast")["places"]?.arrayValue?.count == 1
      }
      try await cloud.aloft("volume", "create", "data", "--size", "1G", "--pool", "fast", "--vm", "web", "--wait")
      let web = try await cloud.guest("web")
      let other = try await cloud.guest("other")
      try await web.answers()
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")

      // The disk that the guest runs on loses its only snapshot, so that its layers become one over the image.
      let first = try await web.run(Self.fill("first", in: "/data"))
      try await cloud.aloft("snapshot", "create", "whole", "--vm", "web", "--wait")
      let second = try await web.run(Self.fill("second", in: "/data"))
      #expect(first != second)
      try await cloud.aloft("snapshot", "delete", "whole", "--wait")
      #expect(try await web.run(Self.sum(in: "/data")) == second)
      #expect(try await cloud.differences() == "")

      // The guest that runs is held to limits, and let go of.
      try await cloud.aloft("volume", "limit", "data", "total_iops=4000:8000:20", "write_bytes=64M", "--wait")
      let limits = try await cloud.get("/v1/volumes/data")["io_limits"]
      #expect(limits?["total_iops"]?["burst_seconds"]?.intValue == 20)
      try await cloud.aloft("volume", "limit", "data", "total_iops=none", "--wait")

      // A snapshot while the guest runs, and other data afterwards.
      let disk = try await web.disk(try await cloud.serial("data"))
      let old = try await web.run("/usr/sbin/mke2fs -q -t ext4 \(disk) && mount \(disk) /mnt && \(Self.fill("old"))")
      try await cloud.aloft("snapshot", "create", "before", "--volume", "data", "--wait")
      #expect(try await cloud.get("/v1/snapshots/before")["quiesced"]?.boolValue == true, "the guest has an agent")
      let new = try await web.run(Self.fill("new"))
      #expect(old != new)

      // The guest sees the new size at once, and its file system grows where it is.
      try await cloud.aloft("volume", "grow", "data", "2G", "--wait")
      #expect(try await web.run("blockdev --getsize64 \(disk)") == "\(2 << 30)\n")
      try await web.run("resize2fs \(disk) && [ $(df -m /mnt | awk 'END { print $2 }') -gt 1800 ]")
      #expect(try await web.run(Self.sum()) == new)

      try await hasSnapshot(try await cloud.get("/v1/volumes/data")["id"]?.stringValue ?? "")

      // A clone has what the snapshot has, in another guest.
      try await cloud.aloft("volume", "create", "copy", "--snapshot", "before", "--wait")
      try await cloud.aloft("volume", "attach", "copy", "other", "--wait")
      try await other.answers()
      let copy = try await other.disk(try await cloud.serial("copy"))
      #expect(try await other.run("mount \(copy) /mnt && \(Self.sum())") == old)

      // A clone of what is there now, through no snapshot that anybody sees.
      try await cloud.aloft("volume", "create", "now", "--of", "data", "--wait")
      try await cloud.aloft("volume", "attach", "now", "other", "--wait")
      let now = try await other.disk(try await cloud.serial("now"))
      #expect(try await other.run("umount /mnt && mount \(now) /mnt && \(Self.sum()) && umount /mnt") == new)
      #expect(try await cloud.get("/v1/snapshots")["items"]?.arrayValue?.count == 1)
      try await other.run("mount \(copy) /mnt")
      try await cloud.aloft("volume", "detach", "now", "--wait")
      try await cloud.aloft("volume", "delete", "now", "--wait")

      // Back to the snapshot: what was written since is gone, the size is not.
      try await web.run("umount /mnt")
      try await cloud.aloft("volume", "detach", "data", "--wait")
      try await cloud.aloft("snapshot", "revert", "before", "--wait")
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")
      let reverted = try await web.disk(try await cloud.serial("data"))
      #expect(try await web.run("mount \(reverted) /mnt && \(Self.sum())") == old)
      #expect(try await web.run("blockdev --getsize64 \(reverted)") == "\(2 << 30)\n")

      // The clone does not need the snapshot.
      try await cloud.aloft("snapshot", "delete", "before", "--wait")
      #expect(try await other.run("umount /mnt && mount \(copy) /mnt && \(Self.sum())") == old)
      try await other.run("umount /mnt")

      let serial = try await cloud.serial("copy")
      for round in 1...Self.rounds {
        try await cloud.aloft("volume", "detach", "copy", "--wait")
        #expect(try await other.devices(serial).isEmpty, "round \(round)")
        let bus = round % 2 == 0 ? "virtio" : "scsi"
        try await cloud.aloft("volume", "attach", "copy", "other", "--bus", bus, "--wait")
        _ = try await other.disk(serial)
      }
      #expect(try await other.run("mount \(try await other.disk(serial)) /mnt && \(Self.sum()) && umount /mnt") == old)

      #expect(try await cloud.differences() == "")
      try await web.run("umount /mnt")
      for volume in ["data", "copy"] { try await cloud.aloft("volume", "detach", volume, "--wait") }
      try await cloud.aloft("volume", "delete", "data", "copy", "--wait")
      try await cloud.aloft("vm", "delete", "web", "other", "--wait")
      for folder in ["agent/layers", "agent/volumes", "agent/vms"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/\(folder)") == [])
      }
      #expect(try await cloud.differences() == "")
    }

    /// Fills a file of the mounted volume, and prints its checksum as it is on the disk.
    private static func fill(_ word: String, in folder: String = "/mnt") -> String {
      "yes \(word) | head -c 8000000 >\(folder)/pattern && sync && \(sum(in: folder))"
    }

    private static func sum(in folder: String = "/mnt") -> String {
      "echo 3 >/proc/sys/vm/drop_caches; sha256sum \(folder)/pattern"
    }
  }
}

extension Cloud {
  /// The inside of a VM's guest.
  func guest(_ vm: String) async throws -> GuestShell {
    GuestShell(domain: try await get("/v1/vms/\(vm)")["id"]?.stringValue ?? "", uri: libvirt.uri)
  }

  func serial(_ volume: String) async throws -> String {
    try await get("/v1/volumes/\(volume)")["serial"]?.stringValue ?? ""
  }
}

extension GuestShell {
  /// The disks with this serial number: virtio's tell it as it is, others in a page of their own.
  func devices(_ serial: String) async throws -> [String] {
    let look =
      "cd /sys/block && grep -ls \(serial) [vs]d?/serial [vs]d?/device/vpd_pg80 | cut -d / -f 1"
    return try await run(look).split(separator: "\n").map { "/dev/\($0)" }
  }

  /// The disk with this serial number, as soon as the guest has it.
  func disk(_ serial: String) async throws -> String {
    try await found("\(domain) has the disk \(serial)", within: .seconds(60)) { try await devices(serial).first }
  }
}
