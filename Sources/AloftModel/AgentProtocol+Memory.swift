// What the agent protocol says about memory of guests that is kept with snapshots. All of it is optional.

extension Assignment {
  /// What a guest goes on from instead of booting, once: its memory at the instant of a snapshot that its volumes were put back to.
  public struct Memory: Sendable, Codable, Hashable {
    /// Different each time that it is asked for: the agent remembers by it that the guest has gone on.
    public var request: VMRequestID
    public var snapshot: SnapshotID
    /// The volume beside which the memory's file lies.
    public var volume: VolumeID
    /// The epochs of the guest's volumes that hold what the memory knows of them.
    public var epochs: [Epoch]

    public struct Epoch: Sendable, Codable, Hashable {
      public var volume: VolumeID
      public var epoch: Int

      public init(volume: VolumeID, epoch: Int) {
        self.volume = volume
        self.epoch = epoch
      }
    }

    public init(request: VMRequestID, snapshot: SnapshotID, volume: VolumeID, epochs: [Epoch]) {
      self.request = request
      self.snapshot = snapshot
      self.volume = volume
      self.epochs = epochs
    }
  }
}

/// What of a virtual machine has to be as it was for its memory to be loaded.
public struct MachineShape: Sendable, Codable, Equatable {
  public struct Disk: Sendable, Codable, Equatable {
    public var volume: VolumeID
    public var bus: DiskBus

    public init(volume: VolumeID, bus: DiskBus) {
      self.volume = volume
      self.bus = bus
    }
  }

  public struct NIC: Sendable, Codable, Equatable {
    public var id: NICID
    public var mac: String

    public init(id: NICID, mac: String) {
      self.id = id
      self.mac = mac
    }
  }

  public var vcpus: Int
  public var memoryMib: Int
  public var disks: [Disk]
  public var nics: [NIC]

  public init(vcpus: Int, memoryMib: Int, disks: [Disk], nics: [NIC]) {
    self.vcpus = vcpus
    self.memoryMib = memoryMib
    self.disks = disks
    self.nics = nics
  }

  /// What is different now, in words; empty: memory of this machine can be loaded into `other`.
  public func differences(to other: MachineShape) -> [String] {
    var found: [String] = []
    if vcpus != other.vcpus { found.append("it had \(vcpus) vCPUs and has \(other.vcpus)") }
    if memoryMib != other.memoryMib { found.append("it had \(memoryMib) MiB of memory and has \(other.memoryMib)") }
    for disk in disks {
      guard let now = other.disks.first(where: { $0.volume == disk.volume }) else {
        found.append("it had volume \(disk.volume)")
        continue
      }
      if now.bus != disk.bus { found.append("volume \(disk.volume) was on \(disk.bus.rawValue)") }
    }
    for disk in other.disks where !disks.contains(where: { $0.volume == disk.volume }) {
      found.append("it did not have volume \(disk.volume)")
    }
    let before = Dictionary(nics.map { ($0.id, $0.mac.lowercased()) }) { first, _ in first }
    let now = Dictionary(other.nics.map { ($0.id, $0.mac.lowercased()) }) { first, _ in first }
    for nic in nics where now[nic.id] != nic.mac.lowercased() { found.append("it had the NIC \(nic.id) (\(nic.mac))") }
    for nic in other.nics where before[nic.id] == nil { found.append("it did not have the NIC \(nic.id)") }
    return found
  }
}

extension Assignment {
  /// As it is to be now.
  public var shape: MachineShape {
    MachineShape(
      vcpus: vcpus, memoryMib: memoryMib, disks: disks.map { MachineShape.Disk(volume: $0.volume, bus: $0.bus) },
      nics: (nics ?? []).map { MachineShape.NIC(id: $0.id, mac: $0.mac) })
  }
}
