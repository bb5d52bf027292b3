import AloftModel
import Foundation
import Libvirt
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Memory of guests")
struct MemoryTests {
  static let memory = Assignment.Memory(
    request: Assignment.Request.sample(7).id, snapshot: .sample(1), volume: .sample(1),
    epochs: [.init(volume: .sample(1), epoch: 1)])

  func plan(
    _ power: DomainPower?, wants: Power = .running, resumed: VMRequestID? = nil, nics: [Assignment.NIC]? = nil,
    missing: MissingPorts? = nil
  ) -> Plan {
    var desired = Assignment.sample(power: wants)
    desired.memory = Self.memory
    desired.nics = nics
    let tag = DomainTag(incarnation: 2, generation: 5, ranGeneration: 4, digest: "d", resumed: resumed)
    let domain = power.map { VMDomain(vm: .sample(1), tag: tag, power: $0) }
    return Plan.make(
      desired, ActualVM(domain: domain, files: PlanTests.whole, missingPorts: missing), digest: "d", stop: nil,
      now: 1_000_000)
  }

  static let marked = DomainTag(
    incarnation: 2, generation: 5, ranGeneration: 4, digest: "d", resumed: memory.request)

  @Test("memory is loaded into a guest that is off, once; it is written down before the guest runs")
  func once() {
    #expect(plan(.off(.destroyed)).steps == [.restore(Self.memory)])
    #expect(plan(.off(.failed)).steps == [.restore(Self.memory)], "loading it failed")
    #expect(plan(.paused(.other)).steps == [.setTag(Self.marked), .release])
    #expect(plan(.paused(.other), resumed: Self.memory.request).steps == [.release])
    #expect(plan(.off(.failed), resumed: Self.memory.request).steps == [.start])
    var ran = Self.marked
    ran.ranGeneration = 5
    #expect(plan(.running).steps == [.setTag(ran)], "whoever let it run")
  }

  @Test("a guest with its memory loaded waits for its ports, and is not let run to be shut down")
  func held() {
    let missing = MissingPorts(nics: [], reason: "none")
    #expect(plan(.paused(.other), nics: [], missing: missing).steps == [])
    #expect(plan(.paused(.other), wants: .stopped).steps == [.destroy])
    #expect(plan(.paused(.other), wants: .stopped, resumed: Self.memory.request).steps == [.requestShutdown])
  }

  @Test("where the definition was lost nobody knows whether the guest has gone on: it boots")
  func lost() {
    let define = Step.define(
      DomainTag(incarnation: 2, generation: 5, digest: "d", resumed: Self.memory.request))
    #expect(plan(nil).steps == [define, .start])
  }

  @Test("a volume's plan says beside which volume memory is kept")
  func snapshot() {
    var snapshot = VolumeAssignment.Snapshot.sample(1)
    snapshot.memory = .sample(1)
    let stored = StoredVolume(sizeBytes: 1024 << 20, source: .file("/top"))
    let plan = VolumePlan.make(
      .sample(snapshots: [snapshot]), ActualVolume(look: .whole(stored), use: .nobody), now: 0, usual: 60_000)
    #expect(plan.steps == [.takeSnapshot(.sample(1), of: [.sample(1)], quiesce: false, memory: .sample(1))])
  }

  @Test("what differs between two machines is said in words")
  func shapes() {
    let shape = MachineShape(
      vcpus: 1, memoryMib: 128, disks: [.init(volume: .sample(1), bus: .virtio)],
      nics: [.init(id: NICID(UUID()), mac: "52:54:00:AA:00:01")])
    var same = shape
    same.nics[0].mac = "52:54:00:aa:00:01"
    #expect(shape.differences(to: same) == [])
    var other = shape
    other.vcpus = 2
    other.memoryMib = 256
    other.disks = [.init(volume: .sample(1), bus: .scsi), .init(volume: .sample(2), bus: .virtio)]
    other.nics = []
    #expect(shape.differences(to: other).count == 5, "\(shape.differences(to: other))")
    #expect(other.differences(to: shape).count == 5)
  }

  @Test("a saved definition gets other files for its disks, found by their aliases, and keeps the rest")
  func definition() throws {
    let alias = DiskSpecification.alias(of: .sample(1))
    let xml = """
      <domain type='qemu'><memory unit='KiB'>131072</memory><vcpu placement='static'>2</vcpu><devices>\
      <disk type='file' device='disk'><source file='/old' index='3'/><backingStore type='file'><source file='/older'/></backingStore>\
      <target dev='vda' bus='virtio'/><alias name='\(alias)'/><address type='pci' bus='0x05'/></disk>\
      <disk type='file' device='disk'><source file='/seed'/><target dev='vdzz' bus='virtio'/></disk></devices></domain>
      """
    let new = try ParsedXML(try SavedMemory.xml(xml, replacing: [alias: "/new & better"]))
    #expect(new.all("/domain/devices/disk/source").map { $0.attribute("file") } == ["/new & better", "/seed"])
    #expect(!new.has("//backingStore") && !new.has("//source/@index"))
    #expect(new.text("/domain/devices/disk[1]/address/@bus") == "0x05")
    let shape = try MachineShape(inDomain: xml)
    #expect(
      shape
        == MachineShape(vcpus: 2, memoryMib: 128, disks: [.init(volume: .sample(1), bus: .virtio)], nics: []))
  }
}

