import AloftModel
import Foundation
import Postgres

/// What a create says of a volume that there is, which the VM is to have.
struct VolumeWish: Sendable, Decodable {
  var volume: String
  var bus: DiskBus?
  var bootIndex: Int?
  var deleteWithVm: Bool?
}

/// A volume that there is, which a new VM gets.
struct PluggedVolume: Sendable {
  var id: VolumeID
  var name: String
  var bus: DiskBus
  var bootIndex: Int?
  var deletesWithVM: Bool
  /// The node that it can be used on; nil: any that reaches its pool.
  var node: NodeID?
  /// Its pool, if nodes share that, and whose agent has it now.
  var pool: StoragePoolID?
  var holder: NodeID?
  /// What it was made from.
  var image: ImageID?

  /// Finds what a create names, in its order: volumes that nobody has, and that can be used on one node.
  static func all(_ wishes: [VolumeWish], _ call: Call, in session: Session) throws -> [PluggedVolume] {
    var found: [PluggedVolume] = []
    for (index, wish) in wishes.enumerated() {
      let pointer = "/volumes/\(index)/volume"
      let volume = try VolumeHandlers.Store.require(wish.volume, call, at: pointer, in: session)
      try requireFree(volume, at: pointer)
      if found.contains(where: { $0.id == volume.id }) {
        throw Problem.field(.duplicateItem, pointer, "volume \(volume.name) is named twice; name it once")
      }
      let plugged = PluggedVolume(
        id: volume.id, name: volume.name, bus: wish.bus ?? .virtio, bootIndex: wish.bootIndex,
        deletesWithVM: wish.deleteWithVm ?? false, node: volume.pool.isLocal ? volume.nodeID : nil,
        pool: volume.pool.isLocal ? nil : volume.pool.id, holder: volume.nodeID,
        image: volume.imageID)
      if let node = plugged.node, let other = found.first(where: { $0.node != nil && $0.node != node }) {
        throw Problem.field(
          .wrongState, pointer,
          "volumes \(volume.name) and \(other.name) are on different nodes, in pools that nodes do not share")
      }
      found.append(plugged)
    }
    return found
  }

  /// Locks them, in the order of their ids, and looks again: the node that was chosen is the one that they are on.
  static func hold(_ plugged: [PluggedVolume], for node: NodeID, in session: Session) throws {
    let indexed = plugged.enumerated().sorted { $0.element.id.uuid.uuidString < $1.element.id.uuid.uuidString }
    for (index, wanted) in indexed {
      let pointer = "/volumes/\(index)/volume"
      guard let (volume, _) = try VolumeStore.lock(wanted.id, in: session) else {
        throw Problem.field(.notFound, pointer, "volume \(wanted.name) was deleted a moment ago")
      }
      try requireFree(volume, at: pointer)
      if volume.pool.isLocal, volume.nodeID != node {
        throw Problem.field(
          .wrongState, pointer, "volume \(volume.name) has gone to another node a moment ago; try again")
      }
    }
    if plugged.contains(where: { $0.pool != nil }) {
      try VolumeStore.holdNodes(of: plugged.map(\.id.uuid), and: [node], in: session)
    }
  }

  private static func requireFree(_ volume: VolumeRecord, at pointer: String) throws {
    try VolumeHandlers.requireLiving(volume, to: "attach")
    try VolumeHandlers.requireStaying(volume, at: pointer)
    guard let vm = volume.facts.intent.vm else { return }
    throw Problem.field(.inUse, pointer, "volume \(volume.name) is attached to VM \(vm); detach it first")
  }

  /// Makes it the VM's, behind those that it has.
  func plug(into vm: VMID, project: ProjectID, in session: Session) throws {
    try VolumeStore.intend(
      id,
      VolumeStore.attached(to: vm, bus: bus, bootIndex: bootIndex, deletesWithVM: deletesWithVM),
      in: session)
    // Another node's agent may have to let go of it first.
    if pool != nil { try WorkQueue.wake(.volume, id.uuid, in: session) }
    try EventStore.append(
      .volumeUpdated, project: project, resource: id.uuid, data: ["name": name], in: session)
  }
}
