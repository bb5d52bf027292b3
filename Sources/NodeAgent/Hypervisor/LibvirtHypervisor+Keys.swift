import AloftModel
import Execution
import Glibc
import Libvirt

// The keys of encrypted volumes. libvirtd has one in its memory while something is done that opens a layer: starting a guest, plugging a
// volume in, a snapshot. It hands it to QEMU encrypted by a key of that guest, on the command line, which it also writes to the
// guest's log; the guest's key lies in a file of its state directory as long as the guest runs. If that came to a disk, so would
// the volumes' keys.

extension LibvirtHypervisor {
  public func provide(_ keys: [VolumeID: VolumeKey]) async throws(AgentFailure) {
    if keys.isEmpty { return }
    try await requireStateInMemory()
    for (volume, key) in keys {
      try await call { connection throws(LibvirtError) in
        try await connection.setVolumeSecret(
          DiskEncryption.secret(of: volume), usage: "aloft \(volume)", key: Array(key.text.utf8))
      }
    }
  }

  public func forget(_ volumes: [VolumeID]) async {
    for volume in volumes {
      do throws(AgentFailure) {
        try await call { connection throws(LibvirtError) in
          try await connection.removeSecret(DiskEncryption.secret(of: volume))
        }
      } catch {
        // It ends with libvirtd.
        logger.info("libvirt keeps a volume's key in memory", metadata: ["volume": "\(volume)", "failure": "\(error)"])
      }
    }
  }

  private func requireStateInMemory() async throws(AgentFailure) {
    let directory = stateDirectory
    let isInMemory = await DedicatedThread(name: "statfs").run { Self.isInMemory(directory) }
    guard isInMemory else {
      throw AgentFailure(
        .volumeLocked,
        "libvirt's state directory \(directory) is not in memory, so keys of encrypted volumes would come to the node's disk; "
          + "the node's operator has to mount a tmpfs there (or name the right one by --libvirt-state)")
    }
  }

  private static let memoryFileSystems: Set<Substring> = ["tmpfs", "ramfs"]

  /// By the device of the directory, which is that of one of the host's mounts (proc(5), `/proc/pid/mountinfo`).
  static func isInMemory(_ directory: String) -> Bool {
    var status = stat()
    guard stat(directory, &status) == 0, let mounts = try? FileSystem.readAll("/proc/self/mountinfo") else {
      return false
    }
    // The numbers of `makedev(3)`, which C has as macros.
    let number = UInt64(status.st_dev)
    let (major, minor) = (number >> 8 & 0xfff | number >> 32 & ~0xfff, number & 0xff | number >> 12 & 0xffff_ff00)
    let device = "\(major):\(minor)"
    return String(decoding: mounts, as: UTF8.self).split(separator: "\n").contains { line in
      let words = line.split(separator: " ")
      guard words.count > 2, words[2] == device, let dash = words.firstIndex(of: "-"), dash + 1 < words.count else {
        return false
      }
      return memoryFileSystems.contains(words[dash + 1])
    }
  }
}