@Suite("Memory in a directory pool")
struct PoolMemoryTests {
  let directory: TemporaryDirectory
  let pool: DirectoryPool
  let volume = VolumeID.sample(1)
  let snapshot = SnapshotID.sample(1)

  init() async throws {
    directory = try TemporaryDirectory()
    pool = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    try await pool.create(volume, sizeBytes: 1 << 20, from: nil)
  }

  var files: [String] { FileSystem.names(in: directory.path + "/memory") }

  func reopened() async throws -> DirectoryPool {
    try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
  }

  func look(_ pool: DirectoryPool) async throws -> StoredVolume.Snapshot? {
    guard case .whole(let stored) = try await pool.look(volume) else { return nil }
    return stored.snapshots.first
  }

  /// As libvirt does.
  func write(_ path: String, whole: Bool) throws {
    let mark = whole ? SavedMemory.completeMark : Array("LibvirtQemudPart".utf8)
    try Data(mark + [UInt8](repeating: 7, count: 1000)).write(to: URL(fileURLWithPath: path))
  }

  @Test("memory has its name when it is whole, stays over restarts, and goes with its snapshot")
  func life() async throws {
    let path = try await pool.beginMemory(snapshot, of: volume, bytes: 4096)
    _ = try await pool.beginSnapshot(snapshot, of: volume)
    #expect(try await !pool.hasWrittenMemory(snapshot, of: volume))
    try write(path, whole: false)
    #expect(try await !pool.hasWrittenMemory(snapshot, of: volume))
    await #expect(throws: AgentFailure.self) { try await pool.finishMemory(snapshot, of: volume) }
    // libvirtd goes on when the agent dies.
    let second = try await reopened()
    #expect(files == ["\(snapshot).part"])
    try write(path, whole: true)
    #expect(try await second.hasWrittenMemory(snapshot, of: volume))
    try await second.finishMemory(snapshot, of: volume)
    try await second.finishMemory(snapshot, of: volume)
    #expect(files == [snapshot.description])
    await #expect(throws: AgentFailure.self, "it is not taken yet") {
      try await second.memory(of: snapshot, of: volume)
    }
    try await second.finishSnapshot(snapshot, of: volume, takenAt: 5, quiesced: false)
    let third = try await reopened()
    #expect(try await look(third)?.memoryBytes == 1016)
    let file = try await third.memory(of: snapshot, of: volume)
    #expect(try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int == 0o600)
    #expect(await third.contents().unowned == [])
    try Data([1]).write(to: URL(fileURLWithPath: file))
    let cut = await #expect(throws: AgentFailure.self) { try await third.memory(of: snapshot, of: volume) }
    #expect(cut?.kind == .memoryUnusable)
    try await third.deleteSnapshot(snapshot, of: volume)
    #expect(files == [])
  }

  @Test("a new attempt begins anew; what was withdrawn leaves nothing; what nobody knows is told and stays")
  func remains() async throws {
    try write(try await pool.beginMemory(snapshot, of: volume, bytes: 4096), whole: true)
    _ = try await pool.beginSnapshot(snapshot, of: volume)
    _ = try await pool.beginMemory(snapshot, of: volume, bytes: 4096)
    #expect(files == [])
    try write(try await pool.beginMemory(snapshot, of: volume, bytes: 4096), whole: false)
    try await pool.deleteSnapshot(snapshot, of: volume)
    #expect(files == [])
    for name in ["snap_unknown", "snap_unknown.part"] {
      try Data([1]).write(to: URL(fileURLWithPath: directory.path + "/memory/" + name))
    }
    let second = try await reopened()
    #expect(files == ["snap_unknown"])
    #expect(await second.contents().unowned == ["memory/snap_unknown"])
    await #expect(throws: AgentFailure.self, "there is no room") {
      try await second.beginMemory(.sample(2), of: volume, bytes: 1 << 60)
    }
    _ = try await second.beginSnapshot(.sample(3), of: volume)
    try write(directory.path + "/memory/\(SnapshotID.sample(3)).part", whole: true)
    try await second.finishMemory(.sample(3), of: volume)
    try await second.delete(volume)
    #expect(files == ["snap_unknown"])
  }
}
