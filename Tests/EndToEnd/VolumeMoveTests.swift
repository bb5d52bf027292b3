import CephTestSupport
import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension StorageEndToEnd {
  /// Volumes that go to other pools, by the command line, with real guests that write meanwhile.
  @Suite(.timeLimit(.minutes(12)))
  struct VolumeMoveTests {
    @Test("a guest's volumes go to another directory and back, while it writes and at rest, and it misses nothing")
    func directories() async throws {
      let cloud = try await Cloud.start(Cloud.Shape(pools: ["fast"]))
      try await journey(in: cloud, kind: "dir")
      for folder in ["agent", "fast"] {
        for kind in ["layers", "volumes"] {
          let names = try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/\(folder)/\(kind)")
          #expect(names == [], "\(folder)/\(kind)")
        }
      }
      try await cloud.stop()
    }

    @Test("the same into Ceph and back", .enabled(if: PrivateCeph.isInstalled, "\(PrivateCeph.missing)"))
    func ceph() async throws {
      let ceph = try await PrivateCeph.shared()
      let access = try await ceph.access()
      let cloud = try await Cloud.start(Cloud.Shape(clusters: ["fast": access]))
      try await journey(in: cloud, kind: "rbd")
      try await eventually("nothing is left in Ceph") { try await ceph.exec("rbd", "ls", access.pool) == "" }
      for kind in ["layers", "volumes"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/agent/\(kind)") == [])
      }
      try await cloud.stop()
    }

    private func journey(in cloud: Cloud, kind: String) async throws {
      try await cloud.aloft("pool", "create", "fast", "--kind", kind)
      try await cloud.aloft("vm", "create", "web", "--image", "tiny", "--memory", "128M", "--wait")
      try await eventually("the node has told of its pool", within: .seconds(30)) {
        try await cloud.get("/v1/storage-pools/fast")["places"]?.arrayValue?.count == 1
      }
      try await cloud.aloft("volume", "create", "data", "--size", "1G", "--vm", "web", "--wait")
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")
      let web = try await cloud.guest("web")
      try await web.answers()
      let disk = try await web.disk(try await cloud.serial("data"))
      let sum = try await web.run("/usr/sbin/mke2fs -q -t ext4 \(disk) && mount \(disk) /mnt && \(Self.fill)")
      try await web.run(Self.startWriting)

      // Under the guest, there and back.
      for (pool, volume) in [("fast", "data"), ("fast", "web-boot"), ("local", "data")] {
        let before = try await count(web)
        try await cloud.aloft("volume", "move", volume, "--pool", pool, "--wait")
        let moved = try await cloud.get("/v1/volumes/\(volume)")
        #expect(moved["pool"]?.stringValue == pool && moved["move"]?.isNull == true, "\(moved)")
        try await eventually("it goes on writing", within: .seconds(60)) { try await count(web) > before }
        #expect(try await web.run(Self.sum) == sum)
        #expect(try await cloud.differences() == "")
      }
      let written = try await web.run(Self.stopWriting)
      #expect(written.contains("whole"), "\(written)")
      #expect(try await web.run(Self.sum) == sum)

      // It starts from where they are, and they go back at rest.
      try await cloud.aloft("vm", "stop", "web", "--wait")
      try await cloud.aloft("vm", "start", "web", "--wait")
      try await web.answers()
      #expect(try await read(web, cloud) == sum)
      try await web.run("umount /mnt")
      try await cloud.aloft("vm", "stop", "web", "--wait")
      for (pool, volume) in [("fast", "data"), ("local", "web-boot"), ("local", "data")] {
        try await cloud.aloft("volume", "move", volume, "--pool", pool, "--wait")
        #expect(try await cloud.get("/v1/volumes/\(volume)")["pool"]?.stringValue == pool)
      }
      try await cloud.aloft("vm", "start", "web", "--wait")
      try await web.answers()
      #expect(try await read(web, cloud) == sum)
      #expect(try await cloud.differences() == "")
      try await web.run("umount /mnt")
      // What is being moved goes with its VM, and leaves nothing.
      try await cloud.aloft("volume", "detach", "data", "--wait")
      try await cloud.aloft("volume", "move", "data", "--pool", "fast")
      try await cloud.aloft("volume", "move", "web-boot", "--pool", "fast")
      try await cloud.aloft("volume", "delete", "data", "--wait")
      try await cloud.aloft("vm", "delete", "web", "--wait")
      #expect(try await cloud.differences() == "")
    }

    /// Mounts the volume, and prints the checksum of what is on it.
    private func read(_ guest: GuestShell, _ cloud: Cloud) async throws -> String {
      try await guest.run("mount \(try await guest.disk(try await cloud.serial("data"))) /mnt && \(Self.sum)")
    }

    private func count(_ guest: GuestShell) async throws -> Int {
      Int(try await guest.run("cat /tmp/count").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
    }

    private static let fill = "head -c 30000000 /dev/urandom >/mnt/pattern && sync && \(sum)"
    private static let sum = "echo 3 >/proc/sys/vm/drop_caches; sha256sum /mnt/pattern"
    /// Numbers that are on the disk before they are counted in memory.
    private static let startWriting = """
      echo 0 >/tmp/count; (i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i >>/mnt/log; sync; echo $i >/tmp/count; done; \
      touch /tmp/stopped) >/dev/null 2>&1 </dev/null &
      """
    private static let stopWriting = """
      touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 0.1; done; echo 3 >/proc/sys/vm/drop_caches; \
      n=$(cat /tmp/count); [ "$(wc -l </mnt/log)" = "$n" ] && [ "$(tail -n 1 /mnt/log)" = "$n" ] && echo whole $n
      """
  }
}
