import AloftModel
import Crypto
import Foundation
import LibvirtTestSupport
import TestSupport

@testable import NodeAgent

/// The agent on a real libvirtd with real guests; the control plane alone is in memory.
final class RealNode: Sendable {
  let libvirt: PrivateLibvirt
  let data: String
  let plane = MemoryControlPlane()
  let image: Assignment.BaseImage
  let storage: DirectoryStorage
  /// Pools of Ceph clusters, by Ceph's names.
  let ceph: [String: CephAccess]

  /// - Parameters:
  ///   - clusters: pools of Ceph clusters, by their names in the cloud.
  ///   - pools: more pools, each in a directory of this name.
  ///   - inMemory: libvirt's state is, as encrypted volumes need it.
  init(clusters: [String: CephAccess] = [:], pools: [String] = [], inMemory: Bool = false) async throws {
    ceph = Dictionary(clusters.values.map { ($0.pool, $0) }) { first, _ in first }
    libvirt = try await PrivateLibvirt.start(inMemory: inMemory)
    data = libvirt.directory.appending(path: "agent").path
    let content = try Array(Data(contentsOf: URL(fileURLWithPath: try await GuestImage.path())))
    plane.state.withLock { $0.image = content }
    var image = Assignment.BaseImage.sample
    image.sha256 = SHA256.hash(data: content).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      .joined()
    image.format = .qcow2
    image.sizeBytes = content.count
    self.image = image
    var folders: [String: String] = [:]
    for pool in pools {
      let folder = libvirt.directory.appending(path: pool).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      folders[pool] = folder
    }
    storage = try await DirectoryStorage.open(
      data, options: DirectoryStorage.Options(pools: folders, clusters: clusters), logger: quietLogger)
  }

  /// One life of the agent.
  func start() async throws -> Task<Void, Never> {
    let clock = SystemClock()
    let performer = EffectPerformer(
      hypervisor: LibvirtHypervisor(
        uri: libvirt.uri, ceph: Array(ceph.values), stateDirectory: libvirt.stateDirectory, logger: quietLogger),
      storage: storage,
      journal: try await FileJournal.open(data + "/journal.jsonl"), link: plane, clock: clock,
      platform: { [storage, ceph] () async throws(AgentFailure) in
        DomainPlatform(
          architecture: "x86_64", accelerator: .tcg, directIO: await storage.supportsDirectIO(), ceph: ceph)
      },
      nodeReport: { () async throws(AgentFailure) in
        NodeReport(
          architecture: "x86_64", accelerator: .tcg, vcpus: 2, memoryMib: 1024, diskGib: 10,
          facts: [:])
      },
      renewIdentity: { () async throws(AgentFailure) in
        throw AgentFailure(.unsupported, "no certificate")
      },
      logger: quietLogger)
    let agent = Agent(machine: AgentMachine(now: clock.now(), seed: 1), performer: performer)
    return Task { await agent.run() }
  }

  func document(
    _ vm: VMID, generation: Int, power: Power = .running, grace: Int = 60,
    userData: String = "#cloud-config\n",
    deleted: Bool = false, requests: [Assignment.Request] = [], disks: [Assignment.Disk] = [.sample(1, boot: 0)]
  ) -> Assignment {
    var document = Assignment.sample(
      vm, incarnation: 1, generation: generation, deleted: deleted, power: power, grace: grace,
      requests: requests, disks: disks)
    document.vcpus = 1
    document.memoryMib = 128
    document.userData = userData
    return document
  }

  func bootVolume(of vm: VMID?, generation: Int = 1, deleted: Bool = false) -> VolumeAssignment {
    .sample(1, generation: generation, deleted: deleted, source: .init(image: image), vm: vm)
  }

  /// What the local pool has of a volume.
  func stored(_ volume: VolumeID) async throws -> StoredVolume {
    guard case .whole(let stored) = try await storage.local.look(volume) else {
      throw AgentFailure(.storage, "\(volume) is not whole")
    }
    return stored
  }

  func log(_ vm: VMID) -> String {
    String(
      decoding: (try? FileSystem.readAll(storage.paths(of: vm).serialLog)) ?? [], as: UTF8.self)
  }

  func wait(_ what: String, within seconds: Int = 240, _ condition: () -> Bool) async throws {
    _ = try await found(what, within: .seconds(seconds)) { condition() ? true : nil }
  }

  func seen(_ vm: VMID) -> Observation? { plane.observation(vm) }
  func seen(_ volume: VolumeID) -> VolumeObservation? { plane.observation(volume) }
}
